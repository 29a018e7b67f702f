"""Attention together with the gradient of the target's logit."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.gradients import gradients
from expnet.attention.intercept import run
from expnet.attention.stack import Stack
from expnet.methods.families.attention import anchor_row
from expnet.methods.layers import between_layers
from expnet.methods.method import Method
from expnet.methods.passes import by_part, differentiable, inputs_of, of_target
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


@by_part()
def attention_gradient(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    layers: Literal["last", "all"] = "last",
) -> Float[Tensor, "batch tokens"]:
    """Average the heads' gradients with respect to the anchor's attention to each token; signed.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        layers: The last layer, or the mean of all.
    """
    kept = _maps(classifier, part, target)
    return _anchor_mean(kept.gradients, anchor_row(part, classifier.support.anchor), layers)


ATTENTION_GRADIENT = Method(
    name="attention_gradient",
    family="attention-gradient",
    measures="How fast the output changes with the attention that the word gets",
    function=attention_gradient,
    paper="Serrano and Smith 2019, arXiv:1906.03731",
    forward="1",
    backward="1",
    signed=True,
    uses_target=True,
)


@by_part()
def attention_x_gradient(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    layers: Literal["last", "all"] = "last",
) -> Float[Tensor, "batch tokens"]:
    """Average over heads the anchor's attention to each token times its gradient; signed.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        layers: The last layer, or the mean of all.
    """
    kept = _maps(classifier, part, target)
    products = [a * g for a, g in zip(kept.attention, kept.gradients, strict=True)]
    return _anchor_mean(products, anchor_row(part, classifier.support.anchor), layers)


ATTENTION_X_GRADIENT = Method(
    name="attention_x_gradient",
    family="attention-gradient",
    measures="How much the attention that the word gets adds to the output",
    function=attention_x_gradient,
    paper="Serrano and Smith 2019, arXiv:1906.03731",
    forward="1",
    backward="1",
    signed=True,
    uses_target=True,
)


@by_part()
def grad_sam(classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
    """Average attention times positive gradient over layers, heads and the tokens that attend."""
    kept = _maps(classifier, part, target)
    queries = part.mask / part.mask.sum(1, keepdim=True)
    products = [a * g.clamp(min=0) for a, g in zip(kept.attention, kept.gradients, strict=True)]
    return _anchor_mean(products, queries, "all")


GRAD_SAM = Method(
    name="grad_sam",
    family="attention-gradient",
    measures="How much the attention that the word gets raises the output",
    function=grad_sam,
    paper="Barkan et al. 2021, arXiv:2204.11073",
    forward="1",
    backward="1",
    signed=False,
    uses_target=True,
)


@by_part()
def cat(classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
    """Add up over the layers each token's hidden state at the layer's input, times its gradient; signed."""
    kept = _maps(classifier, part, target, hidden=True)
    return torch.stack([(h * g).sum(-1) for h, g in zip(kept.hidden, kept.slopes, strict=True)]).sum(0)


CAT = Method(
    name="cat",
    family="attention-gradient",
    measures="How much the word's hidden states add to the output",
    function=cat,
    paper="Qiang et al. 2022, NeurIPS 35 (AttCAT)",
    forward="1",
    backward="1",
    signed=True,
    uses_target=True,
)


@by_part()
def attcat(classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"]) -> Float[Tensor, "batch tokens"]:
    """Weight the summands of `cat` by the attention that the token receives, averaged over heads and tokens; signed."""
    kept = _maps(classifier, part, target, hidden=True)
    queries = (part.mask / part.mask.sum(1, keepdim=True)).to(kept.attention[0])
    terms = zip(kept.attention, kept.hidden, kept.slopes, strict=True)
    return torch.stack([(queries[:, None] @ a.mean(1))[:, 0] * (h * g).sum(-1) for a, h, g in terms]).sum(0)


ATTCAT = Method(
    name="attcat",
    family="attention-gradient",
    measures="How much the word's hidden states add to the output, weighted by the attention that they get",
    function=attcat,
    paper="Qiang et al. 2022, NeurIPS 35 (AttCAT)",
    forward="1",
    backward="1",
    signed=True,
    uses_target=True,
)


@by_part()
def generic_relevance(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    """Roll out the positive part of attention times gradient, averaged over heads, onto the identity."""
    kept = _maps(classifier, part, target, every=True)
    row = anchor_row(part, classifier.support.anchor).to(kept.attention[0])
    products = [a * g for a, g in zip(kept.attention, kept.gradients, strict=True)]

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
    signed=False,
    uses_target=True,
)


@dataclass(frozen=True, slots=True)
class _Maps:
    """Attention and hidden states of layers, out of the graph, with their gradients."""

    attention: list[Tensor]
    gradients: list[Tensor]
    hidden: list[Tensor]
    slopes: list[Tensor]


def _maps(
    classifier: Classifier, part: Encoding, target: Tensor, *, hidden: bool = False, every: bool = False
) -> _Maps:
    """Run one forward and one backward pass over the windows of a part together.

    Of an encoder-decoder, the attention is that in which the anchor reads the text; with hidden states, these and the
    attention are the encoder's. `every` asks for all attention.
    """
    model, states = classifier.model, list[Tensor]()

    def keep(_index: int, state: Tensor) -> Tensor:
        states.append(state)
        return state

    with differentiable():
        with between_layers(model, enter=keep) if hidden else nullcontext():
            inputs = inputs_of(part, model.device)
            # The embeddings carry the graph, as the weights are constants.
            done = run(model, inputs, embed=lambda raw: raw.detach().requires_grad_(), attend=lambda _, layer: layer)
        stack = Stack.of(model)
        layers = done.layers if every else done.layers[: stack.encoder] if hidden else stack.reading(done.layers)
        maps = [layer.probabilities for layer in layers]
        wanted = maps + states
        grads = gradients(model, of_target(done.logits, target).sum(), wanted)
    attention, hidden_states = ([tensor.detach() for tensor in part] for part in (maps, states))
    return _Maps(attention, grads[: len(maps)], hidden_states, grads[len(maps) :])


def _anchor_mean(maps: list[Tensor], anchor: Tensor, layers: Literal["last", "all"]) -> Float[Tensor, "batch tokens"]:
    rows = [
        (anchor.to(attention)[:, None] @ attention.mean(1))[:, 0]
        for attention in (maps[-1:] if layers == "last" else maps)
    ]
    return torch.stack(rows).mean(0)
