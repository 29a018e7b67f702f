"""Reach the hidden states between a model's layers while it runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from expnet.attention.borrow import borrow
from expnet.attention.intercept import is_aside
from expnet.errors import UnsupportedModelError

# From a layer's number and its input to the input that it gets instead.
Enter = Callable[[int, Tensor], Tensor]
# Takes a layer's number and its output.
Leave = Callable[[int, Tensor], None]


@contextmanager
def between_layers(model: PreTrainedModel, *, enter: Enter | None = None, leave: Leave | None = None) -> Iterator[None]:
    """Read and replace the hidden states of each layer in the one pass that this thread runs meanwhile.

    The model is borrowed; it comes back without hooks.

    Raises:
        UnsupportedModelError: If the model keeps no list of its layers, or does not run them in order.
    """
    order: list[nn.Module] = []
    own = threading.get_ident()  # others may call the model while the hooks are on it

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != own or is_aside():
            return None
        index = len(order)
        order.append(module)
        if enter is None:
            return None
        if args:
            return (enter(index, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": enter(index, kwargs["hidden_states"])}

    def after(_module: nn.Module, _args: Any, output: Any) -> None:
        if leave is not None and threading.get_ident() == own and not is_aside():
            leave(len(order) - 1, output[0] if isinstance(output, tuple) else output)

    stack = layer_stack(model)
    with borrow(model), ExitStack() as hooks:
        for layer in dict.fromkeys(stack):
            hooks.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(after).remove)
        yield
    if order != stack:
        ran = [stack.index(layer) for layer in order]
        raise UnsupportedModelError(f"{type(model).__name__} runs its {len(stack)} layers in the order {ran}.")


def layer_stack(model: PreTrainedModel) -> list[nn.Module]:
    """Return the model's layers as they run: of an encoder-decoder the encoder's, and one that is shared several times.

    Raises:
        UnsupportedModelError: If there is no list of them, identified by its length.
    """
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return list(module)
    groups = getattr(model.config, "num_hidden_groups", None)  # ALBERT's: each run several times in a row
    for module in model.base_model.modules():
        if count and groups and isinstance(module, nn.ModuleList) and len(module) == groups:
            return [module[place * groups // count] for place in range(count)]
    raise UnsupportedModelError(f"{type(model).__name__} keeps no list of {count} layers.")


def check_layout(hidden: Tensor, batch: int, tokens: int) -> None:
    """Raise unless hidden states are those of so many texts, then of so many tokens.

    Raises:
        UnsupportedModelError: If texts are another axis, as in XLNet, or tokens are added, as in Longformer.
    """
    if hidden.shape[:2] != (batch, tokens):
        raise UnsupportedModelError(
            f"This method needs hidden states of {batch} texts by {tokens} tokens, and the layers get them in shape "
            f"{tuple(hidden.shape)}."
        )
