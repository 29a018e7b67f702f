"""What a model's state holds, as bytes to be hashed."""

import torch
from torch import Tensor

from expnet.errors import ModelError

_BY_CHANNEL = (torch.per_channel_affine, torch.per_channel_affine_float_qparams)


def state_bytes(value: object) -> bytes:
    """Return the content of an entry of a `state_dict`: a tensor of any type and shape, or what packs some of them.

    Raises:
        ModelError: If it is something else.
    """
    if isinstance(value, Tensor) and value.is_quantized:
        return _quantised_bytes(value)
    if isinstance(value, Tensor) and value.layout == torch.strided:
        return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, list | tuple):
        return b"".join(map(state_bytes, value))
    if value is None or isinstance(value, str | int | float | torch.dtype):
        return repr(value).encode()
    kind = f"tensor of the layout {value.layout}" if isinstance(value, Tensor) else type(value).__name__
    raise ModelError(f"The model keeps a {kind} among its weights, which cannot be hashed to tell it from others.")


def _quantised_bytes(value: Tensor) -> bytes:
    if value.qscheme() in _BY_CHANNEL:
        scales: list[object] = [value.q_per_channel_scales(), value.q_per_channel_zero_points()]
    else:
        scales = [value.q_scale(), value.q_zero_point()]
    return state_bytes([value.int_repr(), *scales])
