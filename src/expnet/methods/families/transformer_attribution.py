"""Relevance of each attention matrix, found by rules that stand in for derivatives, times its gradient.

Relevance starts with 1 at the target's logit and goes down, conserved: what a rule takes from an output it gives to
the inputs. Each torch function of the model gets the backward pass of its rule, so that autograd carries relevance
where it would carry gradients: forks add up, and views, slices and transposes put it where it came from.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.gradients import check_one_pass, gradients
from expnet.attention.intercept import Rule, run
from expnet.attention.stack import require_one_stack
from expnet.errors import UnsupportedModelError
from expnet.methods.families.attention import anchor_row
from expnet.methods.method import Method
from expnet.methods.passes import by_part, differentiable, inputs_of, of_target
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

Function = Callable[..., Any]
# From a function, its inputs and its output's relevance to the relevance of the inputs.
Share = Callable[[Function, Sequence[Tensor], Tensor], Sequence[Tensor]]


@by_part()
def transformer_attribution(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    """Roll out the positive part of relevance times gradient of the attention, averaged over heads, onto the identity.

    Raises:
        UnsupportedModelError: If relevance gets lost or made, as the model computes something without a rule.
    """
    require_one_stack(classifier.model)
    _, maps = _backward(classifier, part, target, {})
    arrived, relevances = _backward(classifier, part, target, RULES)
    _check(arrived, type(classifier.model).__name__)
    row = anchor_row(part, classifier.support.anchor).to(maps[0])
    # The anchor's row of the product (1 + A_last) ... (1 + A_first), from the left, so that it stays a row.
    for gradient, relevance in zip(reversed(maps), reversed(relevances), strict=True):
        row = row + (row[:, None] @ (gradient * relevance).clamp(min=0).mean(1))[:, 0]
    return row


TRANSFORMER_ATTRIBUTION = Method(
    name="transformer_attribution",
    family="attention-gradient",
    measures="How much relevance for the output reaches the word through all layers",
    function=transformer_attribution,
    paper="Chefer et al. 2021, arXiv:2012.09838",
    forward="2",
    backward="2",
    signed=False,
    uses_target=True,
)


def _backward(
    classifier: Classifier, part: Encoding, target: Tensor, rules: Mapping[Function, Rule]
) -> tuple[Tensor, list[Tensor]]:
    """Return what comes down to the embeddings and to each attention matrix from the target's logit."""
    check_one_pass(classifier.model, "transformer_attribution")
    model, points = classifier.model, list[Tensor]()

    def embed(raw: Tensor) -> Tensor:
        points.append(raw.detach().requires_grad_())
        return points[-1]

    with differentiable():
        done = run(model, inputs_of(part, model.device), embed=embed, attend=lambda _, layer: layer, rules=rules)
        wanted = [points[0], *(layer.probabilities for layer in done.layers)]
        chosen = of_target(done.logits, target).sum()
        embedding, *maps = gradients(model, chosen, wanted)
    return embedding, maps


def _check(arrived: Float[Tensor, "batch tokens width"], name: str) -> None:
    """Raise unless all relevance arrives at the embeddings: the proof that whatever the model computes has a rule."""
    gaps = (arrived.float().sum((1, 2)) - 1).abs()
    allowed = 3 * torch.finfo(arrived.dtype).eps ** 0.5 * arrived.float().abs().sum((1, 2)).clamp(min=1)
    if not (gaps <= allowed).all():
        raise UnsupportedModelError(
            f"{name} computes something that transformer attribution has no rule for: of 1 in relevance that the "
            f"target's logit starts with, {float(arrived[int(gaps.argmax())].sum()):.4g} arrives at the tokens."
        )


class _Shared(torch.autograd.Function):
    """A function whose backward pass shares out relevance."""

    @staticmethod
    def forward(ctx: Any, function: Function, share: Share, *inputs: Tensor) -> Tensor:
        ctx.function, ctx.share = function, share
        ctx.save_for_backward(*inputs)
        output: Tensor = function(*inputs)
        return output

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.share(ctx.function, ctx.saved_tensors, above[0])


def _apply(function: Function, share: Share, *inputs: Any) -> Tensor:
    shared: Function = _Shared.apply
    output: Tensor = shared(function, share, *inputs) if any(map(_free, inputs)) else function(*inputs)
    return output


def _divide(relevance: Tensor, value: Tensor) -> Tensor:
    """Divide, but by zero give zero; the small number is that of the authors' code."""
    near = value + 1e-9
    return relevance / near.masked_fill(near == 0, 1e-9) * (value != 0)


def _proportional(function: Function, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    """Give each input according to its part in the value: itself times its derivative."""
    points = [value.detach().requires_grad_() for value in inputs]
    with torch.enable_grad():
        value = function(*points)
    slopes = torch.autograd.grad(value, points, _divide(relevance, value.detach()))
    return [value * slope for value, slope in zip(inputs, slopes, strict=True)]


def _halved(function: Function, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    """Give each factor of a product half, each number of it according to its part in the value."""
    return [share / 2 for share in _proportional(function, inputs, relevance)]


def _whole(_function: Function, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    """Give all relevance to the first input."""
    return [relevance.sum_to_size(inputs[0].shape)]


def _balanced(function: Function, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    """Give each summand according to its part in the value, scaled so that, in each text, totals have one sign.

    Without that, large summands that cancel would get large relevances that cancel.
    """
    parts = _proportional(function, inputs, relevance)
    totals = torch.stack([part.flatten(1).sum(1) for part in parts])
    factors = totals.sign() * _divide(relevance.flatten(1).sum(1), totals.abs().sum(0))
    return [part * factor.view(-1, *[1] * (part.ndim - 1)) for part, factor in zip(parts, factors, strict=True)]


def _linear(product: Function, x: Tensor, weight: Tensor) -> Tensor:
    """Multiply with weights; relevance goes to inputs according to what they add, those that subtract get none."""

    def share(_function: Function, inputs: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
        signs = inputs[0].clamp(min=0), inputs[0].clamp(max=0)
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        positive, negative = _proportional(lambda p, n: product(p, up) + product(n, down), signs, relevance)
        return [positive + negative]

    return _apply(lambda point: product(point, weight), share, x)


def _unary(share: Share) -> Rule:
    """Make a rule for a function of one tensor and constants."""

    def rule(function: Function, x: Any, *args: Any, **kwargs: Any) -> Tensor:
        return _apply(lambda point: function(point, *args, **kwargs), share, x)

    return rule


def _linear_rule(function: Function, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    product = _linear(function, x, weight)
    return product if bias is None else product + bias


def _addmm_rule(_function: Function, bias: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    return bias + _linear(torch.mm, x, weight)


def _binary(share: Share) -> Callable[..., Tensor]:
    """Make a rule for a function of two tensors, number by number; a constant gets no relevance."""

    def rule(function: Function, a: Any, b: Any, **kwargs: Any) -> Tensor:
        if not _free(a):
            return _apply(lambda point: function(a, point, **kwargs), _whole, b)
        if not _free(b):
            return _apply(lambda point: function(point, b, **kwargs), _whole, a)
        return _apply(lambda *points: function(*points, **kwargs), share, a, b)

    return rule


def _over_vectors(share: Share) -> Rule:
    """Make such a rule; what a whole vector shares, as the mean and the scale in norms, counts as constant, too."""

    def rule(function: Function, a: Any, b: Any, **kwargs: Any) -> Tensor:
        if _free(a) and _free(b) and a.shape[-1:] != b.shape[-1:]:
            a, b = (operand.detach() if operand.shape[-1:] in ((), (1,)) else operand for operand in (a, b))
        return _binary(share)(function, a, b, **kwargs)

    return rule


def _in_place(function: Function, rule: Rule) -> Rule:
    """Make the rule of the function that does the same in place."""
    return lambda _, x, *args, **kwargs: x.copy_(rule(function, x.clone(), *args, **kwargs))


def _matmul(function: Function, a: Tensor, b: Tensor) -> Tensor:
    if _free(a) and _free(b):
        return _apply(function, _halved, a, b)
    if _free(a):
        # One matrix for all texts is a layer; a stack of them is made of positions.
        return _linear(function, a, b) if b.ndim == 2 else _apply(lambda x: function(x, b), _proportional, a)
    return _apply(lambda y: function(a, y), _proportional, b)


def _free(factor: Any) -> bool:
    return isinstance(factor, Tensor) and factor.requires_grad


_PASSED = (
    *(F.gelu, F.silu, F.mish, F.elu, F.relu, F.leaky_relu, F.relu6, torch.relu, Tensor.relu, Tensor.neg),
    *(F.tanh, torch.tanh, Tensor.tanh, F.sigmoid, torch.sigmoid, Tensor.sigmoid),
    *(F.softmax, torch.softmax, Tensor.softmax, F.layer_norm, F.rms_norm),
    *(torch.pow, Tensor.pow, Tensor.__pow__, torch.div, Tensor.div),
)

# What to do instead of a torch function; for `run`.
RULES: Mapping[Function, Rule] = {
    F.linear: _linear_rule,
    torch.addmm: _addmm_rule,
    **dict.fromkeys(_PASSED, _unary(_whole)),
    **dict.fromkeys((torch.sum, Tensor.sum, torch.mean, Tensor.mean), _unary(_proportional)),
    **dict.fromkeys((torch.matmul, Tensor.matmul, torch.bmm, Tensor.bmm), _matmul),
    **dict.fromkeys((torch.add, Tensor.add), _binary(_balanced)),
    **dict.fromkeys((torch.sub, Tensor.sub), _over_vectors(_balanced)),
    **dict.fromkeys((torch.mul, Tensor.mul), _over_vectors(_halved)),
    Tensor.add_: _in_place(torch.add, _binary(_balanced)),
    Tensor.mul_: _in_place(torch.mul, _over_vectors(_halved)),
    Tensor.div_: _in_place(torch.div, _unary(_whole)),
}
