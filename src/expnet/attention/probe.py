"""Find out, by running it once, how a model pools its tokens and how its attention can be captured."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.anchor import POOLINGS, Anchor
from expnet.attention.borrow import borrow, class_logits, declared_pad
from expnet.attention.capture import Backend, Trace, capture, each_layer
from expnet.attention.fused import supports_fused
from expnet.attention.gradients import gradients
from expnet.attention.intercept import Layer, run
from expnet.attention.stack import Stack
from expnet.errors import NonFiniteError, UnsupportedModelError


@dataclass(frozen=True, slots=True)
class Support:
    """How a model's attention is captured. `reason` says why it is not fused, where it is not."""

    anchor: Anchor
    backend: Backend
    layers: int
    heads: int
    reason: str = ""


def probe(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Support:
    """Run a small batch and choose the fused backend if it gives what the model itself gives, else the eager one.

    Args:
        model: A sequence classifier; it comes back as it was.
        inputs: A right-padded batch of at least two texts of different length, or one text where nothing is padded.

    Raises:
        UnsupportedModelError: If neither backend gives the model's own logits, or the pooling is unknown.
        NoGradientError: If no logit leads back to the tokens, so that nothing shows which of them are pooled.
        NonFiniteError: If the model returns NaN or infinity.
    """
    with torch.no_grad(), borrow(model):
        logits = class_logits(model, inputs)
    if not logits.isfinite().all():
        raise NonFiniteError(
            f"{type(model).__name__} returns {int((~logits.isfinite()).sum())} logits of {logits.numel()} that are "
            "NaN or infinite. Its weights are damaged, or its precision is too low."
        )
    anchor = find_anchor(model, inputs)
    reasons: list[str] = []
    eager = _attempt(model, inputs, anchor, "eager", logits, None, reasons)
    if eager is not None and model.config.is_encoder_decoder:
        _check_order(model, inputs)
    if supports_fused(model):
        fused = _attempt(model, inputs, anchor, "fused", logits, eager, reasons)
        if fused is not None:
            layers, heads = fused.log_rows.shape[1:3]
            return Support(anchor, "fused", layers, heads)
    else:
        reasons.append("the model's code does not use transformers' attention interface")
    if eager is None:
        raise UnsupportedModelError(
            f"The attention of {type(model).__name__} can be captured neither way: {'; '.join(reasons)}. "
            "Perturbation or gradient methods need no attention."
        )
    layers, heads = eager.log_rows.shape[1:3]
    return Support(anchor, "eager", layers, heads, reason="; ".join(reasons))


def find_anchor(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Anchor:
    """Find which tokens the classifier pools: those on whose last hidden states a logit depends.

    Raises:
        UnsupportedModelError: If it is none of the known poolings; see `expnet.attention.anchor`.
    """
    used = _pooled_positions(model, inputs).cpu()
    mask = inputs["attention_mask"].bool().cpu()
    if used.shape != mask.shape:
        raise UnsupportedModelError(
            f"{type(model).__name__} merges tokens: it has {used.shape[1]} last hidden states, expected one for each "
            f"of {mask.shape[1]} tokens."
        )
    ids, pad = inputs["input_ids"].cpu(), declared_pad(model)
    for anchor, pooling in POOLINGS.items():
        if torch.equal(used, pooling.tokens(ids, mask, pad)):
            return anchor
    raise UnsupportedModelError(
        f"{type(model).__name__} pools the tokens {[row.nonzero().flatten().tolist() for row in used]} of texts with "
        f"{mask.sum(1).tolist()} tokens; expected {' or '.join(pooling.words for pooling in POOLINGS.values())}."
    )


def _pooled_positions(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Bool[Tensor, "batch tokens"]:
    hidden: list[Tensor] = []
    own = threading.get_ident()  # others may call the model while the hooks are on it

    def keep(_module: Any, _args: Any, output: Any) -> None:
        if threading.get_ident() == own:
            hidden.append(output[0])

    with borrow(model), torch.inference_mode(False), torch.enable_grad():
        # A caller in inference mode made tensors that no graph can hold; their copies are plain ones.
        inputs = {name: tensor.clone() for name, tensor in inputs.items()}
        hook = model.base_model.register_forward_hook(keep)
        try:
            # A graph even where every weight is frozen.
            logits = run(model, inputs, embed=lambda raw: raw.detach().requires_grad_()).logits
        finally:
            hook.remove()
        logit = logits[:, 0].float().sum()
        (gradient,) = gradients(model, logit, hidden[:1])
    if gradient.ndim != 3:
        raise UnsupportedModelError(f"{type(model).__name__}: the logits do not depend on the last hidden states.")
    # NaN counts as used: damaged weights are reported by the caller, as such.
    return (gradient != 0).any(-1)


def _check_order(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> None:
    """Raise unless a decoder's own attention, which alone is causal, comes where it is expected."""
    ahead: list[bool] = []
    each_layer(
        model,
        inputs,
        lambda layer: ahead.append(bool(layer.probabilities.triu(1).any())) if isinstance(layer, Layer) else None,
        backend="eager",
        every=True,
    )
    stack = Stack.of(model)
    if ahead != [stack.kind(index) != "decoder" for index in range(len(ahead))]:
        raise UnsupportedModelError(
            f"{type(model).__name__} computes its attention in another order than BART and T5, whose decoder layers "
            "attend to themselves first and to the encoder next. Perturbation or gradient methods need no attention."
        )


def _attempt(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    anchor: Anchor,
    backend: Backend,
    logits: Tensor,
    reference: Trace | None,
    reasons: list[str],
) -> Trace | None:
    """Return the trace if it is right; else add the reason and return None."""
    try:
        trace = capture(model, inputs, anchor=anchor, backend=backend)
    except UnsupportedModelError as error:
        reasons.append(str(error))
        return None
    tolerance = 1e-4 if logits.dtype in (torch.float32, torch.float64) else 5e-2
    layers = Stack.of(model).depth or trace.log_rows.shape[1]
    if trace.log_rows.shape[1] != layers:
        reasons.append(f"{backend} attention was called {trace.log_rows.shape[1]} times for {layers} layers")
        return None
    pairs = [("logits", trace.logits, logits)]
    if reference is not None:
        pairs += [("rows", trace.rows, reference.rows), ("columns", trace.columns, reference.columns)]
    for name, ours, expected in pairs:
        if not torch.allclose(ours, expected, atol=tolerance, rtol=tolerance):
            gap = float((ours - expected).abs().max())
            reasons.append(f"the {name} of {backend} attention differ by {gap:.2g}")
            return None
    return trace
