"""Tiny random classifiers of each architecture, inputs for them, and a tokenizer to go with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers.modeling_outputs import SequenceClassifierOutput

ENCODERS = ("bert", "roberta", "distilbert", "electra", "modernbert", "modernbert-mean", "mpnet")
DECODERS = ("gpt2", "llama")
ARCHITECTURES = ENCODERS + DECODERS
FUSED = ARCHITECTURES

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
WORDS = ("good", "bad", "film", "text", "short", "long", "another", "one", "the", "first", ".", ",", "!", "?")
VOCABULARY = (*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS))
PAD, END, FIRST_WORD = 0, SPECIAL.index("[SEP]"), len(SPECIAL)
POSITIONS = 256

# Drawn with the default 0.02, weights give uniform attention, on which no test could fail.
_SPREAD = 0.3
_IDS = {"vocab_size": len(VOCABULARY), "pad_token_id": PAD, "bos_token_id": 2, "eos_token_id": 3}
_COMMON = {
    **_IDS,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "initializer_range": _SPREAD,
}
# Two query heads share each key head.
_GROUPED = _COMMON | {"num_key_value_heads": 2}
_MODERN = {
    **{name: value for name, value in _COMMON.items() if name != "initializer_range"},
    "cls_token_id": 2,
    "sep_token_id": 3,
    "initializer_range": _SPREAD,
    # Each token sees 4 neighbours to either side, except in the layers 0 and 2, which are global.
    "local_attention": 8,
    "global_attn_every_n_layers": 2,
}


def build(architecture: str, *, seed: int = 0, **changes: Any) -> tf.PreTrainedModel:
    """Return a random classifier in evaluation mode; `changes` go to its config."""
    kind, settings = _RECIPES[architecture]
    config = getattr(tf, f"{kind}Config")(**{"num_labels": 3, **settings, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: tf.PreTrainedModel = getattr(tf, f"{kind}ForSequenceClassification")(config)
        if architecture in DECODERS:  # they pad with an ordinary token, not with zeros
            model.get_input_embeddings().get_parameter("weight").data[PAD].normal_(std=_SPREAD)
    return model.eval()


_RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _COMMON),
    # RoBERTa numbers its positions from the padding index on: 1 more than the limit.
    "roberta": ("Roberta", _COMMON | {"max_position_embeddings": POSITIONS + 1}),
    "distilbert": (
        "DistilBert",
        {
            **_IDS,
            "dim": 32,
            "n_layers": 3,
            "n_heads": 4,
            "hidden_dim": 64,
            "max_position_embeddings": POSITIONS,
            "initializer_range": _SPREAD,
        },
    ),
    "electra": ("Electra", _COMMON | {"embedding_size": 16}),
    "modernbert": ("ModernBert", _MODERN),
    "modernbert-mean": ("ModernBert", _MODERN | {"classifier_pooling": "mean"}),
    "mpnet": ("MPNet", _COMMON | {"max_position_embeddings": POSITIONS + 1}),
    "gpt2": (
        "GPT2",
        {**_IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS, "initializer_range": _SPREAD},
    ),
    "llama": ("Llama", _GROUPED),
    "gemma2": ("Gemma2", _GROUPED | {"head_dim": 8}),
    "xlm-roberta": ("XLMRoberta", _COMMON | {"max_position_embeddings": POSITIONS + 1}),
    "camembert": ("Camembert", _COMMON | {"max_position_embeddings": POSITIONS + 1}),
    "ernie": ("Ernie", _COMMON),
    "eurobert": ("EuroBert", _GROUPED | {"mask_token_id": 4}),
    "ibert": ("IBert", _COMMON | {"max_position_embeddings": POSITIONS + 1}),
    "albert": ("Albert", _COMMON | {"embedding_size": 16}),
    # Its states grow from layer to layer, without a norm to hold them.
    "mobilebert": (
        "MobileBert",
        _COMMON
        | {"embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32, "initializer_range": 0.15},
    ),
    "nomic-bert": ("NomicBert", _COMMON),
    "layoutlm": ("LayoutLM", _COMMON),
    "mistral": ("Mistral", _GROUPED | {"sliding_window": 5}),
    "qwen2": ("Qwen2", _GROUPED),
    "qwen3": ("Qwen3", _GROUPED | {"head_dim": 8}),
    "phi3": ("Phi3", _GROUPED),
    "gemma2-window": ("Gemma2", _GROUPED | {"head_dim": 8, "sliding_window": 5}),
    "gemma3-text": ("Gemma3Text", _GROUPED | {"head_dim": 8, "sliding_window": 5}),
    "gpt-neox": ("GPTNeoX", _COMMON),
    "opt": (
        "OPT",
        {
            **_IDS,
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "word_embed_proj_dim": 32,
            "max_position_embeddings": POSITIONS,
            "init_std": _SPREAD,
        },
    ),
    "deberta": ("Deberta", _COMMON | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "deberta-v2": ("DebertaV2", _COMMON | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "roformer": ("RoFormer", _COMMON),
    "rembert": ("RemBert", _COMMON | {"input_embedding_size": 16, "output_embedding_size": 16}),
    "bigbird": ("BigBird", _COMMON | {"attention_type": "original_full"}),
    "squeezebert": ("SqueezeBert", _COMMON | {"embedding_size": 32}),
    "bloom": ("Bloom", {**_IDS, "hidden_size": 32, "n_layer": 3, "n_head": 4, "initializer_range": _SPREAD}),
    "falcon": ("Falcon", _COMMON | {"new_decoder_architecture": False, "multi_query": True, "alibi": False}),
    "bart": (
        "Bart",
        {
            **_IDS,
            "d_model": 32,
            "encoder_layers": 3,
            "decoder_layers": 3,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": POSITIONS,
            "decoder_start_token_id": 3,
            "init_std": _SPREAD,
        },
    ),
    "mbart": (
        "MBart",
        {
            **_IDS,
            "d_model": 32,
            "encoder_layers": 3,
            "decoder_layers": 3,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "max_position_embeddings": POSITIONS,
            "decoder_start_token_id": 3,
            "init_std": _SPREAD,
        },
    ),
    "t5": (
        "T5",
        {
            **_IDS,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 3,
            "num_heads": 4,
            "decoder_start_token_id": PAD,
        },
    ),
    "xlnet": ("XLNet", {**_IDS, "d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 64, "initializer_range": _SPREAD}),
    "longformer": ("Longformer", _COMMON | {"attention_window": 4, "max_position_embeddings": POSITIONS + 1}),
    "funnel": ("Funnel", {**_IDS, "block_sizes": [1, 1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64}),
    "fnet": ("FNet", {name: value for name, value in _COMMON.items() if name != "num_attention_heads"}),
}
EVERY_ARCHITECTURE = tuple(_RECIPES)


class PoolingBert(tf.BertForSequenceClassification):
    """BERT with a pooling of its own over the last hidden states."""

    pool: Callable[[Tensor, Tensor], Tensor]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **options: Any) -> SequenceClassifierOutput:
        outputs = self.bert(input_ids, attention_mask=attention_mask, **options)
        logits = self.classifier(self.pool(outputs[0], attention_mask.bool()))
        return SequenceClassifierOutput(logits=logits, attentions=outputs.attentions)


def pooling(pool: Callable[[Tensor, Tensor], Tensor]) -> PoolingBert:
    """Return a random classifier whose `pool` takes the last hidden states and the mask."""
    plain = build("bert")
    model: PoolingBert = PoolingBert._from_config(plain.config).eval()
    model.load_state_dict(plain.state_dict())
    model.pool = pool
    return model


def inputs(
    lengths: Sequence[int] = (12, 9, 5), *, side: str = "right", seed: int = 0, end: bool = False
) -> dict[str, Tensor]:
    """Return random ids of texts of these lengths, padded on one side to the longest; `end`: the last one is [SEP]."""
    width = max(lengths)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(FIRST_WORD, len(VOCABULARY), (len(lengths), width), generator=generator)
    places = torch.arange(width)
    used = [places < n if side == "right" else places >= width - n for n in lengths]
    mask = torch.stack(used)
    last = places == (mask * places).amax(1, keepdim=True)
    ids = ids.masked_fill(last, END) if end else ids
    return {"input_ids": ids.masked_fill(~mask, PAD), "attention_mask": mask.long()}


def tokenizer(*, typed: bool = False, **settings: Any) -> tf.PreTrainedTokenizerFast:
    """Return a WordPiece tokenizer: the words of `WORDS` are one token, others are spelled.

    Args:
        typed: Give token type ids.
        settings: For the tokenizer, such as `model_max_length`, or None for a special token.
    """
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    engine = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    engine.normalizer = normalizers.BertNormalizer(lowercase=True)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if typed else [])]
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return tf.PreTrainedTokenizerFast(tokenizer_object=engine, **{"model_input_names": names, **special, **settings})


def save(folder: Path, model: tf.PreTrainedModel, **settings: Any) -> Path:
    """Write a model and a tokenizer for it into a folder, and return the folder."""
    model.save_pretrained(folder)
    tokenizer(**settings).save_pretrained(folder)
    return folder
