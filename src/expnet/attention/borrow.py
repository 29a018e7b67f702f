"""Borrow a model: put it into evaluation mode, switch its attention, and put everything back."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from expnet.errors import InputError, UnsupportedModelError
from expnet.runtime.locks import Lock, after_fork

# Settings with which a model cannot be used, and what stands for them while it is borrowed. Without a padding token
# decoders refuse a batch, even one of equal lengths; with one that no text can hold, they pool each last token.
_SETTINGS: dict[str, tuple[Any, Any]] = {"return_dict": (False, True), "pad_token_id": (None, -1)}


# From the modules of a model to what stands for the `forward` of some of them.
Forwards = Callable[[list[nn.Module]], Mapping[nn.Module, Callable[..., Any]]]


# FNet mixes padding into the tokens, whatever the mask says, XLNet pools the last position, padding or not, and Funnel
# drops the last token of a text where no padding follows.
_PADDING_COUNTS = ("fnet", "xlnet", "funnel")


@contextmanager
def borrow(
    model: PreTrainedModel,
    implementation: str | None = None,
    *,
    compiled: bool = False,
    forwards: Forwards | None = None,
) -> Iterator[None]:
    """Hold a model alone, in evaluation mode, with another attention implementation if one is named.

    Mode and implementation live on the model, shared by all threads, so one thread at a time may hold it; a
    thread that holds it may borrow it again. Everything is put back in the end, also after an error, and in a process
    that is forked meanwhile; every module gets its own mode back. Parts that are compiled run as they were written,
    unless `compiled` ones are wanted: what changes with each call would be compiled at each. `forwards` says what
    stands for those of some of the modules that it is given. Whoever calls the model itself meanwhile gets evaluation
    mode too, but with the implementations of `capture` the same numbers.
    """
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(model, Lock())
    with lock:
        loan = _Loan(model, compiled, forwards)
        _LOANS.append(loan)
        try:
            loan.begin()
            if implementation is not None:
                loan.attend_by(implementation)
            yield
        finally:
            loan.end()
            _LOANS.remove(loan)


def class_logits(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> Float[Tensor, "batch classes"]:
    """Run one forward pass of a model that is borrowed.

    Raises:
        InputError: If the texts are too short for the model.
        UnsupportedModelError: If it gives anything but a number for each text and class.
    """
    if model.config.model_type == "funnel":
        _check_funnel(model.config, inputs["input_ids"].shape[1])
    logits = getattr(model(**inputs), "logits", None)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        got = f"logits of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else "no logits"
        raise UnsupportedModelError(
            f"{type(model).__name__} returns {got}, expected (batch, classes): only classifiers of whole texts can be "
            "explained."
        )
    return logits


def modules_of(model: nn.Module) -> list[nn.Module]:
    """Return each module of a model once, outer ones first, as `modules()` does, without its generators."""
    seen: dict[nn.Module, None] = {}

    def visit(module: nn.Module) -> None:
        if module not in seen:
            seen[module] = None
            for child in module._modules.values():
                if child is not None:
                    visit(child)

    visit(model)
    return list(seen)


def declared_pad(model: PreTrainedModel) -> int | None:
    """Return the id that a model takes for padding, if any; decoders pool the last token that is another.

    None also where padding on the right changes what the model says of a text.
    """
    pad: int | None = getattr(model.config.get_text_config(), "pad_token_id", None)
    return None if pad is None or pad < 0 or model.config.model_type in _PADDING_COUNTS else pad


def pooled_end(model: PreTrainedModel) -> int | None:
    """Return the id whose last place an encoder-decoder pools; it refuses texts that hold it unequally often."""
    end: int | None = getattr(model.config, "eos_token_id", None)
    return end if model.config.is_encoder_decoder else None


def _check_funnel(config: Any, tokens: int) -> None:
    """Refuse what a Funnel cannot halve: it fails where its positions go on and its states do not.

    Raises:
        InputError: If there are too few tokens for all of its blocks.
    """
    apart = int(config.separate_cls)  # a first token that is never merged
    cut = apart * int(config.truncate_seq)

    def enough(left: int) -> bool:
        for _ in config.block_sizes[1:]:
            if left <= 1 + apart:
                return False
            left = apart + (left - apart - cut + 1) // 2
        return True

    if not enough(tokens):
        least = next(number for number in range(tokens, 2 ** len(config.block_sizes) * 4) if enough(number))
        raise InputError(
            f"A Funnel of {len(config.block_sizes)} blocks merges tokens {len(config.block_sizes) - 1} times and reads "
            f"{least} tokens or more, special tokens included; got {tokens}. Pass a longer text, or replace words "
            "instead of deleting them."
        )


class _Loan:
    """What a model was like before it was borrowed."""

    def __init__(self, model: PreTrainedModel, compiled: bool, forwards: Forwards | None) -> None:
        modules = modules_of(model)  # once: finding them takes longer than all the rest
        self.thread = threading.get_ident()
        self.training = [module for module in modules if module.training]
        # A stance of the compiler would hold for other models, too.
        self.calls = [] if compiled else [(m, m._compiled_call_impl) for m in modules if m._compiled_call_impl]
        parts: dict[int, PreTrainedModel] = {}  # one for each config, outer ones first, as their setting reaches in
        for module in modules:
            if isinstance(module, PreTrainedModel):
                parts.setdefault(id(module.config), module)
        self.parts = list(parts.values())
        self.attention = [(part.config, part.config._attn_implementation) for part in self.parts]
        # Set on the module, not its class: some libraries do so, too.
        instead = {} if forwards is None else forwards(modules)
        self.forwards = [(module, forward, vars(module).get("forward")) for module, forward in instead.items()]
        self.settings = [
            (part.config, name, unusable, usable)
            for part in self.parts
            for name, (unusable, usable) in _SETTINGS.items()
            if getattr(part.config, name, usable) is unusable
        ]

    def begin(self) -> None:
        for module in self.training:
            module.training = False
        for module, _ in self.calls:
            module._compiled_call_impl = None
        for module, forward, _ in self.forwards:
            vars(module)["forward"] = forward
        for config, name, _, usable in self.settings:
            setattr(config, name, usable)

    def attend_by(self, implementation: str) -> None:
        """Set it where transformers would: `set_attn_implementation` looks through all modules, some of them twice."""
        for part, (config, original) in zip(self.parts, self.attention, strict=True):
            config._attn_implementation = implementation if part._can_set_attn_implementation() else original

    def end(self) -> None:
        for module in self.training:
            module.training = True
        for module, call in self.calls:
            module._compiled_call_impl = call
        for module, _, replaced in self.forwards:
            if replaced is None:
                vars(module).pop("forward", None)
            else:
                vars(module)["forward"] = replaced
        for config, original in self.attention:
            if config._attn_implementation != original:
                config._attn_implementation = original
        for config, name, unusable, _ in self.settings:
            setattr(config, name, unusable)


def _end_loans_of_lost_threads() -> None:
    for loan in reversed(_LOANS.copy()):
        if loan.thread != threading.get_ident():
            loan.end()
            _LOANS.remove(loan)


_LOCKS: WeakKeyDictionary[PreTrainedModel, Lock] = WeakKeyDictionary()
_LOCKS_LOCK = Lock()
_LOANS: list[_Loan] = []
after_fork(_end_loans_of_lost_threads)
