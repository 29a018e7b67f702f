"""Snapshots of a borrowed model before and after a call, and ways to disturb it in between."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class PlantedError(Exception):
    """Raised inside the model, to test what a method leaves behind."""


@contextmanager
def failing(module: nn.Module) -> Iterator[list[bool]]:
    """Let a module raise once it has run; yield a list that is not empty once it did."""
    reached: list[bool] = []

    def fail(*_: Any) -> None:
        reached.append(True)
        raise PlantedError

    hook = module.register_forward_hook(fail)
    try:
        yield reached
    finally:
        hook.remove()


@contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Put every other module into training mode."""
    modes = [(module, module.training) for module in model.modules()]
    for index, (module, _) in enumerate(modes):
        module.training = index % 2 == 0
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def gradients(model: nn.Module) -> Iterator[None]:
    """Give some weights a gradient, as in the middle of a training step."""
    before = [(weight, weight.grad) for weight in model.parameters()]
    for weight, _ in before[::2]:
        weight.grad = torch.ones_like(weight)
    try:
        yield
    finally:
        for weight, gradient in before:
            weight.grad = gradient


def snapshot(model: PreTrainedModel, given: Sequence[Tensor]) -> dict[str, Any]:
    """Return what a method must leave as it is: on the model, in the tensors given, and in the process."""
    weights = [*model.parameters(), *model.buffers()]
    # A tensor counts its own changes in `_version`.
    return {
        "the training mode": [module.training for module in model.modules()],
        "the attention implementation": [
            part.config._attn_implementation for part in model.modules() if isinstance(part, PreTrainedModel)
        ],
        "a hook": [
            list(getattr(module, kind))
            for module in model.modules()
            for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        ],
        "a weight": [(id(weight), weight.data_ptr(), weight._version, weight.requires_grad) for weight in weights],
        "a weight's .grad": [
            None if weight.grad is None else (id(weight.grad), weight.grad._version) for weight in weights
        ],
        "a tensor that came in": [(tensor._version, tensor.sum().item()) for tensor in given],
        "the mode of autograd": [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
        "the global source of randomness": [
            torch.get_rng_state().tolist(),
            [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state(legacy=True)],
        ],
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two snapshots."""
    return [what for what in before if before[what] != after[what]]
