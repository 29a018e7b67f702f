"""Gradients of a model's logits, or an error where its code keeps none; never zeros in their place."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary
from transformers import PreTrainedModel

from expnet.errors import NoGradientError, UnsupportedModelError


def gradients(
    model: PreTrainedModel, value: Float[Tensor, ""], points: Sequence[Tensor], *, keep: bool = False
) -> list[Tensor]:
    """Return the gradient of a number that a model computed at each point; zeros at a point that it passed by.

    With `keep` the graph stays, for another number of the same pass.

    Raises:
        NoGradientError: If the number leads back to none of the points, or one of them to no token.
    """
    kept = value.requires_grad and all(point.requires_grad for point in points)
    slopes = torch.autograd.grad(value, points, retain_graph=keep, allow_unused=True) if kept else [None]
    if all(slope is None for slope in slopes):
        raise no_gradient(type(model).__name__)
    return [torch.zeros_like(point) if slope is None else slope for point, slope in zip(points, slopes, strict=True)]


def no_gradient(name: str) -> NoGradientError:
    """Return the error for a model of some name."""
    return NoGradientError(
        f"{name} has no gradient: part of its code is quantised, or runs under torch.no_grad(), so that its logits do "
        "not lead back to its tokens in full. Load it with weights in float32 or bfloat16, or choose a method without "
        "gradients, such as 'leave_one_out' or 'kernel_shap'."
    )


def check_one_pass(model: PreTrainedModel, method: str) -> None:
    """Refuse a language model whose labels' words have several tokens, for what propagates a logit through one pass.

    Raises:
        UnsupportedModelError: If there is such a word.
    """
    if getattr(model, "continues", False):
        raise UnsupportedModelError(
            f"{method} follows a logit through one pass, and words of several tokens take more: choose words of one "
            "token for the labels, or another method."
        )


class GradientPaths:
    """Follows values through one forward pass, so that a gradient which is only part of the true one is found.

    A value is lost where it comes from the tokens but leads back to none, as under `no_grad`. It only matters where it
    meets values that lead back to tokens, such as a residual stream, as autograd would then give the gradient of these
    alone. Weights, and what a model detaches on purpose, are constants.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lost = WeakIdKeyDictionary()
        self._kept = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()

    def follow(self, func: Callable[..., Any], args: Sequence[Any], result: Any, *, ruled: bool) -> None:
        """Take note of what a function, or a rule in its place, made of its arguments; a rule may make a constant.

        Raises:
            NoGradientError: If lost values and others meet, or the function has no derivative.
        """
        if not self._kept:
            return
        made = [tensor for tensor in _tensors((result,)) if tensor.is_floating_point()]
        given = [tensor for tensor in _tensors(args) if not isinstance(tensor, nn.Parameter)]
        if not made or not given:
            return
        if any(out.grad_fn is not None and out.grad_fn.name().endswith("NotImplemented") for out in made):
            raise no_gradient(self._name)  # torch would only warn, and go on without
        if any(out.requires_grad for out in made):
            if len(self._lost) and any(tensor in self._lost and not tensor.requires_grad for tensor in given):
                raise no_gradient(self._name)
        elif ruled and torch.is_grad_enabled():
            return
        elif (given[0].requires_grad or given[0] in self._lost) and not _only_a_shape(func):
            self._lost.update((out, True) for out in made)


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        some = value if isinstance(value, list | tuple) else (value,)
        yield from (tensor for tensor in some if isinstance(tensor, Tensor))


def _only_a_shape(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    return name in ("detach", "detach_") or name.startswith("new_") or name.endswith("_like")
