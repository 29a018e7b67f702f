"""The cost of each attribution method compared with the bare prediction, and the architectures on which it works.

    python scripts/measure_methods.py speed --output docs/methods.json
    python scripts/measure_methods.py support --output docs/methods.json
    python scripts/tables.py

Speed: the embedded demo, 32 sentences of 27 tokens in one batch, one thread. Both sides begin with strings, as they
must be tokenized; the prediction is plain transformers under SDPA. The clock is CPU time of the process, so that other
programs have little effect. The method and the prediction take turns; the median, smallest and largest ratio of
neighbouring runs are kept. Other libraries are measured in the same run, called as in their documentation, for the same
texts; those that are not installed are left out.

With `--only` the figures of the named methods alone are measured and replaced; a row that was measured with other
versions than those at the top of the file says with which.

Support: every method's contract is tested on a tiny random model of each architecture.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import expnet
from expnet.errors import ExpnetError
from expnet.methods.registry import TABLE, find_method
from expnet.network.channels import Tier
from expnet.network.heads import HeadSetConfig
from expnet.timing.clock import interleave

sys.path.insert(0, str(Path(__file__).parents[1]))
BATCH, TOKENS = 32, 27
# One WordPiece token each, so that lengths are exact.
SENTENCE = "a gripping film with a wooden lead and the best story of this year , never dull but too long for my taste"
WORDS = SENTENCE.split()
# Beside the defaults: the settings that other libraries use.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    name: [{"replacement": "delete"}] for name in ("leave_one_out", "lime", "kernel_shap", "partition_shap")
}
GRADIENT = expnet.ExpNetConfig(architecture="any", layers=0, heads=0, hidden=(32,), features=HeadSetConfig(), used=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["speed", "support"])
    parser.add_argument("--repeats", type=int, default=9, help="of quick methods; slow ones get fewer, one at least")
    parser.add_argument("--seconds", type=float, default=20.0, help="to spend on the repeats of one method")
    parser.add_argument("--only", nargs="+", default=[], metavar="METHOD", help="the others keep their figures")
    parser.add_argument("--output", type=Path, help="also write the figures into this JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.only:
        find_method(name)  # an error offers the nearest name
    chosen = [method for method in TABLE if not args.only or method.name in args.only]
    measured = support(chosen) if args.what == "support" else speed(chosen, args.repeats, args.seconds, not args.only)
    if args.output:
        before = json.loads(args.output.read_text()) if args.output.exists() else {}
        kept = merged(before[args.what], measured) if args.only and args.what in before else measured
        args.output.write_text(json.dumps(before | {args.what: kept}, indent=1, ensure_ascii=False) + "\n")


def merged(before: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    """Return a report in which the methods that were measured again have new figures, and all others their old ones.

    Methods are in the order of the table, and those that are no longer in it are left out.
    """
    if isinstance(measured["methods"], dict):  # which architectures they support
        rows = before["methods"] | measured["methods"]
        return before | {"methods": {method.name: rows[method.name] for method in TABLE if method.name in rows}}
    again = {row["name"] for row in measured["methods"]}
    differ = measured["versions"] != before["versions"]
    new = [row | ({"versions": measured["versions"]} if differ else {}) for row in measured["methods"]]
    order = [method.name for method in TABLE]
    kept = [row for row in before["methods"] if row["name"] in order and row["name"] not in again]
    return before | {"methods": sorted(kept + new, key=lambda row: order.index(row["name"]))}


def versions() -> str:
    return f"torch {torch.__version__}, transformers {transformers.__version__}, expnet {expnet.__version__}"


def support(methods: list[expnet.Method]) -> dict[str, Any]:
    from tests.support import MODELS, outcome

    rows = {}
    for method in methods:
        rows[method.name] = {architecture: outcome(method, architecture) for architecture in MODELS}
        print(method.name, *(f"{name}: {why or 'yes'}" for name, why in rows[method.name].items()), sep="\n  ")
    return {"versions": versions(), "methods": rows}


def speed(methods: list[expnet.Method], repeats: int, seconds: float, peers: bool) -> dict[str, Any]:
    explainer = expnet.load("demo/sentiment")
    texts = [" ".join((WORDS * 3)[shift : shift + TOKENS - 2]) for shift in range(BATCH)]
    predict = bare(explainer, texts)
    report: dict[str, Any] = {"model": "demo/sentiment", "batch": BATCH, "tokens": TOKENS, "threads": 1}
    report |= {"versions": versions(), "methods": [], "peers": []}
    heads = explainer.classifier.support.layers * explainer.classifier.support.heads
    for method in methods:
        for options in [{}, *SETTINGS.get(method.name, [])]:
            given = {"documents": texts, "weights": [1 / heads] * heads}
            needed = {name: value for name, value in given.items() if name in method.options}
            # No demo has a network with gradients; its weights do not affect the time.
            network = explainer.network
            if method.uses_target:
                tier: Tier = "difference" if method.name == "expnet_difference" else "gradient"
                network = expnet.ExpNet(replace(GRADIENT, features=HeadSetConfig(tier=tier))).eval()

            def run(
                method: expnet.Method = method,
                options: dict[str, Any] = options | needed,
                network: expnet.ExpNet | None = network,
            ) -> object:
                encoding = explainer.classifier.encode([expnet.Text.of(text) for text in texts])
                target = torch.zeros(len(encoding), dtype=torch.long)
                return method.attribute(explainer.classifier, encoding, target, options=options, network=network)

            report["methods"].append(
                {"name": method.name, "options": options} | compare(predict, run, repeats, seconds)
            )
            show(report["methods"][-1])
    for name, explain in others(explainer, texts) if peers else ():
        report["peers"].append({"name": name} | compare(predict, explain, repeats, seconds))
        show(report["peers"][-1])
    return report


def bare(explainer: expnet.Explainer, texts: list[str]) -> Callable[[], object]:
    """Return the prediction as plain transformers makes it, after checking that the lengths are as announced."""
    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer

    def predict() -> object:
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        if inputs["input_ids"].shape != (BATCH, TOKENS):
            raise SystemExit(f"expected {TOKENS} tokens, got {inputs['input_ids'].shape[1]}: another vocabulary?")
        with torch.inference_mode():
            return model(**inputs).logits.softmax(-1).tolist()

    if model.config._attn_implementation != "sdpa":
        raise SystemExit(f"the bare prediction runs under {model.config._attn_implementation}, not sdpa")
    return predict


def compare(predict: Callable[[], object], run: Callable[[], object], repeats: int, seconds: float) -> dict[str, Any]:
    runs = {"prediction": predict, "run": run}
    times = interleave(runs, reference="prediction", rounds=repeats, seconds=seconds)["run"]
    ratios = times.ratios("processor")
    return {"ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios), "repeats": len(ratios)}


def show(row: dict[str, Any]) -> None:
    options = row.get("options") or ""
    print(
        f"{row['name']:28}{row['ratio']:9.2f}  [{row['least']:.2f}, {row['most']:.2f}] {row['repeats']}  {options}",
        flush=True,
    )


def others(explainer: expnet.Explainer, texts: list[str]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield calls of other libraries that explain class 0 of the same texts, 8 of them where a text takes long."""
    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer

    def logits(batch: list[str]) -> np.ndarray:
        inputs = tokenizer(list(batch), padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits: np.ndarray = model(**inputs).logits.numpy()
        return logits

    def in_batches(batch: list[str]) -> np.ndarray:
        return np.concatenate([logits(list(batch[start : start + 32])) for start in range(0, len(batch), 32)])

    if find_spec("captum"):
        yield "captum LayerGradientXActivation", captum("LayerGradientXActivation", explainer, texts, {})
        options = {"n_steps": 50, "internal_batch_size": 288}
        yield "captum LayerIntegratedGradients, 50 steps", captum("LayerIntegratedGradients", explainer, texts, options)
    if find_spec("shap"):
        import shap

        partition = shap.Explainer(in_batches, shap.maskers.Text(tokenizer), silent=True)
        yield "shap Partition, 500 evaluations", lambda: partition(texts, max_evals=500, batch_size=32)
        kernel = kernel_shap(explainer)
        yield "shap KernelExplainer, 200 samples", lambda: [kernel(text) for text in texts]
    if find_spec("lime"):
        from lime.lime_text import LimeTextExplainer

        lime = LimeTextExplainer(class_names=explainer.classifier.labels, random_state=0)

        def softmax(batch: list[str]) -> np.ndarray:
            return torch.from_numpy(in_batches(batch)).softmax(-1).numpy()

        yield (
            "lime, 500 samples",
            lambda: [lime.explain_instance(text, softmax, num_features=TOKENS, num_samples=500) for text in texts],
        )


def captum(name: str, explainer: expnet.Explainer, texts: list[str], options: dict[str, Any]) -> Callable[[], object]:
    import captum.attr

    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer
    method = getattr(captum.attr, name)(
        lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits, model.get_input_embeddings()
    )

    def run() -> object:
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        ids = inputs["input_ids"]
        base = {"baselines": torch.full_like(ids, tokenizer.mask_token_id)} if options else {}
        return method.attribute(ids, target=0, additional_forward_args=(inputs["attention_mask"],), **base, **options)

    return run


def kernel_shap(explainer: expnet.Explainer) -> Callable[[str], object]:
    """shap's KernelExplainer over the tokens of one text, replaced by [MASK], in batches of 32."""
    import shap

    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer

    def explain(text: str) -> object:
        ids = np.array(tokenizer(text)["input_ids"])
        inner = slice(1, len(ids) - 1)

        def value(keep: np.ndarray) -> np.ndarray:
            rows = np.tile(ids, (len(keep), 1))
            rows[:, inner] = np.where(keep.astype(bool), rows[:, inner], tokenizer.mask_token_id)
            with torch.inference_mode():
                parts = [model(input_ids=torch.tensor(rows[at : at + 32])).logits for at in range(0, len(rows), 32)]
            return torch.cat(parts)[:, 0].numpy()

        count = len(ids) - 2
        return shap.KernelExplainer(value, np.zeros((1, count))).shap_values(
            np.ones((1, count)), nsamples=200, silent=True
        )

    return explain


if __name__ == "__main__":
    try:
        main()
    except ExpnetError as error:
        raise SystemExit(str(error)) from None
