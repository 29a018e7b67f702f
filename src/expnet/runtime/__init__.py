"""What surrounds a call: torch's defaults, memory, locks, progress."""
