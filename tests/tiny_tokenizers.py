"""Tiny tokenizers, built offline, that split words the way the large ones do."""

import string

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, PythonBackend

# Everything else falls apart into letters, so that some words are one token and some are several.
_PIECES = ["the", "film", "is", "un", "##believ", "##able", "good", "##s", "##ing", "touch"]
_MERGES = [
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("i", "l"),
    ("f", "il"),
    ("fil", "m"),
    ("Ġ", "film"),
    ("Ġ", "x"),
    ("o", "d"),
]


def bert_like(max_length: int = 16) -> PreTrainedTokenizerFast:
    """Return a lower-casing WordPiece tokenizer: [CLS] a [SEP] (b [SEP]), with token type ids."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    ids = {token: number for number, token in enumerate(vocabulary + _PIECES)}
    backend = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=max_length,
    )


def bert_like_with_wide_tokens(max_length: int = 16) -> PreTrainedTokenizerFast:
    """Return `bert_like` with tokens that cover several words, as vocabularies of BPE and unigram models hold them."""
    tokenizer = bert_like(max_length)
    tokenizer.add_tokens(["电影很好", "!!!", "://", "ad!"])
    return tokenizer


def roberta_like(max_length: int = 16) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer: <s> a </s> (</s> b </s>), without token type ids.

    Characters beyond ASCII become several tokens on the same character.
    """
    backend = _bytes(["<s>", "<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token=AddedToken("<mask>", lstrip=True),
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=max_length,
    )


def gpt_like(max_length: int = 16) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer that adds no special tokens and has no padding token.

    The space before a word belongs to the word's first token, offsets included.
    """
    backend = _bytes(["<|endoftext|>"])
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=max_length,
    )


class SlowTokenizer(PythonBackend):
    """One token per character, in plain Python: no offsets."""

    def __init__(self) -> None:
        super().__init__(unk_token="?", pad_token="?", model_max_length=16)

    @property
    def vocab_size(self) -> int:
        return 128

    def get_vocab(self) -> dict[str, int]:
        return {chr(number): number for number in range(128)}

    def _tokenize(self, text: str, **_: object) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return min(ord(token), 127)

    def _convert_id_to_token(self, index: int) -> str:
        return chr(index)


def _bytes(special: list[str]) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*special, *alphabet, *(first + second for first, second in _MERGES)]
    backend = Tokenizer(models.BPE({token: number for number, token in enumerate(vocabulary)}, _MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend
