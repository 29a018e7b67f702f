"""What a model can read: which ids, and how many tokens at once."""

from collections.abc import Iterator

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expnet.errors import ModelError
from expnet.text.encoding import Encoding

# Tokens in one forward pass: enough to keep the processor busy, little enough for a laptop.
BUDGET = 8192


def embedding_rows(model: PreTrainedModel) -> int | None:
    """Return how many embeddings of tokens a model has, if they are in a table."""
    table = getattr(model.get_input_embeddings(), "weight", None)
    return table.shape[0] if isinstance(table, Tensor) else None


def known_id(token: int | None, rows: int | None) -> int | None:
    """Return an id if the model can look it up."""
    return None if token is None or (rows is not None and token >= rows) else token


def token_limit(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many tokens the model reads; the tokenizer often knows nothing (then it says 1e30).

    Raises:
        ModelError: If one of the two says something else than a number.
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
    return int(min(positions, tokenizer.model_max_length))


def batches(encoding: Encoding, *, repeats: int = 1) -> Iterator[Encoding]:
    """Cut an encoding into parts of at most 8,192 tokens, padding trimmed; a part has one window at least.

    Where nothing stands for padding, a part also ends where the length changes. With `repeats` it leaves room for so
    many copies of each window.
    """
    lengths = encoding.mask.sum(1).tolist()
    start = 0
    while start < len(lengths):
        stop, longest = start + 1, lengths[start]
        while stop < len(lengths) and max(longest, lengths[stop]) * (stop + 1 - start) * repeats <= BUDGET:
            if encoding.pad is None and lengths[stop] != longest:
                break
            longest = max(longest, lengths[stop])
            stop += 1
        yield encoding.rows(start, stop, longest)
        start = stop
