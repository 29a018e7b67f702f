"""What a model's state holds, as bytes to be hashed."""

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from expnet.errors import ModelError

_BY_CHANNEL = (torch.per_channel_affine, torch.per_channel_affine_float_qparams)


def state_bytes(value: object) -> bytes:
    """Return the content of an entry of a `state_dict`: a tensor of any type and shape, or what packs some of them.

    Raises:
        ModelError: If it is something else.
    """
    if isinstance(value, Tensor) and value.is_quantized:
        return _quantised_bytes(value)
    if isinstance(value, UninitializedParameter | UninitializedBuffer):
        raise ModelError("The model has a weight without a shape as yet (a lazy module): run the model once before.")
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_nested:
        # A copy, in which nothing is left to be conjugated or negated, or between one element and the next.
        plain = value.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        return plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, list | tuple):
        return b"".join(map(state_bytes, value))
    if value is None or isinstance(value, str | int | float | torch.dtype):
        return repr(value).encode()
    kind = type(value).__name__
    if isinstance(value, Tensor):
        kind = "nested tensor" if value.is_nested else f"tensor of the layout {value.layout}"
    raise ModelError(f"The model keeps a {kind} among its weights, which cannot be hashed to tell it from others.")


def _quantised_bytes(value: Tensor) -> bytes:
    if value.qscheme() in _BY_CHANNEL:
        scales: list[object] = [value.q_per_channel_scales(), value.q_per_channel_zero_points()]
    else:
        scales = [value.q_scale(), value.q_zero_point()]
    return state_bytes([value.int_repr(), *scales])
