"""Run a model on fused attention and show each layer's attention to a function, without ever building a matrix.

transformers lets anyone register an attention function together with a mask function. Ours are switched on while a
pass of ours runs; a context variable tells them whose pass it is.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import bidirectional_mask_function, eager_mask

from expnet.attention import own_code
from expnet.attention.bands import band_drawn_by
from expnet.attention.borrow import borrow, class_logits, modules_of
from expnet.attention.fused_layer import FusedLayer
from expnet.attention.intercept import is_aside, matrix_of
from expnet.attention.kernels import CAUSAL, EVERYTHING, Band, Scores, fused_attention
from expnet.errors import UnsupportedModelError

NAME = "expnet"


# Called with each attention's number and what it computed, from the first on.
See = Callable[[int, FusedLayer], None]


@dataclass(slots=True)
class _Sink:
    """A pass of ours: what to call, and the masks made for it, each with the band that it stands for."""

    tokens: int
    see: See
    linears: Sequence["_Linear"] = ()
    bands: list[tuple[Tensor, Band]] = field(default_factory=list)
    seen: int = 0
    last: FusedLayer | None = None

    def projection(self) -> Tensor | None:
        """Return the matrix that follows the attention, where it is known which it is."""
        return self.linears[self.seen].matrix() if self.seen < len(self.linears) else None

    def band_of(self, module: nn.Module, mask: Tensor | None, causal: bool) -> Band:
        if mask is None:
            return CAUSAL if causal else EVERYTHING
        for made, band in self.bands:
            if made is mask:
                return band
        if any(band != EVERYTHING for _, band in self.bands):
            raise UnsupportedModelError(f"{type(module).__name__} attends under another mask than the one made for it.")
        return EVERYTHING


@dataclass(frozen=True, slots=True)
class _Linear:
    """A module that follows an attention, and whether it keeps its matrix the other way round."""

    module: ref[nn.Module]
    turned: bool

    def matrix(self) -> Tensor | None:
        module = self.module()
        if module is None:
            return None
        matrix: Tensor = module.weight.detach()  # type: ignore[operator]  # as it is now
        return matrix.T if self.turned else matrix


class _Projections(TorchFunctionMode):
    """Remembers the matrix of the first linear layer that follows an attention, and in the end whose it is.

    It is called for each function of the pass, so that a model's next pass asks the modules, if they are the same.
    """

    def __init__(self, sink: _Sink) -> None:
        super().__init__()
        self.sink = sink
        self.layers: list[FusedLayer] = []

    def remember(self, model: PreTrainedModel, modules: Sequence[nn.Module]) -> None:
        weights = [(module, getattr(module, "weight", None)) for module in modules]
        owners = {weight.data_ptr(): (module, weight) for module, weight in weights if isinstance(weight, nn.Parameter)}
        linears = []
        for layer in self.layers:
            owner = None if layer.projection is None else owners.get(layer.projection.data_ptr())
            if owner is None or layer.projection is None:
                return
            module, weight = owner
            linears.append(_Linear(ref(module), layer.projection.stride() != weight.stride()))
        _FOLLOWERS[model] = (tuple(map(id, modules)), linears)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        last = self.sink.last
        if last is not None and last.projection is None:
            last.projection = matrix_of(func, args, kwargs or {})
            if last.projection is not None:
                self.layers.append(last)
        return func(*args, **kwargs or {})


# The modules of a model, by identity, and which of them follows each of its attentions.
_FOLLOWERS: WeakKeyDictionary[PreTrainedModel, tuple[tuple[int, ...], list[_Linear]]] = WeakKeyDictionary()
# A context variable, because other threads and callers may run the same model while it is switched.
_SINK: ContextVar[_Sink | None] = ContextVar("expnet_sink", default=None)


def supports_fused(model: PreTrainedModel) -> bool:
    """Whether the model's code asks the attention interface, or can be made to; only a probe shows that it works."""
    return bool(model._can_set_attn_implementation()) or own_code.asks(model)


def run_fused(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], see: See, *, project: bool = False
) -> Float[Tensor, "batch classes"]:
    """Run one forward pass, call `see` with each attention layer, and return the logits.

    Args:
        model: A sequence classifier. It comes back as it was.
        inputs: Its keyword arguments; `attention_mask` is needed.
        see: Called with each attention's number and what it computed.
        project: Also look for the output projection of each layer, found by the time the pass is over.

    Raises:
        UnsupportedModelError: If the model does not ask the attention interface, or asks for what it cannot give.
    """
    if not supports_fused(model):
        raise UnsupportedModelError(
            f"{type(model).__name__} does not use transformers' attention interface; use the eager backend."
        )
    sink, modules = _Sink(inputs["attention_mask"].shape[1], see), modules_of(model) if project else []
    known, linears = _FOLLOWERS.get(model, ((), []))
    if project and known == tuple(map(id, modules)) and all(linear.module() is not None for linear in linears):
        sink.linears = linears
    looking = _Projections(sink) if project and not sink.linears else None
    token = _SINK.set(sink)
    try:
        asks = NAME if model._can_set_attn_implementation() else None
        forwards = partial(own_code.forwards, attend=_attention, ours=_is_ours)
        with borrow(model, asks, compiled=True, forwards=forwards), looking or nullcontext():
            logits = class_logits(model, inputs)
    finally:
        _SINK.reset(token)
    if sink.last is None:
        raise UnsupportedModelError(f"{type(model).__name__} never called the attention interface.")
    if looking is not None and len(looking.layers) == sink.seen:
        looking.remember(model, modules)
    return logits


def _is_ours() -> bool:
    return _SINK.get() is not None and not is_aside()


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend as `sdpa_attention_forward` does; in a pass of ours, also show the layer."""
    sink = None if is_aside() else _SINK.get()
    if sink is None:
        if is_aside() and options.get("softcap") is not None:
            raise UnsupportedModelError(
                f"{type(module).__name__} caps its scores, which SDPA does not for other tokens."
            )
        plain, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **options
        )
        return plain, None
    _check(module, query, key, sink, options)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    band = sink.band_of(module, attention_mask, bool(causal))
    bias = None if attention_mask is None else _additive(attention_mask, query.dtype)
    if (by_position := options.get("position_bias")) is not None:
        bias = by_position if bias is None else by_position + bias
    key, value = (repeat_kv(states, query.shape[1] // states.shape[1]) for states in (key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = Scores(query, key, float(scale), bias, band, options.get("softcap"))
    output, lse = fused_attention(scores, value)
    sink.last = FusedLayer(scores, lse, value, sink.projection())
    sink.see(sink.seen, sink.last)
    sink.seen += 1
    return output.transpose(1, 2).contiguous(), None


# Options that change the attention in ways that `Scores` does not cover; eager attention still works.
_UNCOVERED = ("s_aux",)


def _check(module: nn.Module, query: Tensor, key: Tensor, sink: _Sink, options: Mapping[str, Any]) -> None:
    if used := [name for name in _UNCOVERED if options.get(name) is not None]:
        raise UnsupportedModelError(f"{type(module).__name__} attends with {', '.join(used)}.")
    lengths = (query.shape[2], key.shape[2])
    if lengths != (sink.tokens,) * 2:
        raise UnsupportedModelError(
            f"{type(module).__name__} attends from {lengths[0]} to {lengths[1]} positions, expected "
            f"{sink.tokens} each: only self-attention over the tokens can be captured."
        )


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype == torch.bool:  # made for another implementation, just before this one was switched on
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
    return mask.to(dtype)


def _mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: Callable[..., Any] = bidirectional_mask_function,
    attention_mask: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Tensor | None:
    """Build the additive mask: in a pass of ours one row per text, as the band is kept beside it.

    Without one, what is built must mean the same to every implementation: see `borrow`.
    """
    sink = None if is_aside() else _SINK.get()
    band = band_drawn_by(mask_function, batch_size, kv_length, options) if q_length == kv_length else None
    if band is None or (sink is None and band != EVERYTHING):
        full: Tensor = eager_mask(
            batch_size=batch_size,
            q_length=q_length,
            kv_length=kv_length,
            mask_function=mask_function,
            attention_mask=attention_mask,
            dtype=dtype,
            device=device,
            **options,
        )
        if sink is not None:
            sink.bands.append((full, EVERYTHING))
        return full
    padded = attention_mask is not None and not bool(attention_mask.all())
    if not padded and band == EVERYTHING:
        return None
    mask = torch.zeros(1, 1, 1, kv_length, dtype=dtype, device=device)
    if padded and attention_mask is not None:
        hidden = ~attention_mask[:, None, None, :kv_length].bool()
        mask = torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)
    if sink is not None:
        sink.bands.append((mask, band))
    return mask


# What is seen of each layer, and by whom, changes with the call: a compiled model leaves it as it is.
AttentionInterface.register(NAME, torch.compiler.disable(_attention))
AttentionMaskInterface.register(NAME, torch.compiler.disable(_mask))
