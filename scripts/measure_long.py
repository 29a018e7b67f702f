"""Time and memory of long texts in one pass, on models of two kinds with random weights; into docs/long.json.

    python scripts/measure_long.py
    python scripts/tables.py

A ModernBERT-like encoder, with local layers and global ones, and a Llama-like decoder, both small: 6 layers of 6 heads,
256 wide. What a matrix of tokens × tokens would take grows with their square; what an explanation takes does not.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, ModernBertConfig
from transformers import ModernBertForSequenceClassification as ModernBert

import expnet
from expnet import speed

OUTPUT = Path(__file__).parents[1] / "docs" / "long.json"
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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = expnet.load(device="cpu").classifier.tokenizer
    tokenizer.model_max_length = max(LENGTHS)
    torch.manual_seed(0)
    models = {
        "ModernBERT-like": ModernBert(
            ModernBertConfig(vocab_size=len(tokenizer), cls_token_id=101, sep_token_id=102, **SIZES)
        ),
        "Llama-like": LlamaForSequenceClassification(LlamaConfig(vocab_size=len(tokenizer), **SIZES)),
    }
    reports = {}
    for name, model in models.items():
        classifier = expnet.Classifier(model.eval(), tokenizer, name=f"{name}, random weights")
        config = expnet.ExpNetConfig(architecture=classifier.architecture, layers=6, heads=6)
        explainer = expnet.Explainer(classifier, expnet.ExpNet(config))
        found = speed.measure(explainer, args.tokens, rounds=args.rounds, methods={"expnet": {}}, progress=True)
        reports[name] = speed.report(explainer, found)
        print(speed.table(reports[name]), flush=True)
    args.output.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
