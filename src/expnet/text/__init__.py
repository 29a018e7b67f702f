"""Texts, words and tokens, and where each is in the text."""
