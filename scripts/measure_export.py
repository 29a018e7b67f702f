"""How well an exported explainer agrees with torch, and what it costs; into docs/export.json and docs/export.md.

    python scripts/measure_export.py DATA --texts 2000

DATA is a folder of sets, set/split.jsonl.gz, whose lines hold `text` or `tokens`; texts are drawn from all of them.
Every way starts from the same strings and ends with probabilities or explanations. The ways take turns; medians over
the rounds are shown, of the clock and of CPU time, which says more where other processes run.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure_batch import draw
from scipy.stats import spearmanr
from tables import between
from torch import Tensor, nn

import expnet
from expnet.export import OnnxExplainer, export
from expnet.export.batches import encode, feeds
from expnet.model.batches import predict_texts
from expnet.text.windows import in_chunks
from expnet.timing.clock import interleave

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = ("expnet", "torch", "transformers", "onnxruntime", "onnx", "onnxscript")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="demo/sentiment")
    parser.add_argument("--explainer")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of export.json and export.md")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    texts = draw(args.data, args.texts)
    explainer = expnet.load(args.model, explainer=args.explainer, device="cpu")
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("onnx", "onnx int8")}
        for name, folder in folders.items():
            export(explainer, folder, int8="int8" in name)
        exported = {name: OnnxExplainer.load(folder, threads=args.threads) for name, folder in folders.items()}
        whole = exported["onnx"]
        bare = OnnxExplainer(plain_session(explainer, Path(place), args.threads), whole.tokenizer, whole.manifest)
        sizes = {name: sum(path.stat().st_size for path in folder.iterdir()) for name, folder in folders.items()}
    expected = explainer.explain(texts)
    ways: dict[str, Callable[[], object]] = {
        "torch, predict": lambda: predict_texts(explainer.classifier, without_words(texts)),
        "torch, explain": lambda: explainer.explain(texts),
        "onnxruntime, predict": lambda: predict_in_onnxruntime(bare, texts),
        "onnxruntime, explain": lambda: exported["onnx"].explain(texts),
        "onnxruntime int8, explain": lambda: exported["onnx int8"].explain(texts),
    }
    report = {
        "model": args.model,
        "explainer": args.explainer or args.model,
        "texts": len(texts),
        "words": sum(len(explanation.words) for explanation in expected),
        "threads": args.threads,
        "rounds": args.rounds,
        "versions": {package: version(package) for package in PACKAGES},
        "megabytes": {name: size / 1e6 for name, size in sizes.items()},
        "agreement": {name: agreement(exporter.explain(texts), expected) for name, exporter in exported.items()},
        "speed": timed(ways, args.rounds, len(texts)),
    }
    (args.docs / "export.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    page = args.docs / "export.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), report), encoding="utf-8")


def plain_session(explainer: expnet.Explainer, place: Path, threads: int) -> Any:
    """Return the classifier alone in onnxruntime, exported as anyone would."""
    import onnxruntime

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = explainer.classifier.model

        def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
            given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask, **given).logits
            return logits

    classifier = explainer.classifier
    given = classifier.encode([expnet.Text.of("A short text."), expnet.Text.of("Another, longer one.")]).inputs()
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=classifier.max_length)}
    with torch.no_grad():
        torch.onnx.export(
            Plain().eval(),
            tuple(given.values()),
            place / "plain.onnx",
            input_names=list(given),
            dynamic_shapes=tuple(free for _ in given),
            dynamo=True,
            verbose=False,
        )
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(place / "plain.onnx", settings, providers=["CPUExecutionProvider"])


def predict_in_onnxruntime(bare: OnnxExplainer, texts: Sequence[str]) -> np.ndarray:
    """Return probabilities, by the same batches as the explanations; every text counts once, by its windows' mean."""
    probabilities: np.ndarray = np.zeros((len(texts), len(bare.manifest.labels)))
    items = without_words(texts)
    for places in in_chunks(items):
        encoded = encode(bare.tokenizer, [items[place] for place in places], bare.manifest, truncate=False)
        for rows, feed in feeds(encoded, bare.manifest):
            del feed["real"]
            powers = np.exp(bare.session.run(None, feed)[0])
            np.add.at(
                probabilities, [places[text] for text in encoded.text_of[rows]], powers / powers.sum(1, keepdims=True)
            )
    probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities


def without_words(texts: Sequence[str]) -> list[expnet.Text]:
    """Return texts as a prediction needs them."""
    return [expnet.Text(text, None, ()) for text in texts]


def agreement(ours: Sequence[expnet.Explanation], theirs: Sequence[expnet.Explanation]) -> dict[str, float]:
    pairs = [
        (np.array([word.score for word in one.words]), np.array([word.score for word in other.words]))
        for one, other in zip(ours, theirs, strict=True)
    ]
    gaps = np.concatenate([np.abs(a - b) for a, b in pairs])
    threshold = theirs[0].threshold
    ranked = [float(spearmanr(a, b).statistic) for a, b in pairs if len(a) > 2 and np.ptp(a) > 0 and np.ptp(b) > 0]
    sides = np.concatenate([(a >= threshold) == (b >= threshold) for a, b in pairs])
    return {
        "largest difference": float(gaps.max()),
        "mean difference": float(gaps.mean()),
        "rank correlation": statistics.fmean(ranked),
        "same side of the threshold": float(sides.mean()),
        "same label": statistics.fmean(a.label == b.label for a, b in zip(ours, theirs, strict=True)),
    }


def timed(ways: dict[str, Callable[[], object]], rounds: int, texts: int) -> list[dict[str, Any]]:
    return [
        {
            "way": name,
            "texts per second": texts / times.median(),
            "milliseconds of processor per text": 1000 * times.median("processor") / texts,
            "ratio": statistics.median(times.ratios("processor")),
        }
        for name, times in interleave(ways, reference="onnxruntime, predict", rounds=rounds).items()
    ]


def filled(page: str, report: dict[str, Any]) -> str:
    """Return the page with its tables up to date."""
    versions = ", ".join(f"{package} {number}" for package, number in report["versions"].items())
    close = ["| | largest difference | mean | rank correlation | same side of threshold | same label | MB |"]
    close.append("|---|---|---|---|---|---|---|")
    for name, row in report["agreement"].items():
        close.append(
            f"| {name} | {row['largest difference']:.1e} | {row['mean difference']:.1e} | "
            f"{row['rank correlation']:.4f} | {row['same side of the threshold']:.4f} | {row['same label']:.4f} | "
            f"{report['megabytes'][name]:.0f} |"
        )
    quick = [
        f"{report['texts']:,} texts of {report['words']:,} words, {report['model']} with the ExpNet of "
        f"{report['explainer']}, {report['threads']} thread, medians of {report['rounds']} rounds; {versions}.\n",
        "| | texts/s | CPU ms per text | CPU time / onnxruntime predict |",
        "|---|---|---|---|",
    ]
    for row in report["speed"]:
        quick.append(
            f"| {row['way']} | {row['texts per second']:.1f} | {row['milliseconds of processor per text']:.2f} | "
            f"{row['ratio']:.2f} |"
        )
    return between(between(page, "agreement", "\n".join(close)), "speed", "\n".join(quick))


if __name__ == "__main__":
    main()
