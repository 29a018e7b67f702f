"""Fixed rules over attention. The anchor is the token, or the mean of tokens, that the classifier pools."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.anchor import Anchor, anchor_weights
from expnet.attention.fused_layer import FusedLayer
from expnet.attention.intercept import Layer
from expnet.attention.stack import Stack, require_one_stack
from expnet.errors import require_extra
from expnet.methods.method import Method
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

# Capacities of the flow are whole numbers: attention in millionths.
_GRAIN = 1_000_000


@by_trace(lambda options: PassNeeds(rows=True, received=options["direction"] == "received"))
def raw_attention(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    layers: Literal["last", "all"] = "last",
    direction: Literal["row", "column", "received"] = "row",
) -> Float[Tensor, "batch tokens"]:
    """Average the heads' attention between anchor and token, in [0, 1].

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: Not used.
        trace: The pass.
        layers: The last layer, or the mean of all.
        direction: What the anchor pays to the token (row), the token to the anchor (column), or all tokens to the
            token on average (received).
    """
    read = {"row": "rows", "column": "columns", "received": "received"}[direction]
    attention: Tensor = getattr(trace.anchor, read).mean(2)
    return attention[:, -1] if layers == "last" else attention.mean(1)


RAW_ATTENTION = Method(
    name="raw_attention",
    family="attention",
    measures="How much attention passes between the word and the token that the classifier decides by",
    function=raw_attention,
    paper="Clark et al. 2019, arXiv:1906.04341",
    forward="1",
    signed=False,
    uses_target=False,
)


@by_trace(lambda _: PassNeeds(layers=True))
def rollout(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    residual: float = 0.5,
) -> Float[Tensor, "batch tokens"]:
    """Multiply the layers' mean attention, each mixed with the identity, and take the anchor's row, in [0, 1].

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: Not used.
        trace: The pass.
        residual: Share of the identity, which stands for the residual connection.
    """

    def pass_on(layer: FusedLayer | Layer, row: Tensor) -> Tensor:
        return (1 - residual) * layer.mixed(row).mean(1).float()

    row = anchor_row(part, classifier.support.anchor).to(classifier.model.device)
    return Stack.of(classifier.model).roll(row, trace.layers, pass_on, keep=residual)


ROLLOUT = Method(
    name="rollout",
    family="attention",
    measures="How much attention reaches the word through all layers",
    function=rollout,
    paper="Abnar and Zuidema 2020, arXiv:2005.00928",
    forward="1",
    signed=False,
    uses_target=False,
)


@by_trace(lambda _: PassNeeds(matrices=True))
def attention_flow(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Find the largest flow from each token to the anchor through the layers' attention as capacities, in [0, 1].

    Capacities are the heads' mean mixed half with the identity, rounded to millionths. A mean of tokens takes from
    each of them what its share allows.
    """
    require_extra("scipy", "methods")
    require_one_stack(classifier.model)
    rows = anchor_row(part, classifier.support.anchor)
    stacked = torch.stack([matrix.mean(1).float().cpu() for matrix in trace.matrices], dim=1).double().numpy()
    scores = np.zeros(part.ids.shape)
    for index, length in enumerate(part.mask.sum(1).tolist()):
        capacities = 0.5 * (stacked[index, :, :length, :length] + np.eye(length))
        tokens = part.real[index].nonzero().flatten().tolist()
        scores[index, tokens] = _flows(capacities, rows[index, :length].double().numpy(), tokens)
    return torch.from_numpy(scores)


ATTENTION_FLOW = Method(
    name="attention_flow",
    family="attention",
    measures="How much could flow from the word through the attention of all layers",
    function=attention_flow,
    paper="Abnar and Zuidema 2020, arXiv:2005.00928",
    forward="1",
    cost="quadratic",
    signed=False,
    uses_target=False,
    extra="methods",
)


@by_trace(lambda _: PassNeeds(layers=True, projections=True))
def value_norm_attention(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    layers: Literal["last", "all"] = "last",
) -> Float[Tensor, "batch tokens"]:
    """Score each token by the norm of the vector that attention carries from it to the anchor.

    The vector is the sum over heads of attention times projected value, so that small values count little and heads
    may cancel.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: Not used.
        trace: The pass.
        layers: The last layer, or the mean of all.

    Raises:
        UnsupportedModelError: If no output projection follows the attention.
    """
    captured = Stack.of(classifier.model).reading(trace.layers)
    anchor = anchor_row(part, classifier.support.anchor).to(classifier.model.device)
    return torch.stack([_carried(layer, anchor) for layer in (captured[-1:] if layers == "last" else captured)]).mean(0)


VALUE_NORM_ATTENTION = Method(
    name="value_norm_attention",
    family="attention",
    measures="How much attention carries over from the word, by the length of what it carries",
    function=value_norm_attention,
    paper="Kobayashi et al. 2020, arXiv:2004.10102",
    forward="1",
    signed=False,
    uses_target=False,
)


def anchor_row(part: Encoding, anchor: Anchor) -> Float[Tensor, "batch tokens"]:
    """Return the weights with which the classifier pools tokens: one 1, or equal shares; each row sums to 1."""
    return anchor_weights(part.ids, part.mask, anchor, part.pad)


def _carried(layer: FusedLayer | Layer, anchor: Tensor) -> Float[Tensor, "batch tokens"]:
    weights = layer.mixed(anchor).to(layer.value)
    joined = (weights[..., None] * layer.value).transpose(1, 2).flatten(2)
    lengths: Tensor = torch.linalg.vector_norm(joined @ layer.output_projection().T, dim=-1)
    return lengths.cpu()


def _flows(capacities: np.ndarray, anchor: np.ndarray, tokens: list[int]) -> list[float]:
    """Return the largest flow from each token, at the bottom, to a sink above the last layer."""
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import maximum_flow

    layers, length, _ = capacities.shape
    layer, above, below = np.indices(capacities.shape).reshape(3, -1)
    sink = (layers + 1) * length
    into = np.arange(layers * length, sink)
    start = np.concatenate([layer * length + below, into])
    stop = np.concatenate([(layer + 1) * length + above, np.full(length, sink)])
    limit = np.concatenate([capacities.ravel(), anchor])
    # Older releases of scipy find flows in graphs of 32 bits only.
    whole, start, stop = (array.astype(np.int32) for array in (np.rint(limit * _GRAIN), start, stop))
    graph = csr_array(coo_array((whole, (start, stop)), shape=(sink + 1, sink + 1)))
    graph.eliminate_zeros()
    return [maximum_flow(graph, token, sink).flow_value / _GRAIN for token in tokens]
