"""Locks for threads that do not hang a forked process."""

import os
import threading
from collections.abc import Callable
from types import TracebackType
from weakref import WeakSet


class Lock:
    """A reentrant lock that is free in a forked process if another thread held it.

    Only the thread that forks lives on in the child, so a lock that another thread held would never be released there.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Free the lock if another thread holds it."""
        if not self._lock._is_owned():  # type: ignore[attr-defined]  # as threading.Condition asks it
            self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def after_fork(run: Callable[[], None]) -> None:
    """Register a function to run first in every forked process; does nothing where processes cannot fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=run)


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


_LOCKS: WeakSet[Lock] = WeakSet()
after_fork(_renew_all)
