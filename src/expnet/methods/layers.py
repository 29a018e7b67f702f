"""Reach the hidden states between a model's layers while it runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
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
        UnsupportedModelError: If the model keeps no list of its layers, or does not run each of them once, in order.
    """
    order: list[int] = []
    own = threading.get_ident()  # others may call the model while the hooks are on it

    def before(index: int, _module: nn.Module, args: Any, kwargs: Any) -> Any:
        if threading.get_ident() != own or is_aside():
            return None
        order.append(index)
        if enter is None:
            return None
        if args:
            return (enter(index, args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": enter(index, kwargs["hidden_states"])}

    def after(index: int, _module: nn.Module, _args: Any, output: Any) -> None:
        if leave is not None and threading.get_ident() == own and not is_aside():
            leave(index, output[0] if isinstance(output, tuple) else output)

    stack = layer_stack(model)
    with borrow(model), ExitStack() as hooks:
        for index, layer in enumerate(stack):
            hooks.callback(layer.register_forward_pre_hook(partial(before, index), with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(partial(after, index)).remove)
        yield
    if order != list(range(len(stack))):
        raise UnsupportedModelError(f"{type(model).__name__} runs its {len(stack)} layers in the order {order}.")


def layer_stack(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of the model's layers, identified by its length.

    Raises:
        UnsupportedModelError: If there is none.
    """
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise UnsupportedModelError(f"{type(model).__name__} keeps no list of {count} layers.")
