"""A small language model, trained here to answer a prompt, and how its explanations compare with raw attention.

    python scripts/measure_prompts.py ../shared/data FOLDER
    python scripts/tables.py

Trains a tokenizer (byte-level BPE) and a GPT-2 of two layers from scratch on SST-2, whose phrases it reads in a prompt
and answers with " good" or " bad"; some minutes on one idle core. FOLDER keeps the model, which a second run
measures without training. Everything is seeded. Development splits only: accuracy on SST-2, explanations on the marked
sentences of the sentiment treebank, of whose training split some are read without marks to adapt explainers.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import expnet
from expnet.benchmark.prepare.data import draw
from expnet.errors import ExpnetError
from expnet.metrics.faithfulness import comprehensiveness, perturbation_curves
from expnet.metrics.plausibility import average_precision
from expnet.metrics.statistics import estimate, paired_test
from expnet.model.batches import predict_texts
from expnet.network.channels import Tier
from expnet.network.universal import universal
from expnet.rationales import Record, read_records
from expnet.text.prompts import Prompt

PROMPT = Prompt(template="Review: {text}\nIt is", labels={"negative": " bad", "positive": " good"})
METHODS = (
    "expnet",
    "raw_attention",
    "rollout",
    "generic_relevance",
    "saliency",
    "input_x_gradient",
    "conservative_propagation",
    "leave_one_out",
    "random",
)
VOCABULARY, WIDTH, LAYERS, HEADS, POSITIONS = 8000, 128, 2, 4, 160
STEPS, BATCH, RATE, SEED = 1000, 64, 3e-3, 0
TEXTS, UNMARKED = 100, 200
OUTPUT = Path(__file__).parents[1] / "docs" / "prompts.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    args = parser.parse_args()
    if not (args.folder / "config.json").is_file():
        train(read_records(args.data / "sst2" / "train.jsonl.gz"), args.folder, args.steps)
    explainer = expnet.load(args.folder, prompt=PROMPT)
    report: dict[str, Any] = {
        "accuracy": accuracy(explainer, read_records(args.data / "sst2" / "dev.jsonl.gz")),
        "texts": TEXTS,
        "seed": SEED,
        "expnet": expnet.__version__,
    }
    unmarked = [record.text for record in marked(args.data / "sst_tree" / "train.jsonl.gz", UNMARKED)]
    networks = {"universal": universal("gradient"), "universal/attention": universal("attention")}
    tiers: tuple[Tier, ...] = ("gradient", "attention")
    for tier in tiers:
        networks[f"adapted, {tier}"] = expnet.adapt(explainer.classifier, universal("gradient"), unmarked, tier=tier)
    report["explanations"] = compared(explainer, marked(args.data / "sst_tree" / "dev.jsonl.gz", TEXTS), networks)
    OUTPUT.write_text(json.dumps(report, indent=1) + "\n")


def train(records: Sequence[Record], folder: Path, steps: int) -> None:
    """Train tokenizer and model, and save both."""
    tokenizer = byte_level([record.text.text for record in records])
    torch.manual_seed(SEED)
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        n_positions=POSITIONS,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = transformers.GPT2LMHeadModel(config)
    classifier = expnet.Classifier(model, tokenizer, prompt=PROMPT)
    answers = torch.tensor([tokens[0] for tokens in classifier.model.config.label_tokens])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)
    model.train()
    for step, batch in enumerate(batches(records, steps)):
        encoding = classifier.encode([record.text for record in batch])
        hidden = model.transformer(**encoding.inputs())[0]
        last = encoding.mask.sum(1) - 1
        logits = model.lm_head(hidden[torch.arange(len(last)), last])
        label = torch.tensor([int(str(record.label) in ("1", "positive")) for record in batch])
        loss = torch.nn.functional.cross_entropy(logits, answers[label])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {float(loss):.3f}", flush=True)
    model.train(False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def byte_level(texts: Sequence[str]) -> transformers.PreTrainedTokenizerFast:
    """Train a byte-level BPE on texts in the prompt."""
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    answered = [PROMPT.template.replace("{text}", text) + word for text in texts for word in PROMPT.labels.values()]
    engine.train_from_iterator(answered, trainer)
    wrapper: Any = transformers.PreTrainedTokenizerFast
    made: transformers.PreTrainedTokenizerFast = wrapper(
        tokenizer_object=engine,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=POSITIONS,
    )
    return made


def batches(records: Sequence[Record], steps: int) -> Iterator[list[Record]]:
    """Yield batches of texts of similar length, drawn from shuffled pools."""
    generator = torch.Generator().manual_seed(SEED)
    made = 0
    while True:
        order = torch.randperm(len(records), generator=generator).tolist()
        for start in range(0, len(order), 50 * BATCH):
            pool = sorted(order[start : start + 50 * BATCH], key=lambda place: records[place].text.characters)
            for first in torch.randperm(len(pool) // BATCH, generator=generator).tolist():
                if made == steps:
                    return
                made += 1
                yield [records[place] for place in pool[first * BATCH : (first + 1) * BATCH]]


def accuracy(explainer: expnet.Explainer, records: Sequence[Record]) -> float:
    """Return the share of texts whose label is predicted."""
    chosen = predict_texts(explainer.classifier, [record.text for record in records]).chosen.numpy()
    return float(np.mean(chosen == [int(str(record.label) in ("1", "positive")) for record in records]))


def marked(path: Path, count: int) -> list[Record]:
    """Draw records that have a marked and an unmarked word."""
    records = [record for record in read_records(path) if record.rationale and len(set(record.word_marks())) == 2]
    return [records[place] for place in draw(records, count, SEED)]


def compared(
    explainer: expnet.Explainer, records: Sequence[Record], networks: Mapping[str, expnet.ExpNet]
) -> dict[str, dict[str, object]]:
    """Return for each method its agreement with marks and what its top words are worth, and p against raw attention."""
    texts, scores = [record.text for record in records], {}
    explainers = {name: expnet.Explainer(explainer.classifier, network) for name, network in networks.items()}
    for method in METHODS:
        options = {"replacement": "pad"} if method == "leave_one_out" else {}
        for name, one in explainers.items() if method == "expnet" else [(method, explainer)]:
            try:
                explained = one.explain(texts, method=method, options=options, seed=SEED)
            except ExpnetError as error:
                print(f"{name} is left out: {error}")
                continue
            scores[name] = [np.array([word.score for word in explanation.words]) for explanation in explained]
    encoding = explainer.classifier.encode(texts)
    target = explainer.classifier.predict(encoding).chosen
    curves = perturbation_curves(explainer.classifier, encoding, target, scores, replacement="delete", kept=False)
    marks = [np.array(record.word_marks(), dtype=bool) for record in records]
    figures = {
        name: {
            "average precision": np.array([average_precision(*pair) for pair in zip(words, marks, strict=True)]),
            "comprehensiveness": comprehensiveness(curves[name]),
        }
        for name, words in scores.items()
    }
    return {
        name: {
            figure: [round(value, 3) for value in (estimate(values).mean, estimate(values).low, estimate(values).high)]
            + [round(paired_test(values, figures["raw_attention"][figure]), 4)]
            for figure, values in both.items()
        }
        for name, both in figures.items()
    }


if __name__ == "__main__":
    main()
