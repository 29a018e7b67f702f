"""How much of each token a layer mixes into each other token, followed through all layers to the anchor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.intercept import Layer, run
from expnet.attention.stack import require_one_stack
from expnet.methods.families.attention import anchor_row
from expnet.methods.families.blocks import Block, blocks_of, contributions
from expnet.methods.families.propagation import norm_scale, scaled_norm
from expnet.methods.layers import between_layers
from expnet.methods.method import Method
from expnet.methods.passes import by_part, inputs_of
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.capacity import budget
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

# Row i says how much of each token j is in the layer's output for token i.
Mixing = Float[Tensor, "batch tokens tokens"]
_TINY = torch.finfo(torch.float32).tiny
# All layers' attention is held at once; as many copies of the windows as this stand for it, and so keep parts small.
_HELD = 4


def _blocks(_options: Mapping[str, Any]) -> PassNeeds:
    return PassNeeds(own=blocks_of, copies=_HELD)


@by_part(repeats=lambda tokens: tokens)  # runs a copy without each token
def value_zeroing(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"]
) -> Float[Tensor, "batch tokens"]:
    """Zero one token's value vectors in one layer, measure how far each token's output turns, and roll that out.

    The mixing is the cosine distance between the layer's output with and without them, in shares of each row; the
    layer's input is always that of the unmodified pass. Scores lie in [0, 1].
    """
    require_one_stack(classifier.model)
    with torch.no_grad():
        return _rolled(classifier, part, [_shares(distances) for distances in _turns(classifier, part)])


VALUE_ZEROING = Method(
    name="value_zeroing",
    family="propagation",
    measures="How far the hidden states turn without what the word contributes",
    function=value_zeroing,
    paper="Mohebbi et al. 2023, arXiv:2301.12971",
    # Special tokens, mostly two, are taken away as well.
    forward="tokens + 3",
    signed=False,
    uses_target=False,
)


@by_trace(_blocks)
def alti(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Roll out how near each token's part comes to the attention block's output for a token.

    The block's output y is a sum of one vector from each token; nearness is |y| - |y - vector| in the sum of
    absolute values, 0 at least, in shares of each row. Scores lie in [0, 1].

    Raises:
        UnsupportedModelError: If the parts do not add up to the output.
    """

    def mixing(block: Block) -> Mixing:
        whole, rows = block.whole()[:, :, None], []
        for span, parts in contributions(block):
            rows.append((whole[:, span].abs().sum(-1) - (whole[:, span] - parts).abs().sum(-1)).clamp(min=0))
        return _shares(torch.cat(rows, dim=1))

    return _decomposed(classifier, part, trace, mixing)


ALTI = Method(
    name="alti",
    family="propagation",
    measures="How much of the hidden states that the classifier decides by comes from the word",
    function=alti,
    paper="Ferrando et al. 2022, arXiv:2203.04212",
    forward="1",
    cost="quadratic",
    signed=False,
    uses_target=False,
)


@by_trace(_blocks)
def globenc(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Roll out the length of each token's part in a layer's output for a token, the feed-forward network left out.

    Parts go through attention, the residual connections and the layer norms of the layer. Lengths are not turned into
    shares, so that tokens with long outputs count more; all scores of a text, special tokens included, sum to 1.

    Raises:
        UnsupportedModelError: If the parts do not add up to the attention block's output.
    """

    def mixing(block: Block) -> Mixing:
        last = block.norms[-1] if block.ends_normed else None
        rows = []
        for span, parts in contributions(block):
            if last is not None:
                parts = scaled_norm(parts, norm_scale(last.input, last.eps)[:, span, None], last.weight)
            rows.append(parts.norm(dim=-1))
        return torch.cat(rows, dim=1)

    return _decomposed(classifier, part, trace, mixing)


GLOBENC = Method(
    name="globenc",
    family="propagation",
    measures="How long the word's part is in the hidden states that the classifier decides by",
    function=globenc,
    paper="Modarressi et al. 2022, arXiv:2205.03286",
    forward="1",
    cost="quadratic",
    signed=False,
    uses_target=False,
)


def _decomposed(
    classifier: Classifier, part: Encoding, trace: PassTrace, mixing: Callable[[Block], Mixing]
) -> Float[Tensor, "batch tokens"]:
    with torch.no_grad():
        return _rolled(classifier, part, [mixing(block) for block in trace.own])


def _rolled(classifier: Classifier, part: Encoding, layers: Sequence[Mixing]) -> Float[Tensor, "batch tokens"]:
    """Return the anchor's row of the product of the layers, the last layer leftmost, in shares."""
    row = anchor_row(part, classifier.support.anchor).to(layers[0])
    for mixing in reversed(layers):
        row = _shares((row[:, None] @ mixing)[:, 0])  # a constant for each text, which only keeps numbers in range
    return row


def _shares(values: Tensor) -> Tensor:
    return values / values.sum(-1, keepdim=True).clamp(min=_TINY)


def _turns(classifier: Classifier, part: Encoding) -> list[Mixing]:
    """Return for each layer how far each token's output (row) turns without each token's value (column)."""
    model, length = classifier.model, part.ids.shape[1]
    inputs: list[Tensor] = []
    directions: list[Tensor] = []

    def enter(_index: int, hidden: Tensor) -> Tensor:
        inputs.append(hidden)
        return hidden

    with between_layers(model, enter=enter, leave=lambda _, hidden: directions.append(_direction(hidden))):
        run(model, inputs_of(part, model.device), attend=lambda _, layer: layer, keep=False)
    size = max(1, budget(model.device, copies=True) // part.ids.numel())
    columns = [
        _without(classifier, part, range(start, min(start + size, length)), inputs, directions)
        for start in range(0, length, size)
    ]
    return [torch.cat(blocks, dim=2) for blocks in zip(*columns, strict=True)]


def _without(
    classifier: Classifier, part: Encoding, sources: range, inputs: Sequence[Tensor], directions: Sequence[Tensor]
) -> list[Float[Tensor, "batch tokens sources"]]:
    """Run each layer on its input of the unmodified pass, once without the value of each of the sources."""
    model, copies, turns = classifier.model, len(sources), []
    gone = F.one_hot(torch.tensor(sources, device=model.device), part.ids.shape[1]).bool().repeat(len(part), 1)

    def enter(index: int, _hidden: Tensor) -> Tensor:
        return inputs[index].repeat_interleave(copies, 0)

    def attend(_index: int, layer: Layer) -> Layer:
        return Layer(layer.probabilities, layer.value.masked_fill(gone[:, None, :, None], 0.0))

    def leave(index: int, hidden: Tensor) -> None:
        change = _direction(hidden).unflatten(0, (-1, copies)) - directions[index][:, None]
        # Half the squared distance of unit vectors is one minus their cosine, without its cancellation.
        turns.append(change.square().sum(-1).div(2).transpose(1, 2))

    with between_layers(model, enter=enter, leave=leave):
        run(model, inputs_of(part, model.device, copies=copies), attend=attend, keep=False)
    return turns


def _direction(hidden: Tensor) -> Float[Tensor, "batch tokens width"]:
    return F.normalize(hidden.float(), dim=-1)
