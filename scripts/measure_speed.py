"""What an explanation costs beside the bare prediction, on the embedded demo.

    python scripts/measure_speed.py

Both sides take the same texts from strings to results: the prediction tokenizes, runs the model in one batch under
SDPA and takes the softmax, as plain transformers does; the explanation tokenizes, captures, runs the network, pools to
words and builds the `Explanation` objects, in batches of its own. Runs are interleaved; medians and quartiles of the
ratios of neighbouring runs are shown.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers

import expnet

SETTINGS = ((1, 32), (32, 32), (1, 128), (16, 128), (1, 512), (8, 512))
# One WordPiece token each, so that lengths are exact.
WORDS = [
    "a",
    "gripping",
    "film",
    "with",
    "a",
    "wooden",
    "lead",
    "and",
    "the",
    "best",
    "story",
    "of",
    "this",
    "year",
    ",",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--model", default="demo/sentiment")
    parser.add_argument("--output", type=Path, help="also write the figures as JSON")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    explainer = expnet.load(args.model)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}, expnet {expnet.__version__}"
    print(f"{args.model}, {args.threads} threads, {args.repeats} interleaved repeats; {versions}\n")
    print("| batch | tokens | prediction, ms | explanation, ms | explanation / prediction | quartiles |")
    print("|---|---|---|---|---|---|")
    rows = []
    for batch, tokens in SETTINGS:
        texts = [" ".join((WORDS * tokens)[shift : shift + tokens - 2]) for shift in range(batch)]
        predict, explain = bare(explainer, texts, tokens), lambda texts=texts: explainer.explain(texts)
        pairs = interleave(predict, explain, args.repeats)
        ratios = [b / a for a, b in pairs]
        low, median, high = statistics.quantiles(ratios, n=4)
        first, second = (1000 * statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append({"batch": batch, "tokens": tokens, "prediction_ms": first, "explanation_ms": second})
        rows[-1] |= {"ratio": median, "quartiles": [low, high]}
        print(
            f"| {batch} | {tokens} | {first:.1f} | {second:.1f} | {median:.3f} | {low:.3f} – {high:.3f} |", flush=True
        )
    if args.output:
        report = {"model": args.model, "threads": args.threads, "repeats": args.repeats, "versions": versions}
        args.output.write_text(json.dumps(report | {"rows": rows}, indent=2) + "\n")


def bare(explainer: expnet.Explainer, texts: list[str], tokens: int) -> Callable[[], object]:
    """Return the prediction as plain transformers makes it, after checking that the lengths are as announced."""
    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer

    def predict() -> object:
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        if inputs["input_ids"].shape != (len(texts), tokens):
            raise SystemExit(f"expected {tokens} tokens, got {inputs['input_ids'].shape[1]}: another vocabulary?")
        with torch.inference_mode():
            return model(**inputs).logits.softmax(-1).tolist()

    if model.config._attn_implementation != "sdpa":
        raise SystemExit(f"the bare prediction runs under {model.config._attn_implementation}, not sdpa")
    return predict


def interleave(one: Callable[[], object], other: Callable[[], object], repeats: int) -> list[tuple[float, float]]:
    for _ in range(3):
        one(), other()
    times = []
    for repeat in range(repeats):
        pair = [0.0, 0.0]
        for index in (0, 1) if repeat % 2 else (1, 0):
            start = time.perf_counter()
            (one, other)[index]()
            pair[index] = time.perf_counter() - start
        times.append((pair[0], pair[1]))
    return times


if __name__ == "__main__":
    main()
