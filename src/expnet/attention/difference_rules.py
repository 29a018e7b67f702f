"""Differences in place of derivatives: rules under which the effects of all tokens add up exactly.

The baseline, in which the tokens of a text are replaced, runs first, without a graph; then the text. Whatever is linear
needs no rule, as its derivative is its difference quotient. The rest is made of curves, products and softmax, whose
backward passes see what the baseline had at the same place, and give a multiplier with

    sum over inputs of multiplier * (input - baseline input) = output - baseline output.

Shrikumar et al. 2017, arXiv:1704.02685, by their rescale rule.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from expnet.attention.intercept import Rule
from expnet.errors import UnsupportedModelError

Function = Callable[..., Any]
# From a curve and its inputs and outputs, each of text and baseline, to its difference quotient.
Slope = Callable[[Function, Sequence[Tensor], Sequence[Tensor]], Tensor]


class Rules:
    """What to do instead of torch functions: first for baselines, whose values it remembers, then for their texts."""

    def __init__(self, name: str, of_text: Int[Tensor, " batch"]) -> None:
        """Begin with the baselines of a model of this name; `of_text` says which of them is each text's."""
        self._name, self._of_text, self._baselines = name, of_text, int(of_text.max()) + 1
        self._seen: list[tuple[Tensor, ...]] = []
        self._place: int | None = None  # None while it remembers

    def replay(self) -> None:
        """Begin again, with the texts."""
        self._place = 0

    def of_functions(self) -> Mapping[Function, Rule]:
        """Return the rule of each torch function, for `run`."""
        rules: dict[Function, Rule] = {function: self._bend(slope) for function, slope in _CURVES.items()}
        rules |= dict.fromkeys(_TIMES, self._multiply)
        rules |= dict.fromkeys(_SOFTMAX, self._share_out)
        rules |= dict.fromkeys((torch.div, Tensor.div), self._divide)
        rules |= dict.fromkeys((torch.pow, Tensor.pow, Tensor.__pow__), self._raise)
        rules |= dict.fromkeys((torch.square, Tensor.square), lambda _, x: self._multiply(torch.mul, x, x))
        return rules | {F.layer_norm: self._layer_norm, F.rms_norm: self._rms_norm}

    def _apply(self, kind: type[torch.autograd.Function], function: Function, settings: Any, *inputs: Tensor) -> Tensor:
        """Call a function; on a text, with what the baseline had there for the way back."""
        result: Tensor
        if self._place is None:
            result = function(*inputs)
            self._seen.append((*inputs, result) if kind is _Curve else inputs)
            return result
        shapes = [values.shape for values in inputs] + ([inputs[0].shape] if kind is _Curve else [])
        seen = self._seen[self._place] if self._place < len(self._seen) else ()
        before = [self._of_texts(values, shape) for values, shape in zip(seen, shapes, strict=False)]
        self._place += 1
        if [values.shape for values in before] != shapes:
            raise UnsupportedModelError(
                f"{self._name} computes other things for a text than for one of the same length that says nothing, so "
                "that DeepLIFT cannot compare them. Integrated gradients need no comparison."
            )
        # What has one factor that depends on the text is linear in it.
        depend = all(values.requires_grad for values in inputs)
        result = kind.apply(function, settings, before, *inputs) if depend else function(*inputs)
        return result

    def _of_texts(self, values: Tensor, shape: torch.Size) -> Tensor:
        """Return for each text what its baseline had; the batch may have been merged with the axes behind it."""
        if values.shape == shape or values.ndim == 0 or len(values) % self._baselines:
            return values
        of_texts: Tensor = values.unflatten(0, (self._baselines, -1))[self._of_text].flatten(0, 1)
        return of_texts

    def _bend(self, slope: Slope) -> Rule:
        def rule(function: Function, x: Any, *args: Any, **kwargs: Any) -> Tensor:
            return self._apply(_Curve, lambda part: function(part, *args, **kwargs), slope, x)

        return rule

    def _multiply(self, function: Function, a: Any, b: Any) -> Tensor:
        product: Tensor
        if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            product = function(a, b)
            return product
        return self._apply(_Product, function, None, a, b)

    def _divide(self, function: Function, a: Any, b: Any, **kwargs: Any) -> Tensor:
        if not isinstance(b, Tensor):
            quotient: Tensor = function(a, b, **kwargs)
            return quotient
        return self._multiply(torch.mul, a, self._apply(_Curve, torch.reciprocal, _inverse, b))

    def _raise(self, function: Function, x: Any, exponent: Any) -> Tensor:
        if isinstance(exponent, int | float) and exponent in (2, 3):
            square = self._multiply(torch.mul, x, x)
            return square if exponent == 2 else self._multiply(torch.mul, square, x)
        power: Tensor = function(x, exponent)
        return power

    def _share_out(self, function: Function, scores: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
        return self._apply(_Softmax, lambda part: function(part, dim, *args, **kwargs), dim, scores)

    def _layer_norm(
        self,
        function: Function,
        x: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        centred = x - x.mean(_last(normalized_shape), keepdim=True)
        result = self._rms_norm(function, centred, normalized_shape, weight, eps)
        return result if bias is None else result + bias

    def _rms_norm(
        self,
        _function: Function,
        x: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        mean = self._multiply(torch.mul, x, x).mean(_last(normalized_shape), keepdim=True)
        mean = mean + (torch.finfo(x.dtype).eps if eps is None else eps)
        result = self._multiply(torch.mul, x, self._apply(_Curve, torch.rsqrt, _inverse_root, mean))
        return result if weight is None else result * weight


class _Curve(torch.autograd.Function):
    """A function of each number alone: the multiplier is its difference quotient."""

    @staticmethod
    def forward(ctx: Any, curve: Function, slope: Slope, before: Sequence[Tensor], x: Tensor) -> Tensor:
        y: Tensor = curve(x)
        ctx.curve, ctx.slope, ctx.before = curve, slope, before
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, None, None, Tensor]:
        (x, y), (x_before, y_before) = ctx.saved_tensors, ctx.before
        return None, None, None, above[0] * ctx.slope(ctx.curve, (x, x_before), (y, y_before))


class _Product(torch.autograd.Function):
    """What is linear in each of two factors: the change of each counts with the mean of the other."""

    @staticmethod
    def forward(ctx: Any, product: Function, _: None, before: Sequence[Tensor], a: Tensor, b: Tensor) -> Tensor:
        ctx.product, ctx.before = product, before
        ctx.save_for_backward(a, b)
        result: Tensor = product(a, b)
        return result

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, None, None, Tensor, Tensor]:
        means = [torch.lerp(a, b, 0.5).requires_grad_() for a, b in zip(ctx.before, ctx.saved_tensors, strict=True)]
        with torch.enable_grad():
            product = ctx.product(*means)
        a, b = torch.autograd.grad(product, means, above[0])
        return None, None, None, a, b


class _Softmax(torch.autograd.Function):
    """Rescale rule for log p -> p; what all scores have in common is such that the probabilities still sum to 1.

    With L the difference quotient of exp at log p, the change of p_i is L_i (change of score i - common change). That
    the changes sum to 0 makes the common change the mean of the scores' changes with weights L.
    """

    @staticmethod
    def forward(ctx: Any, softmax: Function, dim: int, before: Sequence[Tensor], scores: Tensor) -> Tensor:
        ctx.dim, ctx.before = dim, before[0]
        ctx.save_for_backward(scores)
        probabilities: Tensor = softmax(scores)
        return probabilities

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, None, None, Tensor]:
        # A floor, as hidden tokens have minus infinity; its exponential is 0 all the same.
        least = torch.finfo(ctx.before.dtype).min
        logs = [scores.log_softmax(ctx.dim).clamp(min=least) for scores in (*ctx.saved_tensors, ctx.before)]
        weights, wanted = _slope_of_exp(torch.exp, logs, ()), above[0]
        common = (weights * wanted).sum(ctx.dim, keepdim=True) / weights.sum(ctx.dim, keepdim=True)
        return None, None, None, weights * (wanted - common)


def _secant(scale: float) -> Slope:
    """Return the difference quotient of curves that bend over this length, such as 4 for GELU and 0 for ReLU."""

    def slope(curve: Function, x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
        middle, change = torch.lerp(x[0], x[1], 0.5).requires_grad_(), x[0] - x[1]
        with torch.enable_grad():
            (at_middle,) = torch.autograd.grad(curve(middle).sum(), middle)
        # Below, rounding harms the quotient more than the bend harms the derivative halfway.
        small = change.abs() <= scale * torch.finfo(change.dtype).eps ** (1 / 3)
        return torch.where(small, at_middle, (y[0] - y[1]) / change.masked_fill(small, 1))

    return slope


def _slope_of_exp(_curve: Function, x: Sequence[Tensor], _y: Sequence[Tensor]) -> Tensor:
    change = (x[0] - x[1]).abs()
    small = change < torch.finfo(change.dtype).tiny
    return torch.maximum(*x).exp() * torch.where(small, 1, -torch.expm1(-change) / change.masked_fill(small, 1))


def _root(_curve: Function, _x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return 1 / (y[0] + y[1])


def _inverse(_curve: Function, _x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return -y[0] * y[1]


def _inverse_root(_curve: Function, _x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
    return -((y[0] * y[1]) ** 2) / (y[0] + y[1])


def _last(shape: Sequence[int]) -> list[int]:
    return list(range(-len(shape), 0))


_SMOOTH = (
    *(F.gelu, F.silu, F.mish, F.elu, F.softplus, F.logsigmoid, F.tanh, torch.tanh, Tensor.tanh),
    *(F.sigmoid, torch.sigmoid, Tensor.sigmoid, torch.erf, Tensor.erf),
)
_LINES = (F.relu, torch.relu, Tensor.relu, F.leaky_relu, F.relu6, F.hardtanh)
_TIMES = (torch.mul, torch.multiply, Tensor.mul, torch.matmul, Tensor.matmul, torch.bmm, Tensor.bmm)
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_CURVES: Mapping[Function, Slope] = {
    **dict.fromkeys(_SMOOTH, _secant(4.0)),
    **dict.fromkeys(_LINES, _secant(0.0)),
    **dict.fromkeys((torch.exp, Tensor.exp), _slope_of_exp),
    **dict.fromkeys((torch.sqrt, Tensor.sqrt), _root),
    **dict.fromkeys((torch.rsqrt, Tensor.rsqrt), _inverse_root),
    **dict.fromkeys((torch.reciprocal, Tensor.reciprocal), _inverse),
}
