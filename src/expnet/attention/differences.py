"""Differences in place of derivatives: rules under which the effects of all tokens add up exactly.

The text and its baseline, in which the tokens are replaced, run together as one batch: first all texts, then all
baselines. Whatever is linear needs no rule, as its derivative is its difference quotient. The rest is made of curves,
products and softmax, whose backward passes see both halves and give the texts' half a multiplier with

    sum over inputs of multiplier * (input - baseline input) = output - baseline output.

Shrikumar et al. 2017, arXiv:1704.02685, by their rescale rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.anchor import Anchor, PooledTokens
from expnet.attention.gradients import gradients
from expnet.attention.intercept import Rule, run
from expnet.attention.signals import Signals, evidence_of, signals_of
from expnet.attention.stack import Stack
from expnet.attention.targets import logit_of
from expnet.errors import UnsupportedModelError

Function = Callable[..., Any]
# From a curve and its inputs and outputs, each of text and baseline, to its difference quotient.
Slope = Callable[[Function, Sequence[Tensor], Sequence[Tensor]], Tensor]


class DifferencePass:
    """One forward pass over texts and their baselines, and multipliers from any number of targets.

    A caller may be in inference mode.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Tensor],
        real: Bool[Tensor, "batch tokens"],
        blank: Float[Tensor, " width"],
        *,
        matrices: bool = False,
    ) -> None:
        """Run the forward pass.

        Args:
            model: A sequence classifier. It comes back as it was.
            inputs: Its keyword arguments.
            real: True for tokens that stand for text; the others are the same in the baseline.
            blank: Embedding that stands for each of them in the baseline.
            matrices: Whether multipliers of attention are asked for, too; they show attention only where it is in the
                open, which it is under these rules.

        Raises:
            UnsupportedModelError: If the model's embeddings or attention cannot be reached.
        """
        points: list[Tensor] = []

        def embed(raw: Tensor) -> Tensor:
            text, _ = _halves(raw.detach())
            without = torch.where(real.to(raw.device)[..., None], blank, text)
            points.append(torch.cat([text, without]).requires_grad_())
            return points[-1]

        attend = (lambda _, layer: layer) if matrices else None
        with torch.inference_mode(False), torch.enable_grad():
            self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}  # see `GradientPass`
            doubled = {name: torch.cat([tensor, tensor]) for name, tensor in self._inputs.items()}
            self._pass = run(model, doubled, embed=embed, attend=attend, rules=RULES)
        self._model, self._points = model, points[0]

    @property
    def logits(self) -> Float[Tensor, "batch classes"]:
        """Of the texts, as the model gives them."""
        return _halves(self._pass.logits.detach())[0]

    def scores(self, target: Int[Tensor, " batch"], *, keep: bool = False) -> Float[Tensor, "batch tokens"]:
        """Return what each token adds to the target's logit, compared with the baseline; see `signals`."""
        return self._shared_out(target, [], keep=keep)[0]

    def signals(self, target: Int[Tensor, " batch"], anchor: Anchor, *, keep: bool = False) -> Signals:
        """Return what the forward pass says of the texts, and as evidence multipliers where others have slopes.

        Args:
            target: A class, or a contrast of two, for each text.
            anchor: What the model pools.
            keep: Whether another target may follow.

        Raises:
            NoGradientError: If the logits do not lead back to the tokens.
            UnsupportedModelError: If the scores do not add up, as the model computes something without a rule.
        """
        maps = [layer.probabilities for layer in self._pass.layers]
        scores, multipliers = self._shared_out(target, maps, keep=keep)
        with torch.inference_mode(False), torch.no_grad():
            pooled, stack = PooledTokens.of(self._model, self._inputs, anchor), Stack.of(self._model)
            layers = [
                replace(layer, probabilities=_halves(layer.probabilities.detach())[0], value=_halves(layer.value)[0])
                for layer in self._pass.layers
            ]
            of_maps, of_tokens = multipliers[:-1], multipliers[-1]
            evidence = evidence_of([layer.probabilities for layer in layers], of_maps, of_tokens, pooled, stack)
            seen = signals_of(self.logits, stack.reading(layers), pooled)
            return replace(seen, evidence=replace(evidence, differences=scores.float()))

    def _shared_out(
        self, target: Int[Tensor, " batch"], maps: Sequence[Tensor], *, keep: bool
    ) -> tuple[Float[Tensor, "batch tokens"], list[Tensor]]:
        """Return the scores, and the texts' multipliers at the maps and at the tokens."""
        with torch.inference_mode(False), torch.enable_grad():
            explained = logit_of(self._pass.logits.float(), target.clone().to(self._points.device).repeat(2))
            explained_texts = _halves(explained)[0].sum()
            both = gradients(self._model, explained_texts, [*maps, self._points], keep=keep)
        multipliers = [_halves(of_both)[0] for of_both in both]
        text, without = _halves(self._points.detach())
        scores = (multipliers[-1] * (text - without)).sum(-1)
        _check(scores, explained.detach(), type(self._model).__name__, multipliers[-1].dtype)
        return scores, multipliers


def _check(scores: Tensor, logits: Tensor, name: str, dtype: torch.dtype) -> None:
    """Raise if the scores do not add up: the only proof that a model computes nothing but what has a rule."""
    text, without = _halves(logits)
    gaps = (scores.sum(1) - (text - without)).abs()
    eps = torch.finfo(dtype).eps
    # The second part is the rounding of the logits themselves, which may be large beside their difference.
    allowed = 3 * eps**0.5 * scores.abs().sum(1) + 100 * eps * (text.abs() + without.abs())
    if not (gaps <= allowed).all():
        worst = int((gaps - allowed).nan_to_num(torch.inf).argmax())
        raise UnsupportedModelError(
            f"{name} computes something that DeepLift has no rule for: the scores of a window sum to "
            f"{float(scores[worst].sum()):.4g}, but its logit changes by {float(text[worst] - without[worst]):.4g}. "
            "Integrated gradients are complete for every model."
        )


def _halves(both: Tensor) -> tuple[Tensor, Tensor]:
    """Separate the texts from the baselines; the batch may have been merged with the axes behind it."""
    if len(both) % 2:
        raise UnsupportedModelError(f"The batch is not the first axis of a tensor of shape {tuple(both.shape)}.")
    text, without = both.chunk(2)
    return text, without


def _to_text(multiplier: Tensor) -> Tensor:
    return torch.cat([multiplier, torch.zeros_like(multiplier)])


class _Curve(torch.autograd.Function):
    """A function of each number alone: the multiplier is its difference quotient."""

    @staticmethod
    def forward(ctx: Any, curve: Function, slope: Slope, x: Tensor) -> Tensor:
        y: Tensor = curve(x)
        ctx.curve, ctx.slope = curve, slope
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, None, Tensor]:
        x, y = map(_halves, ctx.saved_tensors)
        return None, None, _to_text(_halves(above[0])[0] * ctx.slope(ctx.curve, x, y))


class _Product(torch.autograd.Function):
    """What is linear in each of two factors: the change of each counts with the mean of the other."""

    @staticmethod
    def forward(ctx: Any, product: Function, a: Tensor, b: Tensor) -> Tensor:
        ctx.product = product
        ctx.save_for_backward(a, b)
        result: Tensor = product(a, b)
        return result

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, Tensor, Tensor]:
        means = [torch.stack(_halves(factor)).mean(0).requires_grad_() for factor in ctx.saved_tensors]
        with torch.enable_grad():
            product = ctx.product(*means)
        a, b = torch.autograd.grad(product, means, _halves(above[0])[0])
        return None, _to_text(a), _to_text(b)


class _Softmax(torch.autograd.Function):
    """Rescale rule for log p -> p; what all scores have in common is such that the probabilities still sum to 1.

    With L the difference quotient of exp at log p, the change of p_i is L_i (change of score i - common change). That
    the changes sum to 0 makes the common change the mean of the scores' changes with weights L.
    """

    @staticmethod
    def forward(ctx: Any, softmax: Function, dim: int, scores: Tensor) -> Tensor:
        ctx.dim = dim
        ctx.save_for_backward(scores)
        probabilities: Tensor = softmax(scores)
        return probabilities

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[None, None, Tensor]:
        (scores,) = ctx.saved_tensors
        # A floor, as hidden tokens have minus infinity; its exponential is 0 all the same.
        logs = scores.log_softmax(ctx.dim).clamp(min=torch.finfo(scores.dtype).min)
        weights, wanted = _slope_of_exp(torch.exp, _halves(logs), ()), _halves(above[0])[0]
        common = (weights * wanted).sum(ctx.dim, keepdim=True) / weights.sum(ctx.dim, keepdim=True)
        return None, None, _to_text(weights * (wanted - common))


def _secant(scale: float) -> Slope:
    """Return the difference quotient of curves that bend over this length, such as 4 for GELU and 0 for ReLU."""

    def slope(curve: Function, x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
        ends, change = [end.detach().requires_grad_() for end in x], x[0] - x[1]
        with torch.enable_grad():
            total = sum(curve(end).sum() for end in ends)
        mean = torch.stack(torch.autograd.grad(total, ends)).mean(0)
        # Below, rounding harms the quotient more than the bend harms the mean of the derivatives.
        small = change.abs() <= scale * torch.finfo(change.dtype).eps ** (1 / 3)
        return torch.where(small, mean, (y[0] - y[1]) / change.masked_fill(small, 1))

    return slope


def _slope_of_exp(_curve: Function, x: Sequence[Tensor], _y: Sequence[Tensor]) -> Tensor:
    change = (x[0] - x[1]).abs()
    small = change < torch.finfo(change.dtype).tiny
    return torch.maximum(*x).exp() * torch.where(small, 1, -torch.expm1(-change) / change.masked_fill(small, 1))


def _apply(kind: type[torch.autograd.Function], *args: Any) -> Tensor:
    result: Tensor = kind.apply(*args)
    return result


def _bend(slope: Slope) -> Rule:
    def rule(function: Function, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        return _apply(_Curve, lambda part: function(part, *args, **kwargs), slope, x)

    return rule


_root = _bend(lambda _, _x, y: 1 / (y[0] + y[1]))
_inverse = _bend(lambda _, _x, y: -y[0] * y[1])
_inverse_root = _bend(lambda _, _x, y: -((y[0] * y[1]) ** 2) / (y[0] + y[1]))


def _multiply(function: Function, a: Any, b: Any) -> Tensor:
    both = all(isinstance(factor, Tensor) and factor.requires_grad for factor in (a, b))
    product: Tensor = _apply(_Product, function, a, b) if both else function(a, b)
    return product


def _divide(function: Function, a: Any, b: Any, **kwargs: Any) -> Tensor:
    if not (isinstance(b, Tensor) and b.requires_grad):
        quotient: Tensor = function(a, b, **kwargs)
        return quotient
    return _multiply(torch.mul, a, _inverse(torch.reciprocal, b))


def _raise(function: Function, x: Any, exponent: Any) -> Tensor:
    if isinstance(exponent, int | float) and exponent in (2, 3):
        square = _multiply(torch.mul, x, x)
        return square if exponent == 2 else _multiply(torch.mul, square, x)
    power: Tensor = function(x, exponent)
    return power


def _share_out(function: Function, scores: Tensor, dim: int = -1, *args: Any, **kwargs: Any) -> Tensor:
    return _apply(_Softmax, lambda part: function(part, dim, *args, **kwargs), dim, scores)


def _layer_norm(
    _function: Function,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    result = _rms_norm(_function, x - x.mean(_last(normalized_shape), keepdim=True), normalized_shape, weight, eps)
    return result if bias is None else result + bias


def _rms_norm(
    _function: Function,
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    mean = _multiply(torch.mul, x, x).mean(_last(normalized_shape), keepdim=True)
    scale = _inverse_root(torch.rsqrt, mean + (torch.finfo(x.dtype).eps if eps is None else eps))
    result = _multiply(torch.mul, x, scale)
    return result if weight is None else result * weight


def _last(shape: Sequence[int]) -> list[int]:
    return list(range(-len(shape), 0))


_SMOOTH = (
    *(F.gelu, F.silu, F.mish, F.elu, F.softplus, F.logsigmoid, F.tanh, torch.tanh, Tensor.tanh),
    *(F.sigmoid, torch.sigmoid, Tensor.sigmoid, torch.erf, Tensor.erf),
)
_LINES = (F.relu, torch.relu, Tensor.relu, F.leaky_relu, F.relu6, F.hardtanh)
_TIMES = (torch.mul, torch.multiply, Tensor.mul, torch.matmul, Tensor.matmul, torch.bmm, Tensor.bmm)

# What to do instead of a torch function; for `run`.
RULES: Mapping[Function, Rule] = {
    **dict.fromkeys(_SMOOTH, _bend(_secant(4.0))),
    **dict.fromkeys(_LINES, _bend(_secant(0.0))),
    **dict.fromkeys((torch.exp, Tensor.exp), _bend(_slope_of_exp)),
    **dict.fromkeys((torch.sqrt, Tensor.sqrt), _root),
    **dict.fromkeys((torch.rsqrt, Tensor.rsqrt), _inverse_root),
    **dict.fromkeys((torch.reciprocal, Tensor.reciprocal), _inverse),
    **dict.fromkeys(_TIMES, _multiply),
    **dict.fromkeys((torch.div, Tensor.div), _divide),
    **dict.fromkeys((torch.pow, Tensor.pow, Tensor.__pow__), _raise),
    **dict.fromkeys((torch.square, Tensor.square), lambda _, x: _multiply(torch.mul, x, x)),
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _share_out),
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
}
