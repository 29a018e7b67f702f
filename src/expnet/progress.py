"""One progress bar for all long work."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def track(items: Sequence[T], title: str, *, show: bool) -> Iterator[T]:
    """Iterate, with a bar, rate and time left on standard error where wanted."""
    if not show or len(items) < 2:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, title, console=Console(stderr=True))
