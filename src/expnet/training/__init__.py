"""Training of explainers, and of the classifiers they explain."""
