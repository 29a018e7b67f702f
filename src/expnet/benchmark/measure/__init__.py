"""A benchmark's cells: scores, measures, cost."""
