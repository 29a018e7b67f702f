"""What each layer computes around its attention, taken apart into one vector from each token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from expnet.attention.intercept import Layer, run
from expnet.attention.stack import require_one_stack
from expnet.errors import UnsupportedModelError
from expnet.methods.families.propagation import norm_scale, scaled_norm
from expnet.methods.layers import between_layers, check_layout
from expnet.methods.passes import inputs_of
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

# Numbers held at once while the contributions of tokens to tokens are vectors.
_HELD = 2**22


@dataclass(frozen=True, slots=True)
class Norm:
    """One call of LayerNorm."""

    input: Tensor
    output: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float


@dataclass(slots=True)
class Block:
    """What one layer computed.

    Attributes:
        mask: True for real tokens.
        residual: The layer's input.
        attention: Probabilities, values and output projection.
        projected: Whether the output projection was called.
        bias: Of the output projection, if it has one.
        total: Residual plus attention's output.
        norms: Those after attention, in the order of their calls.
        output: The layer's output.
    """

    mask: Bool[Tensor, "batch tokens"]
    residual: Float[Tensor, "batch tokens width"]
    attention: Layer | None = None
    projected: bool = False
    bias: Tensor | None = None
    total: Tensor | None = None
    norms: list[Norm] = field(default_factory=list)
    output: Tensor | None = None

    @property
    def ends_normed(self) -> bool:
        """Whether norms stand after the residual connections (as in BERT), not before attention (as in GPT-2)."""
        follows = bool(self.norms) and self.norms[0].input is self.total
        return follows and self.output is not None and torch.equal(self.norms[-1].output, self.output)

    def whole(self) -> Float[Tensor, "batch tokens width"]:
        """Return what tokens contribute to: residual plus attention, normed where the layer norms it.

        Raises:
            UnsupportedModelError: If no such sum was seen.
        """
        whole = self.norms[0].output if self.ends_normed else self.total
        if whole is None:
            raise UnsupportedModelError("No layer adds the output of its attention to its input.")
        return whole.float()


def blocks_of(classifier: Classifier, part: Encoding) -> tuple[Float[Tensor, "batch classes"], list[Block]]:
    """Run one forward pass; return the logits and what the layers compute.

    Raises:
        UnsupportedModelError: If the model is no single stack of layers.
    """
    model = classifier.model
    require_one_stack(model)
    recorder = _Recorder(part.mask.to(model.device))
    with torch.no_grad(), between_layers(model, enter=recorder.enter, leave=recorder.leave):
        done = run(model, inputs_of(part, model.device), attend=recorder.attend, rules=recorder.rules())
    return done.logits, recorder.blocks


def contributions(block: Block) -> Iterator[tuple[slice, Float[Tensor, "batch some tokens width"]]]:
    """Yield, some output tokens at a time, the vector that each token contributes to the block's `whole`.

    That is attention times projected value, and for the token itself the residual. Norms keep the scale that they
    had. Values carry their bias; the biases of projection and norm belong to no token.

    Raises:
        UnsupportedModelError: If vectors and biases do not add up to `whole`.
    """
    whole, residual, attention = block.whole(), block.residual.float(), block.attention
    assert attention is not None
    assert block.total is not None
    batch, length, width = residual.shape
    matrix = attention.output_projection().float().unflatten(1, (attention.value.shape[1], -1))
    carried = torch.einsum("bhjv,dhv->bjhd", attention.value.float(), matrix)
    bias = whole.new_zeros(width) if block.bias is None else block.bias.float()
    here = torch.arange(length, device=residual.device)
    for start in range(0, length, size := max(1, _HELD // (batch * length * width))):
        span = slice(start, start + size)
        vectors = (attention.probabilities[:, :, span].float().permute(0, 3, 2, 1) @ carried).transpose(1, 2)
        vectors[:, here[span] - start, here[span]] += residual[:, span]
        rest = bias.expand(batch, vectors.shape[1], 1, width)
        if block.ends_normed:
            norm, scale = block.norms[0], norm_scale(block.total, block.norms[0].eps)[:, span, None]
            vectors, rest = scaled_norm(vectors, scale, norm.weight), scaled_norm(rest, scale, norm.weight)
            rest = rest if norm.bias is None else rest + norm.bias
        _check(vectors.sum(2) + rest[:, :, 0], whole[:, span], block.mask[:, span], block.residual.dtype)
        yield span, vectors


def _check(parts: Tensor, whole: Tensor, mask: Tensor, dtype: torch.dtype) -> None:
    if not mask.any():
        return
    gap = float((parts - whole)[mask].abs().max() / whole[mask].abs().max())
    if not gap <= (1e-3 if dtype in (torch.float32, torch.float64) else 5e-2):
        raise UnsupportedModelError(
            f"What tokens contribute to the output of an attention block misses it by {gap:.2g} of its size: between "
            "values and residual connection the model does more than project."
        )


class _Recorder:
    """Keeps what a pass computes around the attention of each layer."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.blocks: list[Block] = []

    def rules(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        return {
            F.linear: lambda func, x, weight, bias=None: self._project(func(x, weight, bias), bias),
            torch.addmm: lambda func, bias, x, weight: self._project(func(bias, x, weight), bias),
            F.layer_norm: self._norm,
            **dict.fromkeys((Tensor.add, torch.add), self._add),
        }

    def enter(self, _index: int, hidden: Tensor) -> Tensor:
        check_layout(hidden, *self.mask.shape)
        self.blocks.append(Block(self.mask, hidden))
        return hidden

    def leave(self, _index: int, hidden: Tensor) -> None:
        self.blocks[-1].output = hidden

    def attend(self, _index: int, layer: Layer) -> Layer:
        if block := self._open():
            block.attention = layer
        return layer

    def _project(self, output: Tensor, bias: Tensor | None) -> Tensor:
        block = self._open()
        if block and block.attention is not None and not block.projected:
            block.projected, block.bias = True, bias
        return output

    def _add(self, func: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        total, block = func(*args, **kwargs), self._open()
        if block and block.projected and block.total is None and _same_shape(block.residual, *args):
            block.total = total
        return total

    def _norm(
        self,
        func: Callable[..., Tensor],
        x: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        output, block = func(x, normalized_shape, weight, bias, eps), self._open()
        if block and block.projected:
            block.norms.append(Norm(x, output, weight, bias, eps))
        return output

    def _open(self) -> Block | None:
        """Return the layer that is running."""
        return self.blocks[-1] if self.blocks and self.blocks[-1].output is None else None


def _same_shape(residual: Tensor, *args: Any) -> bool:
    return len(args) == 2 and all(isinstance(arg, Tensor) and arg.shape == residual.shape for arg in args)
