"""A classifier: its files, its loading, its predictions."""
