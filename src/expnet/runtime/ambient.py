"""Torch's settings that must not change a result: default type and device, autocast, autograd's modes."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from expnet.runtime.locks import Lock, after_fork


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Run the block under torch's own defaults: a model in its own type, everything else in float32 on the CPU.

    The caller's default type and device, autocast, inference mode and `no_grad` are restored afterwards. Every public
    entry point runs in it, and it may be nested. All threads share torch's default type: where it is not float32, other
    threads see float32 until the last of these calls is over.
    """
    if threading.get_ident() in _INSIDE and _as_by_default():  # most calls are made by another one
        yield
        return
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
        for device in ("cpu", _accelerator()):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.empty(0).device.type != "cpu":  # `get_default_device` does not say so in torch 2.7
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_float32())
        yield


def _as_by_default() -> bool:
    return (
        torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        and not any(torch.is_autocast_enabled(device) for device in ("cpu", _accelerator()))
        and torch.empty(0).device.type == "cpu"
    )


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
_INSIDE: list[int] = []  # the thread of each call in progress
_CALLERS: list[torch.dtype] = []  # the caller's default type before the first of them
after_fork(_leave_for_lost_threads)
