"""Attention of models whose code never asks transformers' attention interface, written so that it does.

While a pass of ours runs, these functions stand for the `forward` of the modules named; `borrow` puts them there and
takes them away. They compute what the modules compute in evaluation mode.
"""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from expnet.attention.borrow import modules_of

# Called as the attention interface calls its functions: module, query, key, value, mask; and further options by name.
Attend = Callable[..., tuple[Tensor, None]]


def asks(model: PreTrainedModel) -> bool:
    """Whether the model's own code is among what can be made to ask."""
    return any(type(module) in _CODE for module in modules_of(model))


def forwards(
    modules: Iterable[nn.Module], attend: Attend, ours: Callable[[], bool]
) -> dict[nn.Module, Callable[..., Any]]:
    """Return what stands for the `forward` of each such module of a model; the rest asks by itself.

    Args:
        modules: Those of the model.
        attend: What is asked.
        ours: Whether a call belongs to a pass of ours. Other threads get the module's own code.
    """

    def asking(module: nn.Module) -> Callable[..., Any]:
        code, plain = _CODE[type(module)], module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            return code(module, attend, *args, **kwargs) if ours() else plain(*args, **kwargs)

        return forward

    return {module: asking(module) for module in modules if type(module) in _CODE}


def _mpnet(
    module: Any,
    attend: Attend,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_options: Any,
) -> tuple[Tensor]:
    shape = (*hidden_states.shape[:-1], -1, module.attention_head_size)
    query, key, value = (part(hidden_states).view(shape).transpose(1, 2) for part in (module.q, module.k, module.v))
    if position_bias is not None:
        position_bias = position_bias[:1]  # a copy for each text of what depends on positions alone
    joined, _ = attend(module, query, key, value, attention_mask, position_bias=position_bias, is_causal=False)
    return (module.o(joined.flatten(2)),)


_CODE: dict[type[nn.Module], Callable[..., Any]] = {MPNetSelfAttention: _mpnet}
