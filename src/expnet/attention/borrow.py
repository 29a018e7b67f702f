"""Borrow a model: put it into evaluation mode, switch its attention, and put everything back."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from expnet.errors import UnsupportedModelError

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
        configs = {id(part.config): part.config for part in modules if isinstance(part, PreTrainedModel)}
        # Outer parts first, as setting one of them sets its inner parts too.
        originals = [(config, config._attn_implementation) for config in configs.values()]
        try:
            for module in training:
                module.training = False
            for module, _ in calls:
                module._compiled_call_impl = None
            if implementation is not None:
                model.set_attn_implementation(implementation)
            yield
        finally:
            for module in training:
                module.training = True
            for module, call in calls:
                module._compiled_call_impl = call
            for config, original in originals if implementation is not None else ():
                config._attn_implementation = original


def class_logits(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch classes"]:
    """Run one forward pass of a model that is borrowed.

    Raises:
        UnsupportedModelError: If it gives anything but a number for each text and class.
    """
    logits = getattr(model(**inputs), "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = f"logits of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else "no logits"
        raise UnsupportedModelError(
            f"{type(model).__name__} returns {got}, expected (batch, classes): only classifiers of whole texts can be "
            "explained."
        )
    return logits
