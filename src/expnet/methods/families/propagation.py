"""Gradient times input in a model whose attention and normalisers are constants, so that relevance is conserved."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.gradients import check_one_pass, gradients
from expnet.attention.intercept import Layer, run
from expnet.methods.method import Method
from expnet.methods.passes import differentiable, inputs_of, of_target
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


def _pass(classifier: Classifier, part: Encoding) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Run one forward pass with constants; return logits, and what carries their graph: they and the embeddings."""
    check_one_pass(classifier.model, "conservative_propagation")
    leaves: list[Tensor] = []

    def embed(raw: Tensor) -> Tensor:
        leaves.append(raw.detach().requires_grad_())
        return leaves[0]

    with differentiable():
        inputs = inputs_of(part, classifier.model.device)
        done = run(classifier.model, inputs, embed=embed, attend=_constant_attention, rules=_RULES, keep=False)
    return done.logits, (done.logits, leaves[0])


@by_trace(lambda _: PassNeeds(own=_pass))
def conservative_propagation(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Multiply each word embedding with the gradient it has while attention and normalisers stay as they are; signed.

    Attention probabilities, standard deviations (LayerNorm) and root mean squares (RMSNorm) count as constants.
    Where nothing else is curved or biased, the scores of all tokens, special ones included, sum to the logit.
    """
    logits, embeddings = trace.own
    with differentiable():
        chosen = of_target(logits, target).sum()
        (gradient,) = gradients(classifier.model, chosen, [embeddings], keep=trace.keep)
        scores: Tensor = (gradient.float() * embeddings.float()).sum(-1)
        return scores


CONSERVATIVE_PROPAGATION = Method(
    name="conservative_propagation",
    family="propagation",
    measures="How much the word adds to the output while attention stays as it is",
    function=conservative_propagation,
    paper="Ali et al. 2022, arXiv:2202.07304",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=True,
    uses_target=True,
)


def norm_scale(x: Float[Tensor, "*rows width"], eps: float) -> Float[Tensor, "*rows 1"]:
    """Return what LayerNorm multiplies each centred vector with: one over its standard deviation."""
    return (x.float().var(-1, unbiased=False, keepdim=True) + eps).rsqrt()


def scaled_norm(
    x: Float[Tensor, "*rows width"], scale: Float[Tensor, "*any 1"], weight: Float[Tensor, " width"] | None
) -> Float[Tensor, "*rows width"]:
    """Apply LayerNorm without its bias and with a scale that is given, so that it is linear."""
    centred = ((x.float() - x.float().mean(-1, keepdim=True)) * scale).to(x.dtype)
    return centred if weight is None else centred * weight


def _constant_attention(_index: int, layer: Layer) -> Layer:
    return Layer(layer.probabilities.detach(), layer.value)


def _layer_norm(
    _func: Callable[..., Tensor],
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    y = scaled_norm(x, norm_scale(x, eps).detach(), weight)
    return y if bias is None else y + bias


def _rms_norm(
    _func: Callable[..., Tensor],
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    least = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * (x.float().square().mean(-1, keepdim=True) + least).rsqrt().detach().to(x.dtype)
    return y if weight is None else y * weight


def _constant(func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    return func(*args, **kwargs).detach()


_RULES: dict[Callable[..., Any], Callable[..., Any]] = {
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    # Models that write their normaliser out themselves take its root with one of these.
    **dict.fromkeys((torch.rsqrt, Tensor.rsqrt, torch.sqrt, Tensor.sqrt), _constant),
}
