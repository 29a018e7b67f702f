"""Texts, words, tokens: what is read, and where it stands."""
