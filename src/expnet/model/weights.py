"""A model's state as bytes, for hashing."""

import hashlib

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from expnet.errors import ModelError

_BY_CHANNEL = (torch.per_channel_affine, torch.per_channel_affine_float_qparams)


def hash_of(model: nn.Module, settings: str) -> str:
    """Return a hash of settings and of every weight of a model.

    Raises:
        ModelError: If the model's state holds something that cannot be hashed.
    """
    digest = hashlib.sha256(settings.encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(state_bytes(value))
    return digest.hexdigest()


def state_bytes(value: object) -> bytes:
    """Return an entry of a `state_dict` as bytes: a tensor of any type and shape, a plain value, or a list of these.

    Raises:
        ModelError: If it is anything else, or a weight without a shape yet.
    """
    if isinstance(value, Tensor) and value.is_quantized:
        return _quantised_bytes(value)
    if isinstance(value, UninitializedParameter | UninitializedBuffer):
        raise ModelError("The model has a weight without a shape yet (a lazy module): run the model once first.")
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_nested:
        # A contiguous copy, with conjugation and negation carried out.
        plain = value.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        return plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, list | tuple):
        return b"".join(map(state_bytes, value))
    if value is None or isinstance(value, str | int | float | torch.dtype):
        return repr(value).encode()
    kind = type(value).__name__
    if isinstance(value, Tensor):
        kind = "nested tensor" if value.is_nested else f"tensor of the layout {value.layout}"
    raise ModelError(
        f"The model's state holds a {kind}, which cannot be hashed, so that the model cannot be identified."
    )


def _quantised_bytes(value: Tensor) -> bytes:
    if value.qscheme() in _BY_CHANNEL:
        scales: list[object] = [value.q_per_channel_scales(), value.q_per_channel_zero_points()]
    else:
        scales = [value.q_scale(), value.q_zero_point()]
    return state_bytes([value.int_repr(), *scales])
