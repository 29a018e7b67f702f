"""What an explanation costs, measured."""
