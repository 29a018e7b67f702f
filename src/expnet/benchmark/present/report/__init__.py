"""The report of a benchmark: one page for somebody who has never seen the project."""
