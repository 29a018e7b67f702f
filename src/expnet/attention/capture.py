"""One forward pass that gives the logits and, per layer and head, the anchor's row and column of attention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.borrow import declared_pad
from expnet.attention.fused import FusedLayer, run_fused
from expnet.attention.intercept import Layer, run
from expnet.errors import InputError

Anchor = Literal["first", "last", "mean"]
Backend = Literal["fused", "eager"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What one forward pass says: the logits, and the attention between the anchor and each token.

    The anchor is what the classifier pools: the first real token, the last one, or the mean of all. A row is
    the attention that the anchor pays to each token (summing to 1 over them), a column the attention that each
    token pays to the anchor. Both are kept as natural logarithms, the form in which the fused kernel gives
    them; minus infinity on padding and where a mask hides the token.

    `received`, if it was asked for, is what the real tokens of a text pay to each token, on average; it sums to 1.
    """

    logits: Float[Tensor, "batch classes"]
    log_rows: Float[Tensor, "batch layers heads tokens"]
    log_columns: Float[Tensor, "batch layers heads tokens"]
    received: Float[Tensor, "batch layers heads tokens"] | None = None

    @property
    def rows(self) -> Float[Tensor, "batch layers heads tokens"]:
        """Attention from the anchor to each token, in [0, 1]; 0 on padding."""
        return self.log_rows.exp()

    @property
    def columns(self) -> Float[Tensor, "batch layers heads tokens"]:
        """Attention from each token to the anchor, in [0, 1]; 0 on padding."""
        return self.log_columns.exp()

    @property
    def log_received(self) -> Float[Tensor, "batch layers heads tokens"]:
        """Logarithm of `received`.

        Raises:
            InputError: If it was not asked for.
        """
        if self.received is None:
            raise InputError("This trace holds no received attention: capture it with received=True.")
        return self.received.log()


def capture(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    *,
    anchor: Anchor,
    backend: Backend = "fused",
    received: bool = False,
) -> Trace:
    """Run one forward pass and take the anchor's attention along.

    Args:
        model: A sequence classifier. It comes back as it was.
        inputs: Its keyword arguments; `attention_mask` is needed.
        anchor: Which tokens the classifier pools.
        backend: "fused" never builds a tokens × tokens matrix but needs transformers' attention interface;
            "eager" computes each layer's matrix, whatever the model's code, reads it and drops it, and is the
            reference.
        received: Also take what each token receives from all, which costs about as much as attending again.

    Raises:
        UnsupportedModelError: If no attention came back.
    """
    mask = inputs["attention_mask"].bool()
    index = anchor_index(inputs["input_ids"], mask, anchor, declared_pad(model))
    shares = mask / mask.sum(1, keepdim=True)
    rows: list[Tensor] = []
    columns: list[Tensor] = []
    means: list[Tensor] = []

    def take(layer: FusedLayer | Layer) -> None:
        if received or anchor == "mean":
            means.append(layer.mixed(shares).float())
        if anchor == "mean":
            rows.append(means[-1].log())
            # Every row sums to 1 over the real tokens, so each token pays their mean the same: 1 / n.
            columns.append(shares.amax(1).log()[:, None, None].expand(rows[-1].shape))
        else:
            rows.append(layer.log_row(index).float())
            columns.append(layer.log_column(index).float())

    logits = each_layer(model, inputs, take, backend=backend)
    hidden = ~mask[:, None, None]
    return Trace(
        logits,
        torch.stack(rows, dim=1).masked_fill(hidden, -torch.inf),
        torch.stack(columns, dim=1).masked_fill(hidden, -torch.inf),
        torch.stack(means, dim=1) if received else None,
    )


def each_layer(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    see: Callable[[FusedLayer | Layer], None],
    *,
    backend: Backend = "fused",
    project: bool = False,
) -> Float[Tensor, "batch classes"]:
    """Run one forward pass without a graph, call `see` with each attention layer, and return the logits.

    Keeping fused layers takes memory linear in the length; a layer of the eager backend holds its whole matrix.

    Args:
        model: A sequence classifier. It comes back as it was.
        inputs: Its keyword arguments; `attention_mask` is needed.
        see: Called with each layer, from the first on, while the pass runs.
        backend: As for `capture`.
        project: Whether the output projections will be needed, once the pass is over.

    Raises:
        UnsupportedModelError: If no attention came back.
    """
    with torch.no_grad():
        if backend == "fused":
            return run_fused(model, inputs, see, project=project)

        def attend(_index: int, layer: Layer) -> Layer:
            see(layer)
            return layer

        return run(model, inputs, attend=attend, keep=False).logits


def anchor_weights(
    ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"], anchor: Anchor, pad: int | None
) -> Float[Tensor, "batch tokens"]:
    """Return the weights with which the classifier pools tokens: one 1, or equal shares; each row sums to 1."""
    if anchor == "mean":
        return mask / mask.sum(1, keepdim=True)
    return torch.nn.functional.one_hot(anchor_index(ids, mask, anchor, pad), mask.shape[1]).float()


def anchor_index(
    ids: Int[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"], anchor: Anchor, pad: int | None
) -> Int[Tensor, " batch"]:
    """Return the position of the first or last real token of each row; for "mean" it has no meaning.

    Args:
        ids: Tokens.
        mask: True for real ones.
        anchor: Which it is.
        pad: As `declared_pad` gives it. A text may end with it, as where padding is marked with the end of a text: like
            transformers' decoders, the last token is then the one before. If there is no other, it is the first.
    """
    if anchor != "last":
        return mask.int().argmax(1)
    counted = mask if pad is None else mask & (ids != pad)
    return (torch.arange(mask.shape[1], device=mask.device) * counted).argmax(1)
