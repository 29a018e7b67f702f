"""Marks on characters to targets on tokens."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from expnet.errors import RationaleError
from expnet.rationales.records import Record
from expnet.text.encoding import Encoding, overlaps, shares


def token_targets(encoding: Encoding, records: Sequence[Record]) -> Float[Tensor, "batch tokens"]:
    """Return how much of each token is marked: 1 on a marked word, 0 on another, a share where it covers both.

    Shares are of the characters that the token has on words that people judged. NaN where it has none.

    Args:
        encoding: The encoded texts of the records, in their order.
        records: Annotated records.

    Raises:
        RationaleError: If a record has no rationale, or the encoding holds other texts.
    """
    if encoding.texts != tuple(record.text for record in records):
        raise RationaleError(
            f"The encoding's {len(encoding.texts)} texts are not those of the {len(records)} records, in their order."
        )
    longest = max(len(record.text.words) for record in records)
    marks = torch.full((len(records), longest), torch.nan)
    for row, record in zip(marks, records, strict=True):
        marked = torch.tensor(record.word_marks(), dtype=torch.float32)
        row[: len(marked)] = marked.masked_fill(~torch.tensor(record.judged_words(), dtype=torch.bool), torch.nan)
    row, token, word = overlaps(encoding.covers)
    mark, share = marks[encoding.text_of[row], word], shares(encoding, row, token, word)
    judged, place = ~mark.isnan(), row * encoding.ids.shape[1] + token
    known, positive = (
        torch.zeros(encoding.ids.numel()).scatter_add_(0, place[judged], part[judged]) for part in (share, share * mark)
    )
    return (positive / known).view(encoding.ids.shape)  # 0 / 0 is NaN
