"""What a model can read: which ids, and how many tokens at once."""

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expnet.errors import ModelError
from expnet.text.encoding import Encoding

# Tokens, padding included, in one pass. `MOST` is what a GPU gets, and no pass over several windows has more. A CPU is
# fully used by far fewer. Of different texts 1,024 tokens were fastest among 256 to 8,192, as larger batches have more
# padding (docs/speed.md). Copies of one text need no padding, so a larger pass mainly takes more memory.
MOST = 8192
_TEXTS_ON_CPU, _COPIES_ON_CPU = 1024, 2048


def budget(device: torch.device, *, copies: bool = False) -> int:
    """Return how many tokens, padding included, are best run in one pass.

    Args:
        device: Where the model is.
        copies: Whether they are copies of one text rather than different texts.
    """
    if device.type != "cpu":
        return MOST
    return _COPIES_ON_CPU if copies else _TEXTS_ON_CPU


def embedding_rows(model: PreTrainedModel) -> int | None:
    """Return how many token embeddings a model has; None if they are not in a table."""
    table = getattr(model.get_input_embeddings(), "weight", None)
    return table.shape[0] if isinstance(table, Tensor) else None


def known_id(token: int | None, rows: int | None) -> int | None:
    """Return the id, or None if the model has no embedding for it."""
    return None if token is None or (rows is not None and token >= rows) else token


def token_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens the model reads at once; the tokenizer's own limit is often unset (then 1e30).

    A model that reads further tokens after a text says how many, as `room`.

    Raises:
        ModelError: If the limit of the model or of the tokenizer is not a number.
    """
    positions = getattr(model.config, "max_position_embeddings", None) or 0
    for name, value in (("max_position_embeddings", positions), ("model_max_length", tokenizer.model_max_length)):
        if not isinstance(value, int | float) or value != value:
            raise ModelError(f"Expected a number of tokens for {name}, got {value!r:.80}: correct it in the config.")
    positions = positions if positions > 0 else 1_000_000  # XLNet's config says -1 for any number
    for module_name, module in model.named_modules():
        # RoBERTa and its kin number positions from the padding index on.
        if module_name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions -= module.padding_idx + 1
            break
    return int(min(positions, tokenizer.model_max_length)) - getattr(model, "room", 0)


def batches(encoding: Encoding, *, repeats: int = 1) -> Iterator[Encoding]:
    """Cut an encoding into parts of at most 8,192 tokens, padding trimmed; a part has at least one window.

    Without a padding token a part also ends where the length changes, and where windows must agree in the number of
    their end tokens, where that changes. `repeats` leaves room for that many copies of each window.
    """
    lengths = encoding.mask.sum(1).tolist()
    ends = [0] * len(lengths) if encoding.end is None else (encoding.ids == encoding.end).sum(1).tolist()
    start = 0
    while start < len(lengths):
        stop, longest = start + 1, lengths[start]
        while stop < len(lengths) and max(longest, lengths[stop]) * (stop + 1 - start) * repeats <= MOST:
            if ends[stop] != ends[start] or (encoding.pad is None and lengths[stop] != longest):
                break
            longest = max(longest, lengths[stop])
            stop += 1
        yield encoding.rows(start, stop, longest)
        start = stop
