"""Time and memory of texts in one pass, on models of three kinds with random weights; into docs/long.json.

    python scripts/measure_long.py --models ModernBERT-like Llama-like
    python scripts/measure_long.py --models BERT-base-like --tokens 32 128 512
    python scripts/tables.py

A ModernBERT-like encoder, with local layers and global ones, and a Llama-like decoder, both small: 6 layers of 6 heads,
256 wide; and an encoder of BERT-base's size, 12 layers of 12 heads, 768 wide. What a matrix of tokens × tokens would
take grows with their square; what an explanation takes does not.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedModel,
)

import expnet
from expnet.timing import lengths as speed

OUTPUT = Path(__file__).parents[1] / "docs" / "long.json"
MODELS = ("ModernBERT-like", "Llama-like", "BERT-base-like")
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
        classifier = expnet.Classifier(model, tokenizer, name=f"{name}, random weights")
        layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
        config = expnet.ExpNetConfig(architecture=classifier.architecture, layers=layers, heads=heads)
        explainer = expnet.Explainer(classifier, expnet.ExpNet(config))
        batches = speed.sizes([length for length in args.tokens if length <= classifier.max_length])
        timings = speed.measure(explainer, batches, rounds=args.rounds, methods={"expnet": {}}, progress=True)
        reports[name] = speed.report(explainer, timings)
        print(speed.table(reports[name]), flush=True)
        args.output.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")


def build(name: str, vocabulary: int) -> PreTrainedModel:
    if name == "BERT-base-like":
        return BertForSequenceClassification(BertConfig(vocab_size=vocabulary))
    if name == "Llama-like":
        return LlamaForSequenceClassification(LlamaConfig(vocab_size=vocabulary, **SIZES))
    return ModernBertForSequenceClassification(
        ModernBertConfig(vocab_size=vocabulary, cls_token_id=101, sep_token_id=102, **SIZES)
    )


if __name__ == "__main__":
    main()
