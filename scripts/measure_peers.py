"""The cost of explanations by other libraries and by expnet, on the same texts in one run; into docs/peers.json.

    python scripts/measure_peers.py --model demo/sentiment
    python scripts/measure_peers.py --model bert-base
    python scripts/tables.py

Each way and the bare prediction of the same texts take turns, in CPU time, so that other programs have little effect;
median, smallest and largest ratio of neighbouring runs are kept. Every library is called as in its documentation, in
the largest batches that it takes. Those that are not installed are named as such. "bert-base" has the size of BERT-base
and random weights, which do not affect the time.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measure_methods import compare, others, show, versions
from transformers import BertConfig, BertForSequenceClassification

import expnet
from expnet.network.universal import universal
from expnet.timing.clock import timed
from expnet.timing.lengths import texts_of_length

OUTPUT = Path(__file__).parents[1] / "docs" / "peers.json"
PEERS = ("captum", "shap", "lime", "transformers-interpret", "interpreto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=["demo/sentiment", "bert-base"], default="demo/sentiment")
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9, help="of quick ways; slow ones get fewer, one at least")
    parser.add_argument("--seconds", type=float, default=30.0, help="to spend on the repeats of one way")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own
    torch.set_num_threads(args.threads)
    explainer = loaded(args.model)
    texts = texts_of_length(explainer, args.tokens, args.texts)
    predict, rows = bare(explainer, texts), []
    for name, run in [*ours(explainer, texts), *others(explainer, texts), *more(explainer, texts)]:
        rows.append({"name": name} | compare(predict, run, args.repeats, args.seconds))
        show(rows[-1])
    report = {
        "texts": args.texts,
        "tokens": args.tokens,
        "threads": args.threads,
        "versions": ", ".join([versions(), *(f"{name} {installed(name)}" for name in PEERS)]),
        "prediction_ms": 1000 * statistics.median(timed(predict).processor for _ in range(args.repeats)),
        "rows": rows,
    }
    before = json.loads(args.output.read_text()) if args.output.exists() else {}
    args.output.write_text(json.dumps(before | {args.model: report}, indent=1) + "\n")


def loaded(name: str) -> expnet.Explainer:
    demo = expnet.load("demo/sentiment", device="cpu")
    if name == "demo/sentiment":
        return demo
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig()).eval()
    classifier = expnet.Classifier(model, demo.classifier.tokenizer, name="BERT-base, random weights")
    config = expnet.ExpNetConfig(architecture="bert", layers=12, heads=12)
    return expnet.Explainer(classifier, expnet.ExpNet(config))


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def bare(explainer: expnet.Explainer, texts: Sequence[str]) -> Callable[[], object]:
    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer

    def predict() -> object:
        inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
        with torch.inference_mode():
            return model(**inputs).logits.softmax(-1).tolist()

    return predict


def ours(explainer: expnet.Explainer, texts: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield our own ways, each from strings to explanations; methods but the networks predict as well."""
    any_head = expnet.Explainer(explainer.classifier, universal("attention"))
    yield "expnet, its own ExpNet", lambda: explainer.explain(texts)
    yield "expnet, universal/attention", lambda: any_head.explain(texts)
    for name, options in (("raw_attention", {}), ("generic_relevance", {}), ("integrated_gradients", {"steps": 50})):
        yield (
            f"expnet, {name}",
            lambda name=name, options=options: explainer.explain(texts, method=name, options=options),
        )


def more(explainer: expnet.Explainer, texts: Sequence[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield calls of libraries that `measure_methods.others` lacks."""
    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer
    if find_spec("transformers_interpret"):
        from transformers_interpret import SequenceClassificationExplainer

        one = SequenceClassificationExplainer(model, tokenizer)
        yield "transformers-interpret, 50 steps, text by text", lambda: [one(text, index=0) for text in texts]
    if find_spec("interpreto"):
        from interpreto import IntegratedGradients, Saliency

        kinds: dict[str, tuple[Any, dict[str, Any]]] = {
            "saliency": (Saliency, {}),
            "integrated gradients, 50 steps": (IntegratedGradients, {"n_perturbations": 50}),
        }
        for name, (kind, options) in kinds.items():
            method = kind(model, tokenizer, batch_size=32, **options)
            yield f"interpreto, {name}", lambda method=method: method(list(texts))


if __name__ == "__main__":
    main()
