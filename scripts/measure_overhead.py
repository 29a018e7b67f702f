"""Where an explanation spends time beyond the model's own, and what compiling it saves; into docs/overhead.json.

    python scripts/measure_overhead.py
    python scripts/tables.py

The parts take turns, so that each round has every part once; medians are of the milliseconds of a part, by time of the
processor with `--clock processor`, so that what else runs on the machine counts less.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import expnet
from expnet.attention.borrow import borrow
from expnet.attention.capture import capture
from expnet.attention.fused import NAME, run_fused
from expnet.network.features import attention_features
from expnet.text.encoding import pool_words
from expnet.text.texts import Text
from expnet.timing import lengths as speed
from expnet.timing.clock import interleave

OUTPUT = Path(__file__).parents[1] / "docs" / "overhead.json"
SETTINGS = ((1, 32), (1, 128), (32, 32), (16, 128), (8, 512))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--clock", choices=("seconds", "processor"), default="seconds")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    explainer, compiled = expnet.load(device="cpu"), expnet.load(device="cpu")
    compiled.classifier.model.compile(dynamic=True)
    report: dict[str, Any] = {"settings": speed.report(explainer, []), "rounds": args.rounds, "clock": args.clock}
    report["rows"] = []
    for batch, tokens in SETTINGS:
        runs = parts(explainer, compiled, speed.texts_of_length(explainer, tokens, batch))
        times = interleave(runs, reference=speed.BARE, rounds=args.rounds)
        taken = {name: 1000 * taken_times.median(args.clock) for name, taken_times in times.items()}
        report["rows"].append({"batch": batch, "tokens": tokens, "ms": taken})
        print(json.dumps(report["rows"][-1]), flush=True)
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def parts(explainer: expnet.Explainer, compiled: expnet.Explainer, texts: list[str]) -> dict[str, Callable[[], object]]:
    """Return what is timed; each part but the whole ones takes what the part before it gave."""
    classifier, network = explainer.classifier, explainer.network
    items = [Text.of(text) for text in texts]
    encoding = classifier.encode(items)
    inputs, support = encoding.inputs(classifier.model.device), classifier.support
    trace = classifier.trace(encoding)
    config = network.config.features
    features = attention_features(trace, encoding.mask, encoding.real, config)
    scores = network.score(features)
    whole = speed.contenders(explainer, texts, {"expnet": {}})
    quick = speed.contenders(compiled, texts, {"expnet": {}})

    def model() -> object:
        with torch.inference_mode():
            return classifier.model(**inputs).logits

    def fused() -> object:
        with torch.inference_mode():
            return run_fused(classifier.model, inputs, lambda number, layer: None)

    def switched() -> None:
        with borrow(classifier.model, NAME, compiled=True):  # as `run_fused` does
            pass

    return {
        speed.BARE: whole[speed.BARE],
        "explanation": whole["expnet"],
        "prediction, compiled": quick[speed.BARE],
        "explanation, compiled": quick["expnet"],
        "tokenizer alone": lambda: classifier.tokenizer(texts, padding=True, return_tensors="pt"),
        "tokens and words": lambda: classifier.encode([Text.of(text) for text in texts]),
        "model": model,
        "model, attention switched": fused,
        "switch and back": switched,
        "model, rows and columns taken": lambda: capture(classifier.model, inputs, anchor=support.anchor),
        "features": lambda: attention_features(trace, encoding.mask, encoding.real, config),
        "network": lambda: network.score(features),
        "pooling to words": lambda: pool_words(scores, encoding, pool="max"),
    }


if __name__ == "__main__":
    main()
