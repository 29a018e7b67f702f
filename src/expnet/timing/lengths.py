"""The cost of explanations compared with the bare prediction, from strings to results, by length of text."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import pipeline

from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.runtime.memory import peak
from expnet.runtime.progress import track
from expnet.runtime.versions import versions
from expnet.text.texts import Text
from expnet.timing.clock import Run, interleave, quartiles

BARE = "prediction"
_WORDS = ("a", "gripping", "film", "with", "one", "wooden", "lead", "and", "the", "best", "story", "of", "this", "year")
_SLOW = 5.0  # what takes more than this many predictions runs less often


@dataclass(frozen=True, slots=True)
class Timing:
    """One contender on texts of one length.

    Attributes:
        name: "prediction" is plain transformers; the others are methods, and its text-classification pipeline.
        tokens: Length of each text.
        batch: Texts.
        seconds: Median.
        ratio: Median, over the rounds, of its time over that of the prediction in the same round.
        low: First quartile of that.
        high: Third quartile.
        rounds: How often it ran.
        megabytes: By how much the most memory in use grew while it ran; NaN where the system does not say.
    """

    name: str
    tokens: int
    batch: int
    seconds: float
    ratio: float
    low: float
    high: float
    rounds: int
    megabytes: float


def sizes(tokens: Sequence[int], *, budget: int = 1024) -> list[tuple[int, int]]:
    """Return for each length how many texts of it a batch holds, 32 at most, and the length."""
    return [(max(1, min(32, budget // length)), length) for length in tokens]


def measure(
    explainer: Explainer,
    batches: Sequence[tuple[int, int]],
    *,
    rounds: int = 15,
    methods: Mapping[str, Mapping[str, object]],
    target: str | int | None = None,
    progress: bool = False,
) -> list[Timing]:
    """Time explanations and the bare prediction on the same texts, in rounds in which each runs once.

    Args:
        explainer: A classifier and its ExpNet, if it has one.
        batches: How many texts, and how many tokens each; at most what the classifier reads.
        rounds: How often the quick ones run; what takes more than 5 predictions runs a fifth as often.
        methods: Options by name of method; "expnet" is the explainer's own network.
        target: Class to explain, as for `Explainer.explain`.
        progress: Show a progress bar.

    Raises:
        InputError: If a text of such a length cannot be read or made; and as for `Explainer.explain`.
    """
    timings = []
    for batch, tokens in track(batches, lambda size: f"{size[0]} x {size[1]} tokens", show=progress):
        texts = texts_of_length(explainer, tokens, batch)
        runs = contenders(explainer, texts, methods, target=target)
        timings += compared(runs, tokens, batch, rounds, explainer.classifier.model.device)
    return timings


def texts_of_length(explainer: Explainer, tokens: int, count: int) -> list[str]:
    """Return `count` texts of `tokens` tokens each, special ones included, or a few less.

    Raises:
        InputError: If it reads no texts of this length, or not even a word fits.
    """
    classifier = explainer.classifier
    if tokens > classifier.max_length:
        raise InputError(f"{classifier.name} reads {classifier.max_length} tokens at most, got {tokens}.")
    words = _WORDS * (tokens // len(_WORDS) + 2)

    def length(number: int, shift: int) -> int:
        text = Text.of(" ".join(words[shift : shift + number]))
        return int(classifier.encode([text]).mask.sum())

    texts = []
    for shift in (place % len(_WORDS) for place in range(count)):
        number = max(1, tokens - length(0, 0))
        while number > 1 and length(number, shift) > tokens:
            number -= 1
        if length(number, shift) > tokens:
            raise InputError(f"Not even a word fits in {tokens} tokens of this tokenizer; try a greater length.")
        texts.append(" ".join(words[shift : shift + number]))
    return texts


def contenders(
    explainer: Explainer,
    texts: Sequence[str],
    methods: Mapping[str, Mapping[str, object]],
    *,
    target: str | int | None = None,
) -> dict[str, Run]:
    """Return what is timed: the bare prediction, the pipeline of transformers, and each method, on strings."""
    classifier = explainer.classifier
    model, tokenizer = classifier.model, classifier.tokenizer
    piped: Any = pipeline("text-classification", model=model, tokenizer=tokenizer, device=model.device)  # type: ignore[call-overload]

    def predict() -> object:
        inputs = tokenizer(list(texts), padding=True, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            return model(**inputs).logits.softmax(-1).tolist()

    def explain(name: str) -> Run:
        return lambda: explainer.explain(list(texts), method=name, options=methods[name], target=target)

    return {BARE: predict, "pipeline": lambda: piped(list(texts), batch_size=len(texts))} | {
        name: explain(name) for name in methods
    }


def compared(runs: Mapping[str, Run], tokens: int, batch: int, rounds: int, device: torch.device) -> list[Timing]:
    """Time what is to be compared, one of which is the bare prediction, in rounds in which each runs once.

    Args:
        runs: By name; what takes more than 5 predictions runs a fifth as often.
        tokens: Length of the texts that they take.
        batch: Number of texts.
        rounds: Number of rounds.
        device: Where they run.
    """
    timings = []
    for name, times in interleave(runs, reference=BARE, rounds=rounds, device=device, slow=_SLOW).items():
        low, middle, high = quartiles(times.ratios())
        megabytes = peak(runs[name], device)
        timings.append(Timing(name, tokens, batch, times.median(), middle, low, high, len(times.took), megabytes))
    return timings


def report(explainer: Explainer, timings: Sequence[Timing]) -> dict[str, object]:
    """Return the timings, with the model, device and versions they were taken on, as JSON types."""
    model = explainer.classifier.model
    return {
        "model": explainer.classifier.name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "layers": explainer.classifier.support.layers,
        "device": torch.cuda.get_device_name() if model.device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": versions(),
        "timings": [asdict(timing) for timing in timings],
    }


def write(measured: Mapping[str, object], path: Path) -> None:
    """Write a report as JSON."""
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")


def table(measured: Mapping[str, Any]) -> str:
    """Return a report as Markdown: a line per batch, and each one's time in predictions, with quartiles."""
    timings = [Timing(**fields) for fields in measured["timings"]]
    names = [name for name in dict.fromkeys(timing.name for timing in timings) if name != BARE]
    packages = ", ".join(f"{name} {value}" for name, value in measured["versions"].items())
    lines = [
        f"{measured['model']}, {measured['parameters'] / 1e6:.1f} M parameters, {measured['device']}, "
        f"{measured['threads']} threads, {measured['dtype']}; {packages}. Medians over rounds as multiples of the "
        "prediction's time, with quartiles, and memory beyond the prediction's.",
        "",
        "| tokens | batch | prediction, ms | " + " | ".join(names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    for size in dict.fromkeys((timing.batch, timing.tokens) for timing in timings):
        of = {timing.name: timing for timing in timings if (timing.batch, timing.tokens) == size}
        bare = of[BARE]
        cells = " | ".join(
            f"{of[name].ratio:.2f} ({of[name].low:.2f} – {of[name].high:.2f}), "
            f"{of[name].megabytes - bare.megabytes:+.0f} MB"
            for name in names
        )
        lines.append(f"| {bare.tokens} | {bare.batch} | {1000 * bare.seconds:.1f} | {cells} |")
    return "\n".join(lines)
