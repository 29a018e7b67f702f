"""The ExpNet, its inputs, its files, and the universal weights."""
