"""Run a model under edits: what its embeddings, attention and other functions give can be read and replaced.

Nothing is put on the model. A `TorchFunctionMode` sees each torch function that this thread calls while the model
runs, whatever the architecture; so no model code has to be copied, and no hook can be left behind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.dlpack import from_dlpack
from transformers import PreTrainedModel

from expnet.attention.borrow import borrow, class_logits
from expnet.attention.gradients import GradientPaths
from expnet.attention.lookup import Lookup
from expnet.attention.stack import Stack
from expnet.errors import UnsupportedModelError

Rule = Callable[..., Any]
_ASIDE: ContextVar[bool] = ContextVar("expnet_aside", default=False)


@contextmanager
def aside() -> Iterator[None]:
    """Let a model run once more within a pass, over other tokens, without edits and rules.

    Gradients lead back through what is read there of the first run.
    """
    token = _ASIDE.set(True)
    try:
        yield
    finally:
        _ASIDE.reset(token)


def is_aside() -> bool:
    """Return whether the model runs aside."""
    return _ASIDE.get()


@dataclass(slots=True)
class Layer:
    """What one attention layer computed, in the graph if there is one.

    `projection` is the matrix that joins the heads again, `output = projection @ heads`; None if it was not seen.
    """

    probabilities: Float[Tensor, "batch heads tokens tokens"]
    value: Float[Tensor, "batch heads tokens width"]
    projection: Float[Tensor, "hidden joined"] | None = None

    def output_projection(self) -> Float[Tensor, "hidden joined"]:
        """Return the projection.

        Raises:
            UnsupportedModelError: If none was seen that fits the heads.
        """
        return fitting(self.projection, self.value)

    def log_row(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what one token of each text pays to each token."""
        return self._picked(index, 2).log()

    def log_column(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what each token pays to one token of its text."""
        return self._picked(index, 3).log()

    def log_own(self) -> Float[Tensor, "batch heads tokens"]:
        """Return the logarithm of what each token pays to itself."""
        return self.probabilities.diagonal(dim1=-2, dim2=-1).log()

    def mixed(self, weights: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens"]:
        """Return a weighted sum of rows: what the weighted tokens together pay to each token."""
        return torch.einsum("bi,bhij->bhj", weights.to(self.probabilities), self.probabilities)

    def mixed_columns(self, weights: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens"]:
        """Return a weighted sum of columns: what each token pays to the weighted tokens together."""
        return torch.einsum("bhij,bj->bhi", self.probabilities, weights.to(self.probabilities))

    def _picked(self, index: Int[Tensor, " batch"], dim: int) -> Float[Tensor, "batch heads tokens"]:
        # Indexing by lists of places, as for fused layers, would copy the whole matrix in an exported graph.
        shape = [*self.probabilities.shape]
        shape[dim] = 1
        return self.probabilities.gather(dim, index[:, None, None, None].expand(shape)).squeeze(dim)


def fitting(
    projection: Float[Tensor, "hidden joined"] | None, value: Float[Tensor, "batch heads tokens width"]
) -> Float[Tensor, "hidden joined"]:
    """Return the matrix that joins the heads, if it is one.

    Raises:
        UnsupportedModelError: If none was seen that fits the heads.
    """
    heads, width = value.shape[1], value.shape[3]
    if projection is None or projection.shape[1] != heads * width:
        raise UnsupportedModelError(f"No linear layer over {heads} heads of {width} follows the attention.")
    return projection


def matrix_of(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the matrix of a linear layer, as `output = matrix @ input`; None if the function is none."""
    if func is F.linear:
        matrix: Tensor = kwargs["weight"] if "weight" in kwargs else args[1]
        return matrix.detach()
    if func is torch.addmm:  # GPT-2 keeps its matrices the other way round
        turned: Tensor = args[2].T
        return turned.detach()
    return None


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass: the logits, and all its attention layers if they were asked for; see `Stack.reading`."""

    logits: Float[Tensor, "batch classes"]
    layers: tuple[Layer, ...]


def run(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    *,
    embed: Callable[[Tensor], Tensor] | None = None,
    attend: Callable[[int, Layer], Layer] | None = None,
    rules: Mapping[Callable[..., Any], Rule] | None = None,
    keep: bool = True,
) -> Pass:
    """Run one forward pass under edits, in evaluation mode; weights count as constants.

    Args:
        model: A sequence classifier. It comes back as it was.
        inputs: Its keyword arguments.
        embed: Replaces the embeddings of the tokens ([batch, tokens, width], before positions are added). The ids
            still say which tokens are padding and where each stands. The decoder of an encoder-decoder gets the same
            embeddings, one place later; the one that it starts with stays.
        attend: Called once an attention, from the first on, with what it computed; returns what to go on with. The
            layers are then kept. Without it attention stays fused, unless there is a rule for what it is made of.
        rules: For a torch function, such as `torch.nn.functional.layer_norm`, what to do instead: called with that
            function and its arguments. Attention that is taken apart calls `torch.matmul`, `torch.mul` (for the
            scale) and `torch.nn.functional.softmax`; a rule for the first or the last makes it be taken apart.

    Raises:
        UnsupportedModelError: If `embed` or `attend` was never called, or not once for each layer, or tokens are
            looked up in a layout that `Lookup` does not know.
        NoGradientError: If there is a graph, but part of what the model computes is not in it.
    """
    graph, table, stack = GradientPaths(type(model).__name__), model.get_input_embeddings().weight, Stack.of(model)
    again = stack.decoder > 0
    lookup = None if embed is None else Lookup(type(model).__name__, inputs["input_ids"], embed, again=again)
    mode = _Mode(inputs["input_ids"].shape[1], table, lookup, attend, dict(rules or {}), keep, graph)
    with borrow(model):
        # Flash and compiled kernels do not show their probabilities; SDPA is taken apart below. Asked only now, as the
        # model may have been lent to another thread, with another implementation.
        switch = mode.opens and model.config._attn_implementation not in (None, "eager", "sdpa")
        with borrow(model, "sdpa") if switch else nullcontext(), mode:
            logits = class_logits(model, inputs)
    if lookup is not None and not lookup.used:
        raise UnsupportedModelError(
            f"{type(model).__name__} does not look its tokens up in its input embeddings, so that nothing can replace "
            "them. Perturbation methods work that delete tokens: replacement='delete'."
        )
    expected = mode.seen if stack.attentions is None else stack.attentions
    if attend is not None and (not mode.seen or mode.seen != expected):
        raise UnsupportedModelError(
            f"{type(model).__name__} computed {mode.seen} attention matrices over its tokens, expected "
            f"{expected}, one a layer."
        )
    return Pass(logits, tuple(mode.layers) if keep else ())


_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_PRODUCTS = (torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__)
# What may happen to probabilities between the softmax and the product with the values.
_PASSING = (F.dropout, Tensor.to, Tensor.type_as, Tensor.float, Tensor.view, Tensor.reshape, Tensor.contiguous)


class _Mode(TorchFunctionMode):
    def __init__(
        self,
        tokens: int | torch.SymInt,  # symbolic while a graph is exported
        embedding: Tensor | nn.Module,
        lookup: Lookup | None,
        attend: Callable[[int, Layer], Layer] | None,
        rules: Mapping[Callable[..., Any], Rule],
        keep: bool,
        graph: GradientPaths,
    ) -> None:
        super().__init__()
        self.tokens, self.embedding, self.lookup, self.attend, self.rules = tokens, embedding, lookup, attend, rules
        fused = F.scaled_dot_product_attention in self.rules
        self.opens = attend is not None or (not fused and not self.rules.keys().isdisjoint((torch.matmul, F.softmax)))
        self.keep, self.seen, self.graph = keep, 0, graph
        self.layers: list[Layer] = []
        self.pending: Tensor | None = None
        self.heads = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        if is_aside():
            result = _call(func, args, kwargs)
            self.graph.follow(func, args, result, ruled=False)
            return result
        if func is F.embedding and weight is self.embedding and self.lookup is not None:
            return self.lookup(args[0], _call(func, args, kwargs))
        ruled = func in self.rules
        if self.opens and func is F.scaled_dot_product_attention:
            result = self._attention(*args, **kwargs)
        elif self.attend is not None and func in _PRODUCTS and self.pending is not None and args[0] is self.pending:
            result = self._product(args[1])
        else:
            if self.attend is not None and self.layers and self.layers[-1].projection is None:
                self.layers[-1].projection = matrix_of(func, args, kwargs)
            result = _call(self.rules.get(func, func), (func, *args) if ruled else args, kwargs)
            if self.attend is not None:
                self._follow(func, args, result)
        self.graph.follow(func, args, result, ruled=ruled)
        return result

    def _follow(self, func: Callable[..., Any], args: Sequence[Any], result: Any) -> None:
        """Remember probabilities from the softmax on until they meet the values."""
        if func in _SOFTMAX and result.ndim >= 3 and result.shape[-2:] == (self.tokens, self.tokens):
            self.pending, self.heads = result, result.shape[-3]
        elif func in _PASSING and args[0] is self.pending and result.shape[-1] == self.tokens:
            self.pending = result

    def _product(self, value: Tensor) -> Tensor:
        probabilities = self.pending
        assert probabilities is not None
        self.pending = None
        if probabilities.ndim == 3:  # batch and heads as one axis
            return self._edit(
                probabilities.unflatten(0, (-1, self.heads)), value.unflatten(0, (-1, self.heads))
            ).flatten(0, 1)
        return self._edit(probabilities, value)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Do in the open what `scaled_dot_product_attention` does."""
        if enable_gqa:
            key, value = (part.repeat_interleave(query.shape[1] // part.shape[1], dim=1) for part in (key, value))
        scores = self._ruled(torch.matmul, query, key.transpose(-2, -1))
        scores = self._ruled(torch.mul, scores, query.shape[-1] ** -0.5 if scale is None else scale)
        least = torch.finfo(scores.dtype).min
        if is_causal:
            scores = scores.masked_fill(scores.new_ones(scores.shape[-2:], dtype=torch.bool).triu(1), least)
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:  # a sum is quicker than a choice, for all heads and in exported graphs
                attn_mask = torch.zeros_like(attn_mask, dtype=scores.dtype).masked_fill(~attn_mask, least)
            scores = scores + attn_mask
        return self._edit(self._ruled(F.softmax, scores.float(), -1).to(value.dtype), value)

    def _edit(self, probabilities: Tensor, value: Tensor) -> Tensor:
        # All heads may share one: Falcon leaves it to the product to repeat it.
        layer = Layer(probabilities, value.expand(-1, probabilities.shape[1], -1, -1))
        if self.attend is not None:
            layer = self.attend(self.seen, layer)
            self.seen += 1
            self.layers = [*(self.layers if self.keep else ()), layer]
        product: Tensor = self._ruled(torch.matmul, layer.probabilities, layer.value)
        return product

    def _ruled(self, func: Callable[..., Any], *args: Any) -> Any:
        return self.rules[func](func, *args) if func in self.rules else func(*args)


def _call(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call with weights that need no gradient, so that the graph keeps only what leads back to the tokens."""
    return func(*map(_constant, args), **{name: _constant(value) for name, value in kwargs.items()})


def _constant(value: Any) -> Any:
    if isinstance(value, nn.Parameter):
        value = value.detach()
    if isinstance(value, Tensor) and value.is_inference() and not torch.is_inference_mode_enabled():
        # No graph holds a tensor made in inference mode, as weights are that were loaded in it; this shares its memory.
        return from_dlpack(value)
    return value
