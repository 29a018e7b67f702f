"""One forward pass that gives the logits and, per layer and head, the anchor's row and column of attention."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.anchor import Anchor, AnchorAttention, AnchorReading, PooledTokens
from expnet.attention.fused import run_fused
from expnet.attention.fused_layer import FusedLayer
from expnet.attention.intercept import Layer, run
from expnet.attention.stack import Stack
from expnet.errors import InputError

Backend = Literal["fused", "eager"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What one forward pass says: the logits, and the attention between the anchor and each token.

    The anchor is what the classifier pools, such as the first token or the mean of all. A row is the attention that the
    anchor pays to each token (summing to 1 over them), a column the attention that each token pays to the anchor; in
    an encoder-decoder that is the cross-attention, see `expnet.attention.stack`. Both are kept as natural logarithms,
    the form in which the fused kernel gives them; minus infinity on padding and where a mask hides the token.

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

    @classmethod
    def of_anchor(cls, logits: Tensor, attention: AnchorAttention, mask: Bool[Tensor, "batch tokens"]) -> "Trace":
        """Return what layers say of the anchor, as `AnchorReading` read them; `mask` is False on padding."""
        hidden = ~mask[:, None, None]
        rows, columns = (logs.masked_fill(hidden, -torch.inf) for logs in attention[:2])
        return cls(logits, rows, columns, attention.received)

    @classmethod
    def joined(cls, parts: "Sequence[Trace]", width: int) -> "Trace":
        """Return the traces of several batches as one on the CPU, padded to a number of tokens."""

        def join(tensors: Sequence[Tensor]) -> Tensor:
            wide = [F.pad(tensor.cpu(), (0, width - tensor.shape[-1]), value=-torch.inf) for tensor in tensors]
            return torch.cat(wide)

        return cls(
            torch.cat([part.logits.cpu() for part in parts]),
            join([part.log_rows for part in parts]),
            join([part.log_columns for part in parts]),
            join([part.log_received for part in parts]).exp() if parts[0].received is not None else None,
        )


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
    pooled = PooledTokens.of(model, inputs, anchor)
    reading = AnchorReading(pooled, received=received)
    logits = each_layer(model, inputs, reading.add, backend=backend, inference=True)
    return Trace.of_anchor(logits, reading.attention(), pooled.real)


def each_layer(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    see: Callable[[FusedLayer | Layer], None],
    *,
    backend: Backend = "fused",
    project: bool = False,
    every: bool = False,
    inference: bool = False,
) -> Float[Tensor, "batch classes"]:
    """Run one forward pass without a graph, call `see` with each attention layer, and return the logits.

    Keeping fused layers takes memory linear in the length; a layer of the eager backend holds its whole matrix.

    Args:
        model: A sequence classifier. It comes back as it was.
        inputs: Its keyword arguments; `attention_mask` is needed.
        see: Called with each layer, from the first on, while the pass runs.
        backend: As for `capture`.
        project: Whether the output projections will be needed, once the pass is over.
        every: Also show the layers of an encoder-decoder in which the anchor does not read the text.
        inference: Run fused attention in inference mode, as predictions do, which saves a part of each operation. No
            graph can be built later on what `see` gets then.

    Raises:
        UnsupportedModelError: If no attention came back.
    """
    stack = Stack.of(model)

    def show(index: int, layer: FusedLayer | Layer) -> None:
        if every or stack.reads(index):
            see(layer)

    if backend == "fused" and inference:
        with torch.inference_mode():
            logits = run_fused(model, inputs, show, project=project)
        return logits.clone()  # a plain tensor
    with torch.no_grad():
        if backend == "fused":
            return run_fused(model, inputs, show, project=project)

        def attend(index: int, layer: Layer) -> Layer:
            show(index, layer)
            return layer

        return run(model, inputs, attend=attend, keep=False).logits
