"""Differences in place of derivatives: rules under which the effects of all tokens add up exactly.

The text and its baseline, in which the tokens are replaced, run together as one batch: first all texts, then all
baselines. Whatever is linear needs no rule, as its derivative is its difference quotient. The rest is made of curves,
products and softmax, whose backward passes see both halves and give the texts' half a multiplier with

    sum over inputs of multiplier * (input - baseline input) = output - baseline output.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.gradients import gradients
from expnet.attention.intercept import Rule, run
from expnet.errors import UnsupportedModelError
from expnet.methods.method import Method
from expnet.methods.passes import by_part, check_one_pass, differentiable, inputs_of, of_target
from expnet.methods.replacement import Baseline, baseline_embedding
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

Function = Callable[..., Any]
# From a curve and its inputs and outputs, each of text and baseline, to its difference quotient.
Slope = Callable[[Function, Sequence[Tensor], Sequence[Tensor]], Tensor]


@by_part(repeats=2)
def deeplift(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, replacement: Baseline = "mask"
) -> Float[Tensor, "batch tokens"]:
    """Share out the difference that the tokens make to the target's logit, by the rescale rule; signed, complete.

    Products of two things that both depend on the text, such as attention and values, give each factor its change
    times the mean of the other.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        replacement: What stands for each token in the baseline; special tokens stay.

    Raises:
        UnsupportedModelError: If the scores do not add up, as the model computes something without a rule.
        OptionError: If the tokenizer has no mask token.
    """
    return _scores(classifier, part, target, baseline_embedding(classifier, replacement))


DEEPLIFT = Method(
    name="deeplift",
    family="gradient",
    measures="How much the word adds to the output compared with an empty text",
    function=deeplift,
    paper="Shrikumar et al. 2017, arXiv:1704.02685",
    forward="2",
    backward="2",
    signed=True,
    uses_target=True,
    complete=True,
)


def _scores(
    classifier: Classifier, part: Encoding, target: Tensor, base: Float[Tensor, " width"]
) -> Float[Tensor, "batch tokens"]:
    check_one_pass(classifier, "deeplift")
    model, points = classifier.model, list[Tensor]()

    def embed(raw: Tensor) -> Tensor:
        text, _ = _halves(raw.detach())
        points.append(torch.cat([text, torch.where(part.real.to(raw.device)[..., None], base, text)]).requires_grad_())
        return points[-1]

    with differentiable():
        inputs = {name: torch.cat([tensor, tensor]) for name, tensor in inputs_of(part, model.device).items()}
        logits = of_target(run(model, inputs, embed=embed, rules=RULES).logits, target.repeat(2))
        (multipliers,) = gradients(model, logits[: len(part)].sum(), points[:1])
    text, without = _halves(points[0].detach())
    scores = (_halves(multipliers)[0] * (text - without)).sum(-1)
    _check(scores, logits.detach(), type(model).__name__, multipliers.dtype)
    return scores


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
