"""Make the embedded demos from the data: fine-tune the adapters, train an ExpNet on each, measure, write the cards.

    python scripts/make_demo.py ../shared/data runs/demo

Fine-tuning takes most of the time; what exists in the work folder is not made again.
`--full` also fine-tunes every weight of the base model, to compare the adapters with.
"""

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from expnet.benchmark.measure.measures import Values, mark_all, plausibility
from expnet.benchmark.measure.scores import ScoringJob, word_scores
from expnet.demo import FOLDER, adapted_classifier, base_model
from expnet.finetuning import FinetuneConfig, figures, finetune
from expnet.methods.learned import method_of
from expnet.methods.registry import find_method
from expnet.metrics.statistics import estimate
from expnet.model.batches import predict_texts
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record, read_records
from expnet.training.config import FitConfig
from expnet.training.fit import fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One demo; files are named `set/split` below the data folder, `+` joins them."""

    name: str
    train: str
    dev: str
    finetune: FinetuneConfig
    full: FinetuneConfig
    marked_train: str
    marked_dev: str | None
    tests: tuple[tuple[str, str], ...]  # file, field of the marks
    label_names: Mapping[str, str] = field(default_factory=dict)
    drop_overlap: str | None = None  # a test set whose texts are left out of training and development
    fit: FitConfig = field(default_factory=FitConfig)


LORA = FinetuneConfig(lora_rank=32, bf16=True)
FULL = FinetuneConfig(learning_rate=5e-5, bf16=True)
RECIPES = (
    Recipe(
        name="sentiment",
        train="sst2/train",
        dev="sst2/dev",
        label_names={"0": "negative", "1": "positive"},
        drop_overlap="fair_sst",  # its sentences and phrases lie in SST-2 and in the treebank
        finetune=replace(LORA, epochs=4.0, learning_rate=6e-4, batch_size=64, lora_pooler=False),
        full=replace(FULL, epochs=4.0, batch_size=64),
        marked_train="sst_tree/train",
        marked_dev="sst_tree/dev",
        tests=(("fair_sst/test", "rationale"), ("sst_tree/test", "rationale")),
    ),
    Recipe(
        name="acceptability",
        train="cola/train",
        dev="cola/dev",
        label_names={"0": "unacceptable", "1": "acceptable"},
        finetune=replace(LORA, epochs=10.0, learning_rate=2e-4, select_by="mcc"),
        full=replace(FULL, epochs=5.0, select_by="mcc"),
        marked_train="cola_minpairs/train",
        marked_dev=None,  # both development files are the test here; a tenth of train is held out instead
        tests=(("cola_minpairs/dev+cola_minpairs/dev_ood", "rationale"),),
    ),
    Recipe(
        name="hate-speech",
        train="hatexplain/train",
        dev="hatexplain/val",
        finetune=replace(LORA, epochs=3.0, learning_rate=3e-4, select_by="macro_f1"),
        full=replace(FULL, epochs=3.0, select_by="macro_f1"),
        marked_train="hatexplain/train",
        marked_dev="hatexplain/val",
        tests=(("hatexplain/test", "rationale"), ("hatexplain/test", "rationale_majority")),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", choices=[recipe.name for recipe in RECIPES])
    parser.add_argument("--full", action="store_true", help="also fine-tune every weight, to compare")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for recipe in RECIPES:
        if args.only in (None, recipe.name):
            make(recipe, args.data, args.work / recipe.name, FOLDER / recipe.name, full=args.full)


def make(recipe: Recipe, data: Path, work: Path, shipped: Path, *, full: bool) -> None:
    dev = read(data, recipe.dev)
    tune(recipe, data, dev, work / "adapter", recipe.finetune)
    if full:
        tune(recipe, data, dev, work / "full", recipe.full)
    ship_adapter(work / "adapter", shipped / "classifier")
    classifier = adapted_classifier(shipped / "classifier", name=f"demo/{recipe.name}")
    reached = figures(*answers(classifier, dev, recipe.label_names))
    print(recipe.name, "shipped classifier on", recipe.dev, reached)

    overlap = recipe.drop_overlap
    marked_dev = None if recipe.marked_dev is None else read(data, recipe.marked_dev, drop_overlap=overlap)
    network = fit(
        classifier,
        read(data, recipe.marked_train, drop_overlap=overlap),
        dev=marked_dev,
        start="nothing",
        config=recipe.fit,
        cache=work / "cache",
        progress=True,
        name=recipe.marked_train,
    )
    shutil.rmtree(shipped / "explainer", ignore_errors=True)
    network.save_pretrained(shipped / "explainer")
    share = marked_share(marked_dev or read(data, recipe.marked_train))
    rows = []
    for file, marks in recipe.tests:
        name = file if marks == "rationale" else f"{file}, {marks.removeprefix('rationale_')}"
        rows += evaluate(classifier, network, read(data, file, marks), share=share, name=name)
    write_cards(recipe, work, shipped, network, reached, rows)


def read(data: Path, files: str, rationale: str = "rationale", drop_overlap: str | None = None) -> list[Record]:
    return [
        record
        for file in files.split("+")
        for record in read_records(data / f"{file}.jsonl.gz", rationale=rationale, drop_overlap=drop_overlap)
    ]


def tune(recipe: Recipe, data: Path, dev: Sequence[Record], folder: Path, config: FinetuneConfig) -> None:
    if not (folder / "finetune.json").is_file():
        train = read(data, recipe.train, drop_overlap=recipe.drop_overlap)
        resume = any(folder.glob("checkpoints/checkpoint-*"))
        finetune(base_model(), train, dev, folder, config, label_names=dict(recipe.label_names), resume=resume)


def ship_adapter(source: Path, target: Path) -> None:
    """Copy an adapter in half precision, without the paths of this machine."""
    target.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half() for name, tensor in load_file(source / "adapter_model.safetensors").items()}
    save_file(weights, target / "adapter_model.safetensors")
    for file, key in (("adapter_config.json", "base_model_name_or_path"), ("config.json", "_name_or_path")):
        content = json.loads((source / file).read_text())
        content[key] = "sentence-transformers/all-MiniLM-L6-v2"
        (target / file).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def answers(classifier: Classifier, records: Sequence[Record], names: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the labels of the records and the classes the classifier gives them."""
    chosen = predict_texts(classifier, [record.text for record in records]).chosen.tolist()
    expected = [names.get(str(record.label), str(record.label)) for record in records]
    return expected, [classifier.labels[index] for index in chosen]


def marked_share(records: Sequence[Record]) -> float:
    """Return the share of marked words in annotated texts."""
    marks = [mark for record in records if record.rationale is not None for mark in record.word_marks()]
    return sum(marks) / len(marks)


def evaluate(
    classifier: Classifier, network: ExpNet, records: Sequence[Record], *, share: float, name: str
) -> list[dict[str, Any]]:
    """Return the figures of the ExpNet, of raw attention and of the floors on annotated texts with a marked word.

    Means over texts with their 95 % bootstrap intervals. F1 marks the given share of each text's words, the same for
    every method; one more row marks the words above the threshold that the network carries. `gain` is the mean
    difference in average precision to raw attention, text by text.
    """
    records = [record for record in records if record.rationale and any(record.word_marks())]
    marks = [np.array(record.word_marks(), dtype=bool) for record in records]
    jobs = (ScoringJob(method_of(network), {}, 0, network), ScoringJob(find_method("raw_attention"), {}))
    # Neither depends on the class.
    own, attention = (word_scores(classifier, records, [0] * len(records), job) for job in jobs)
    chance = np.random.default_rng(0)
    learned = plausibility(own, marks, share, network.config.threshold)
    by_method = {
        "ExpNet": learned,
        "ExpNet, own threshold": learned | {"f1": learned["own_f1"]},
        "raw attention": plausibility(attention, marks, share),
        "random": plausibility([chance.random(len(word_marks)) for word_marks in marks], marks, share),
        "mark all": mark_all(marks),
    }
    about = {"set": name, "n": len(records)}
    return [
        about | {"method": method} | means(values, by_method["raw attention"]) for method, values in by_method.items()
    ]


def means(values: Values, reference: Values) -> dict[str, Any]:
    """Return means and intervals of what the cards show."""
    columns = {metric: np.array(values[metric]) for metric in ("auroc", "average_precision", "f1")}
    columns["gain"] = columns["average_precision"] - np.array(reference["average_precision"])
    reached = {metric: estimate(values) for metric, values in columns.items()}
    return {metric: estimated.mean for metric, estimated in reached.items()} | {
        f"{metric}_interval": [estimated.low, estimated.high] for metric, estimated in reached.items()
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a table."""
    lines = ["| set | n | method | AUROC | average precision | F1 |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [
            f"{row[metric]:.3f} [{row[f'{metric}_interval'][0]:.3f}, {row[f'{metric}_interval'][1]:.3f}]"
            for metric in ("auroc", "average_precision", "f1")
        ]
        lines.append(f"| {row['set']} | {row['n']} | {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_cards(
    recipe: Recipe,
    work: Path,
    shipped: Path,
    network: ExpNet,
    reached: Mapping[str, float],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    report = {
        "classifier": {
            "base": "sentence-transformers/all-MiniLM-L6-v2",
            "train": recipe.train,
            "dev": recipe.dev,
            "dev_figures": reached,
            "finetune": json.loads((work / "adapter" / "finetune.json").read_text()),
        },
        "explainer": {"provenance": network.config.provenance, "results": list(rows)},
    }
    full = work / "full" / "finetune.json"
    if full.is_file():
        report["classifier"]["full_fine_tuning"] = json.loads(full.read_text())
    (shipped / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    figures_line = ", ".join(f"{name} {value:.3f}" for name, value in reached.items())
    (shipped / "classifier" / "README.md").write_text(
        f"# expnet demo: {recipe.name} classifier\n\nA LoRA adapter (rank {recipe.finetune.lora_rank}, half precision) "
        f"on sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0), fine-tuned on {recipe.train} and shipped for trying "
        f"out expnet, not for decisions about people.\n\nOn {recipe.dev}: {figures_line}.\n\n"
        "Made by `python scripts/make_demo.py`; all settings are in `../report.json`.\n"
    )
    card = shipped / "explainer" / "README.md"
    card.write_text(
        f"{card.read_text()}\n## In-domain plausibility\n\nTrained on {recipe.marked_train}. Words; means over texts, "
        f"95 % bootstrap intervals over texts; one seed.\n\n{markdown(rows)}\n"
    )


if __name__ == "__main__":
    main()
