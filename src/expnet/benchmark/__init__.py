"""The benchmark: how plausible, how faithful, how stable and how expensive each method is, on annotated texts."""
