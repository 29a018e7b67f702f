"""What the endpoint and the studio share: guard, refusals, forms, and how a server runs."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
