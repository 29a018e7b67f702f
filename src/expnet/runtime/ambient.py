"""What surrounds a call and must not change its result: torch's default type and device, autocast, autograd's modes."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from expnet.runtime.locks import Lock, after_fork


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Compute as torch does where nobody has set anything: a model in its own type, all else in float32 on the CPU.

    The caller's default type and device, autocast, inference mode and `no_grad` count again afterwards. It is put
    around whatever can be called from outside, and may be entered again inside. The default type is torch's for all
    threads: where it is not float32, others find float32 until the last of these calls is over.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
        for device in ("cpu", _accelerator()):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.empty(0).device.type != "cpu":  # torch 2.7 does not say so by `get_default_device`
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_float32())
        yield


def _accelerator() -> str:
    accelerator = torch.accelerator.current_accelerator()
    return "cpu" if accelerator is None else accelerator.type


@contextmanager
def _float32() -> Iterator[None]:
    thread = threading.get_ident()
    with _LOCK:
        if not _INSIDE:
            _CALLERS.append(torch.get_default_dtype())
            if _CALLERS[0] != torch.float32:
                torch.set_default_dtype(torch.float32)
        _INSIDE.append(thread)
    try:
        yield
    finally:
        _leave(thread)


def _leave(thread: int) -> None:
    with _LOCK:
        _INSIDE.remove(thread)
        if not _INSIDE and (dtype := _CALLERS.pop()) != torch.float32:
            torch.set_default_dtype(dtype)


def _leave_for_lost_threads() -> None:
    for thread in [holder for holder in _INSIDE if holder != threading.get_ident()]:
        _leave(thread)


_LOCK = Lock()
_INSIDE: list[int] = []  # the thread of each call that goes on now
_CALLERS: list[torch.dtype] = []  # the default type before the first of them
after_fork(_leave_for_lost_threads)
