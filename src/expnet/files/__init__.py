"""Files that others wrote, or that must never be half written."""
