"""Pretrained models that the benchmark makes from packages."""
