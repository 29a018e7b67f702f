"""Data, classifiers and networks that a benchmark compares."""
