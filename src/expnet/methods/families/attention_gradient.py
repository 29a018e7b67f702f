"""Attention together with the gradient of the target's logit."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.stack import Stack
from expnet.methods.families.attention import anchor_row
from expnet.methods.method import Method
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


def _matrices(_options: Mapping[str, Any]) -> PassNeeds:
    return PassNeeds(matrices=True, slopes=True)


def _hidden_states(_options: Mapping[str, Any]) -> PassNeeds:
    return PassNeeds(matrices=True, hidden=True, slopes=True)


@by_trace(_matrices)
def attention_gradient(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    layers: Literal["last", "all"] = "last",
) -> Float[Tensor, "batch tokens"]:
    """Average the heads' gradients with respect to the anchor's attention to each token; signed.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        trace: The pass.
        layers: The last layer, or the mean of all.
    """
    slopes = Stack.of(classifier.model).reading(trace.slopes.matrices)
    return _anchor_mean(slopes, anchor_row(part, classifier.support.anchor), layers)


ATTENTION_GRADIENT = Method(
    name="attention_gradient",
    family="attention-gradient",
    measures="How fast the output changes with the attention that the word gets",
    function=attention_gradient,
    paper="Serrano and Smith 2019, arXiv:1906.03731",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=True,
    uses_target=True,
)


@by_trace(_matrices)
def attention_x_gradient(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    layers: Literal["last", "all"] = "last",
) -> Float[Tensor, "batch tokens"]:
    """Average over heads the anchor's attention to each token times its gradient; signed.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        trace: The pass.
        layers: The last layer, or the mean of all.
    """
    products = [a * g for a, g in _reading(classifier, trace)]
    return _anchor_mean(products, anchor_row(part, classifier.support.anchor), layers)


ATTENTION_X_GRADIENT = Method(
    name="attention_x_gradient",
    family="attention-gradient",
    measures="How much the attention that the word gets adds to the output",
    function=attention_x_gradient,
    paper="Serrano and Smith 2019, arXiv:1906.03731",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=True,
    uses_target=True,
)


@by_trace(_matrices)
def grad_sam(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Average attention times positive gradient over layers, heads and the tokens that attend."""
    queries = part.mask / part.mask.sum(1, keepdim=True)
    products = [a * g.clamp(min=0) for a, g in _reading(classifier, trace)]
    return _anchor_mean(products, queries, "all")


GRAD_SAM = Method(
    name="grad_sam",
    family="attention-gradient",
    measures="How much the attention that the word gets raises the output",
    function=grad_sam,
    paper="Barkan et al. 2021, arXiv:2204.11073",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=False,
    uses_target=True,
)


@by_trace(_hidden_states)
def cat(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Add up over the layers each token's hidden state at the layer's input, times its gradient; signed."""
    return torch.stack([(h * g).sum(-1) for h, g in zip(trace.hidden, trace.slopes.others, strict=True)]).sum(0)


CAT = Method(
    name="cat",
    family="attention-gradient",
    measures="How much the word's hidden states add to the output",
    function=cat,
    paper="Qiang et al. 2022, NeurIPS 35 (AttCAT)",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=True,
    uses_target=True,
)


@by_trace(_hidden_states)
def attcat(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Weight the summands of `cat` by the attention that the token receives, averaged over heads and tokens; signed."""
    matrices = trace.matrices[: Stack.of(classifier.model).encoder]
    queries = (part.mask / part.mask.sum(1, keepdim=True)).to(matrices[0])
    terms = zip(matrices, trace.hidden, trace.slopes.others, strict=True)
    return torch.stack([(queries[:, None] @ a.mean(1))[:, 0] * (h * g).sum(-1) for a, h, g in terms]).sum(0)


ATTCAT = Method(
    name="attcat",
    family="attention-gradient",
    measures="How much the word's hidden states add to the output, weighted by the attention that they get",
    function=attcat,
    paper="Qiang et al. 2022, NeurIPS 35 (AttCAT)",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=True,
    uses_target=True,
)


@by_trace(_matrices)
def generic_relevance(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Roll out the positive part of attention times gradient, averaged over heads, onto the identity."""
    row = anchor_row(part, classifier.support.anchor).to(trace.matrices[0])
    products = [a * g for a, g in zip(trace.matrices, trace.slopes.matrices, strict=True)]

    def pass_on(product: Tensor, below: Tensor) -> Tensor:
        return (below[:, None] @ product.clamp(min=0).mean(1))[:, 0]

    # The anchor's row of the product (1 + A_last) ... (1 + A_first), from the left, so that it stays a row.
    return Stack.of(classifier.model).roll(row, products, pass_on)


GENERIC_RELEVANCE = Method(
    name="generic_relevance",
    family="attention-gradient",
    measures="How much attention that raises the output reaches the word through all layers",
    function=generic_relevance,
    paper="Chefer et al. 2021, arXiv:2103.15679",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=False,
    uses_target=True,
)


def _reading(classifier: Classifier, trace: PassTrace) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the attention in which the anchor reads the text, layer by layer, and its slopes."""
    pairs = list(zip(trace.matrices, trace.slopes.matrices, strict=True))
    yield from Stack.of(classifier.model).reading(pairs)


def _anchor_mean(
    maps: Sequence[Tensor], anchor: Tensor, layers: Literal["last", "all"]
) -> Float[Tensor, "batch tokens"]:
    rows = [
        (anchor.to(attention)[:, None] @ attention.mean(1))[:, 0]
        for attention in (maps[-1:] if layers == "last" else maps)
    ]
    return torch.stack(rows).mean(0)
