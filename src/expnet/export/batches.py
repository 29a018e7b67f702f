"""Texts to arrays for the graph, and token scores back to words: what `text.encoding` does in torch, in numpy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from expnet.export.manifest import Manifest
from expnet.text.texts import Text
from expnet.text.windows import by_budget, read_texts

# Tokens in one run of the graph: what it computes then stays in the processor's cache. With 4,096, a text takes a third
# longer on one thread.
BUDGET = 512
_ID, _TYPE, _SPECIAL, _FIRST, _STOP, _TOKEN = 0, 1, 2, 6, 7, 8  # places in `TokenizedText.fields`
Feed = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as windows of tokens.

    Attributes:
        windows: For each window the fields of its tokens; see `expnet.text.windows.TokenizedText`.
        text_of: Which text each window is of.
        read: For each text, how many characters of it and of its pair were read.
    """

    windows: list[Int[np.ndarray, "_ fields"]]
    text_of: Int[np.ndarray, " windows"]
    read: list[tuple[int, int]]


def encode(tokenizer: Tokenizer, texts: Sequence[Text], manifest: Manifest, *, truncate: bool) -> Encoded:
    """Tokenize texts as `expnet.text.encoding.encode` does; the errors are the same."""
    readings = list(read_texts(tokenizer, texts, max_length=manifest.max_length, truncate=truncate))
    windows, text_of = list[Int[np.ndarray, "_ fields"]](), list[int]()
    for index, reading in enumerate(readings):
        table = np.array(reading.fields).T
        windows += [table[positions] for positions in reading.windows]
        text_of += [index] * len(reading.windows)
    return Encoded(windows, np.array(text_of), [reading.read for reading in readings])


def feeds(encoded: Encoded, manifest: Manifest) -> Iterator[tuple[list[int], Feed]]:
    """Yield which windows go together, shortest first so that little is padded, and the inputs of the graph."""
    for rows in by_budget([len(window) for window in encoded.windows], BUDGET):
        yield rows, _feed([encoded.windows[row] for row in rows], manifest)


def _feed(windows: Sequence[np.ndarray], manifest: Manifest) -> Feed:
    lengths = np.array([len(window) for window in windows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    fields = np.zeros((*mask.shape, windows[0].shape[1]), dtype=np.int64)
    fields[mask] = np.concatenate(windows)
    feed = {
        "input_ids": np.where(mask, fields[..., _ID], manifest.pad),
        "attention_mask": mask.astype(np.int64),
        "real": mask & (fields[..., _SPECIAL] == 0),
    }
    return feed | ({"token_type_ids": fields[..., _TYPE]} if manifest.typed else {})


def pool_words(
    windows: Sequence[Int[np.ndarray, "_ fields"]], scores: Sequence[Float[np.ndarray, " _"]], n_words: int
) -> Float[np.ndarray, " {n_words}"]:
    """Give each word of one text the largest score of the tokens that cover it.

    A token in several windows first gets the mean of its scores. A word without a token that the model read scores 0.

    Args:
        windows: All windows of the text.
        scores: For each window, one score in [0, 1] per token; special tokens do not count.
        n_words: Words in the text.
    """
    fields, values = np.concatenate(windows), np.concatenate(scores)
    on_word = fields[:, _STOP] > 0
    tokens, first, place = np.unique(fields[on_word, _TOKEN], return_index=True, return_inverse=True)
    means = np.bincount(place, weights=values[on_word]) / np.bincount(place) if tokens.size else np.zeros(0)
    words = np.zeros(n_words)
    for (start, stop), mean in zip(fields[on_word][first][:, [_FIRST, _STOP]].tolist(), means, strict=True):
        words[start:stop] = np.maximum(words[start:stop], mean)
    return words
