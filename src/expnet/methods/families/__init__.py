"""The attribution methods, a module a family."""
