"""Tiny random language models of several families, and a tokenizer with a chat template to go with them."""

from pathlib import Path
from typing import Any

import torch
import transformers as tf
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

FAMILIES = ("gpt2", "llama", "qwen3", "gemma2", "gemma3-text", "mistral")
POSITIONS = 256

_SPREAD = 0.3  # so that attention is not uniform
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|model|>")
_MERGES = [("y", "e"), ("ye", "s"), ("Ġ", "yes"), ("n", "o"), ("Ġ", "no"), ("t", "h"), ("th", "e"), ("Ġ", "the")]
_CHAT = (
    "{{ bos_token }}{% for message in messages %}<|{{ 'user' if message['role'] == 'user' else 'model' }}|>\n"
    "{{ message['content'] | trim }}</s>{% endfor %}{% if add_generation_prompt %}<|model|>{% endif %}"
)
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = (*_SPECIAL, *_ALPHABET, *(first + second for first, second in _MERGES))
_IDS = {"vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_COMMON = {
    **_IDS,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
    "initializer_range": _SPREAD,
}
_RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", {**_IDS, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": POSITIONS}),
    "llama": ("Llama", _COMMON),
    "qwen3": ("Qwen3", _COMMON),
    # Of its three layers one attends to the last 24 tokens only, and the logits are capped.
    "gemma2": ("Gemma2", _COMMON | {"sliding_window": 24, "final_logit_softcapping": 3.0}),
    "gemma3-text": ("Gemma3Text", _COMMON | {"sliding_window": 9}),
    "mistral": ("Mistral", _COMMON | {"sliding_window": 9}),
}


def build(family: str, *, seed: int = 0, **changes: Any) -> tf.PreTrainedModel:
    """Return a random causal language model in evaluation mode; `changes` go to its config."""
    kind, settings = _RECIPES[family]
    config = getattr(tf, f"{kind}Config")(**{"initializer_range": _SPREAD, **settings, **changes})
    name = {"GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind.removesuffix('Text')}ForCausalLM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: tf.PreTrainedModel = getattr(tf, name)(config)
    return model.eval()


def tokenizer(*, chat: bool = True, begins: bool = True) -> tf.PreTrainedTokenizerFast:
    """Return a byte-level tokenizer, which by default puts <s> before a text and has a chat template."""
    backend = Tokenizer(models.BPE({token: number for number, token in enumerate(VOCABULARY)}, _MERGES))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in _SPECIAL])
    backend.post_processor = (
        processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
        if begins
        else processors.ByteLevel(trim_offsets=False)
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=POSITIONS,
        chat_template=_CHAT if chat else None,
    )


def save(folder: Path, model: tf.PreTrainedModel, **settings: Any) -> Path:
    """Write a model and a tokenizer for it into a folder, and return the folder."""
    model.save_pretrained(folder)
    tokenizer(**settings).save_pretrained(folder)
    return folder
