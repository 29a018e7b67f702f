"""The result, and its renderings: terminal, HTML, comparison."""
