"""Time and memory of texts in one pass, on models of three kinds with random weights; into docs/long.json.

    python scripts/measure_long.py --models ModernBERT-like Llama-like
    python scripts/measure_long.py --models BERT-base-like --tokens 32 128 512
    python scripts/measure_long.py --models "Llama-like, prompted" --tokens 64 128 512
    python scripts/measure_long.py --models MPNet-like DeBERTa-v3-like RoFormer-like BART-like T5-like --tokens 128 512
    python scripts/tables.py

A ModernBERT-like encoder, with local layers and global ones, and a Llama-like decoder, both small: 6 layers of 6 heads,
256 wide; encoders of BERT-base's size, 12 layers of 12 heads, 768 wide; encoder-decoders with 6 layers on each side,
768 wide (BART) and 512 (T5); the decoder again as a language model that answers a prompt, of which the lengths include
the template. What a matrix of tokens × tokens would
take grows with their square; what an explanation takes does not.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    MPNetConfig,
    MPNetForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    RoFormerConfig,
    RoFormerForSequenceClassification,
    T5Config,
    T5ForSequenceClassification,
)

import expnet
from expnet.text.prompts import Prompt
from expnet.timing import lengths as speed

OUTPUT = Path(__file__).parents[1] / "docs" / "long.json"
# As published at their base (T5: small) size.
_BASE: dict[str, tuple[type[PreTrainedModel], PreTrainedConfig]] = {
    "BERT-base-like": (BertForSequenceClassification, BertConfig()),
    "MPNet-like": (MPNetForSequenceClassification, MPNetConfig(max_position_embeddings=514)),
    "DeBERTa-v3-like": (
        DebertaV2ForSequenceClassification,
        DebertaV2Config(
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            position_buckets=256,
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            position_biased_input=False,
            type_vocab_size=0,
        ),
    ),
    "RoFormer-like": (RoFormerForSequenceClassification, RoFormerConfig(max_position_embeddings=512)),
    "BART-like": (
        BartForSequenceClassification,
        BartConfig(
            d_model=768,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=12,
            decoder_attention_heads=12,
            encoder_ffn_dim=3072,
            decoder_ffn_dim=3072,
        ),
    ),
    "T5-like": (T5ForSequenceClassification, T5Config(num_decoder_layers=6)),
}
_PROMPTED = "Llama-like, prompted"
_PROMPT = Prompt(template="Review: {text} Is it good or bad? It is", labels={"positive": " good", "negative": " bad"})
MODELS = ("ModernBERT-like", "Llama-like", _PROMPTED, *_BASE)
LENGTHS = (512, 1024, 2048, 4096, 8192)
SIZES = {
    "hidden_size": 252,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "intermediate_size": 1024,
    "max_position_embeddings": max(LENGTHS),
    "num_labels": 2,
    "pad_token_id": 0,
    "bos_token_id": 101,
    "eos_token_id": 102,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = expnet.load(device="cpu").classifier.tokenizer
    tokenizer.model_max_length = max(LENGTHS)
    reports = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
    for name in args.models:
        torch.manual_seed(0)
        model = build(name, len(tokenizer)).eval()
        prompt = _PROMPT if name == _PROMPTED else None
        classifier = expnet.Classifier(model, tokenizer, name=f"{name}, random weights", prompt=prompt)
        layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
        config = expnet.ExpNetConfig(architecture=classifier.architecture, layers=layers, heads=heads)
        explainer = expnet.Explainer(classifier, expnet.ExpNet(config))
        batches = speed.sizes([length for length in args.tokens if length <= classifier.max_length])
        measure = partial(prompted, model) if prompt else speed.measure
        timings = measure(explainer, batches, rounds=args.rounds, methods={"expnet": {}}, progress=True)
        reports[name] = speed.report(explainer, timings)
        print(speed.table(reports[name]), flush=True)
        args.output.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")


def prompted(
    model: PreTrainedModel, explainer: expnet.Explainer, batches: Sequence[tuple[int, int]], *, rounds: int, **_: object
) -> list[speed.Timing]:
    """Time explanations beside what the language model alone takes to compare the logits of the labels' words."""
    timings: list[speed.Timing] = []
    tokenizer = explainer.classifier.tokenizer
    words = tokenizer.convert_tokens_to_ids([word.strip() for word in _PROMPT.labels.values()])

    def predict(texts: Sequence[str]) -> object:
        prompts = [tokenizer.cls_token + _PROMPT.template.format(text=text) for text in texts]
        inputs = tokenizer(
            prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        )  # and none behind the text
        with torch.inference_mode():
            logits = model(inputs["input_ids"], inputs["attention_mask"], logits_to_keep=1).logits
        return logits[:, -1, words].softmax(-1).tolist()

    for batch, tokens in batches:
        texts = speed.texts_of_length(explainer, tokens, batch)
        runs = {speed.BARE: partial(predict, texts), "expnet": partial(explainer.explain, texts)}
        timings += speed.compared(runs, tokens, batch, rounds, model.device)
    return timings


def build(name: str, vocabulary: int) -> PreTrainedModel:
    if name in _BASE:
        kind, config = _BASE[name]
        config.vocab_size, config.pad_token_id, config.eos_token_id = vocabulary, 0, SIZES["eos_token_id"]
        if config.is_encoder_decoder:
            config.decoder_start_token_id = 0
        return kind(config)
    if name == _PROMPTED:
        return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **SIZES))
    if name == "Llama-like":
        return LlamaForSequenceClassification(LlamaConfig(vocab_size=vocabulary, **SIZES))
    return ModernBertForSequenceClassification(
        ModernBertConfig(vocab_size=vocabulary, cls_token_id=101, sep_token_id=102, **SIZES)
    )


if __name__ == "__main__":
    main()
