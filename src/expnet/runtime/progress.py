"""One progress bar for all long work, and a way to follow it from elsewhere."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar, cast

T = TypeVar("T")
Watcher = Callable[[str, int, int], None]

_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(by: Watcher) -> Iterator[None]:
    """Call `by` before each step that this thread tracks, with the title, how much is done, and the total.

    An error that it raises ends the work.
    """
    token = _WATCHER.set(by)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def track(
    items: Iterable[T],
    title: str | Callable[[T], str],
    *,
    show: bool,
    total: int | None = None,
    size: Callable[[T], int] = lambda _: 1,
) -> Iterator[T]:
    """Iterate, with a progress bar, rate and time left on standard error; the title may depend on the item.

    Args:
        items: A sequence, or with `total` anything that can be iterated.
        title: Shown before the bar.
        show: Whether to show the bar; work of a single step never shows one.
        total: Sum of the sizes of all items.
        size: How much of the work an item is.
    """
    steps = len(cast(Sequence[T], items)) if total is None else total
    if (watcher := _WATCHER.get()) is not None:
        items = _told(items, title, steps, size, watcher)
    if not show or steps < 2:
        yield from items
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class _Rate(TextColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.1f}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate("{task.speed}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=steps)
        for item in items:
            progress.update(task, description=title if isinstance(title, str) else title(item))
            yield item
            progress.advance(task, size(item))


def _told(
    items: Iterable[T], title: str | Callable[[T], str], total: int, size: Callable[[T], int], watcher: Watcher
) -> Iterator[T]:
    done = 0
    for item in items:
        watcher(title if isinstance(title, str) else title(item), done, total)
        yield item
        done += size(item)
