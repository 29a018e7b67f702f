"""Locks that a forked process finds free, and what a fork must put right."""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from weakref import WeakSet


class Lock:
    """A lock that its thread may take again, and that is free in a forked process whoever held it before.

    Threads do not outlive a fork: a lock that another one held would stay locked in the child for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Forget who holds it."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def after_fork(run: Callable[[], None]) -> None:
    """Have a function called in each forked process before anything else runs there, where processes can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=run)


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


_LOCKS: WeakSet[Lock] = WeakSet()
after_fork(_renew_all)
