"""What the endpoint and the studio both stand on: guard, refusals, forms, the way a server runs."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
