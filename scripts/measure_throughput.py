"""Texts of mixed lengths per second, explained and only predicted, in three dtypes; into docs/throughput.json.

    python scripts/measure_throughput.py DATA --threads 2
    python scripts/tables.py

DATA is a folder of sets, set/split.jsonl.gz, whose lines hold `text` or `tokens`: films, tweets and posts are drawn
from it. Budgets of tokens are compared as well: on a processor the best of them is `Classifier.budget`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from measure_batch import draw
from measure_export import agreement

import expnet
from expnet.export import OnnxExplainer, export
from expnet.timing import throughput
from expnet.timing.clock import Run, interleave

OUTPUT = Path(__file__).parents[1] / "docs" / "throughput.json"
SETS = ("movies", "tse", "hatexplain", "toxic_spans")
BUDGETS = (256, 512, 1024, 2048, 4096, 8192)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    texts = mixed(args.data, args.texts)
    exact, half = (expnet.load(device="cpu", dtype=dtype) for dtype in ("float32", "bfloat16"))
    with tempfile.TemporaryDirectory() as folder:
        exported = OnnxExplainer.load(export(exact, Path(folder) / "float32"), threads=args.threads)
        int8 = OnnxExplainer.load(export(exact, Path(folder) / "int8", int8=True), threads=args.threads)
    reports: dict[str, Any] = {}
    few = texts[: max(50, len(texts) // 5)]
    runs = (("float32", exact, exported, texts), ("bfloat16", half, None, few), ("int8", exact, int8, few))
    for name, explainer, graph, of in runs:
        ways = throughput.measure(explainer, of, rounds=args.rounds, exported=graph, progress=True)
        reports[name] = throughput.report(explainer, of, ways)
        print(throughput.table(reports[name]), flush=True)
        args.output.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    reports["agreement"] = agreement(half.explain(few, truncate=True), exact.explain(few, truncate=True))
    reports["budgets"] = {"texts": len(few), "threads": args.threads, "rows": budgets(exact, few, args.rounds)}
    args.output.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")


def mixed(data: Path, count: int) -> list[str]:
    """Draw texts of the sets alike."""
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            (Path(folder) / name).symlink_to((data / name).resolve())
        return draw(Path(folder), count)


def budgets(explainer: expnet.Explainer, texts: list[str], rounds: int) -> list[dict[str, float]]:
    """Time explanations under each budget, in turns."""

    def explain(budget: int) -> Run:
        def run() -> object:
            explainer.classifier.budget = budget
            return explainer.explain(texts, truncate=True)

        return run

    usual = explainer.classifier.budget
    runs = {str(budget): explain(budget) for budget in BUDGETS}
    times = interleave(runs, reference=str(usual), rounds=rounds)
    explainer.classifier.budget = usual
    return [
        {
            "budget": int(budget),
            "texts_per_second": len(texts) / taken.median(),
            "processor": 1000 * taken.median("processor") / len(texts),
        }
        for budget, taken in times.items()
    ]


if __name__ == "__main__":
    main()
