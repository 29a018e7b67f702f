"""What every method is held to."""
