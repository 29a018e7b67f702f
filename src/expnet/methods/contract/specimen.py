"""A small random classifier, made on the spot, on which a method can be tried out without any download."""

import string

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from expnet.model.classifier import Classifier

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tiny_classifier() -> Classifier:
    """Return a random BERT of two layers, three classes, and a tokenizer that spells."""
    letters = string.ascii_lowercase + string.punctuation
    vocabulary = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    config = BertConfig(  # type: ignore[call-arg]  # num_labels comes with the base class
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        num_labels=3,
        pad_token_id=0,
        # With the default of 0.02 attention is uniform, and nothing could be told apart.
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
    model.train(False)
    return Classifier(model, _tokenizer(vocabulary), name="tiny")


def _tokenizer(vocabulary: list[str]) -> PreTrainedTokenizerFast:
    ids = {token: index for index, token in enumerate(vocabulary)}
    engine = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _SPECIAL, strict=True))
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=engine, model_input_names=["input_ids", "attention_mask", "token_type_ids"], **names
    )
