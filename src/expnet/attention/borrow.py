"""Borrow a model: put it into evaluation mode, switch its attention, and put everything back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

_LOCKS: WeakKeyDictionary[PreTrainedModel, threading.RLock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@contextmanager
def borrow(model: PreTrainedModel, implementation: str | None = None, *, compiled: bool = False) -> Iterator[None]:
    """Hold a model alone, in evaluation mode, with another attention implementation if one is named.

    Mode and implementation live on the model, shared by all threads, so one thread at a time may hold it; a
    thread that holds it may borrow it again. Everything is put back in the end, also after an error, and every
    module gets its own mode back. Parts that are compiled run as they were written, unless `compiled` ones are
    wanted: what changes with each call would be compiled at each. Whoever calls the model itself meanwhile gets
    evaluation mode too, but with the implementations of `capture` the same numbers.
    """
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(model, threading.RLock())
    with lock:
        modules = list(model.modules())  # once: finding them takes longer than all the rest
        training = [module for module in modules if module.training]
        # A stance of the compiler would hold for other models, too.
        calls = [] if compiled else [(each, each._compiled_call_impl) for each in modules if each._compiled_call_impl]
        parts: dict[int, PreTrainedModel] = {}  # one for each config, outer ones first, as their setting reaches in
        for module in modules:
            if isinstance(module, PreTrainedModel):
                parts.setdefault(id(module.config), module)
        originals = [(part.config, part.config._attn_implementation) for part in parts.values()]
        try:
            for module in training:
                module.training = False
            for module, _ in calls:
                module._compiled_call_impl = None
            if implementation is not None:
                for part in parts.values():  # not every release of transformers sets inner parts with the outer one
                    part.set_attn_implementation(implementation)
            yield
        finally:
            for module in training:
                module.training = True
            for module, call in calls:
                module._compiled_call_impl = call
            for config, original in originals if implementation is not None else ():
                config._attn_implementation = original
