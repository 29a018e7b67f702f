"""How many texts of mixed lengths are explained per second, compared with prediction alone."""

import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, pipeline

from expnet.attention.borrow import borrow
from expnet.explainer import Explainer
from expnet.export.batches import encode, feeds
from expnet.export.explaining import OnnxExplainer
from expnet.model.batches import predict_texts
from expnet.model.classifier import Classifier
from expnet.runtime.progress import track
from expnet.runtime.versions import versions
from expnet.text.texts import Text
from expnet.text.windows import in_chunks
from expnet.timing.clock import Run, Times, interleave, quartiles, timed

BATCHES = (1, 8, 32)


@dataclass(frozen=True, slots=True)
class Throughput:
    """One way through all texts.

    Attributes:
        name: "pipeline, batches of N" is transformers' own prediction in batches of N in the order of the texts.
        texts_per_second: Median over the rounds, by the clock.
        ratio: Median, over the rounds, of its texts a second over those of the best pipeline in the same round.
        low: First quartile of that.
        high: Third quartile.
        processor: Median milliseconds of processor time for a text, which other processes disturb less.
        padding: Share of padding among the tokens that the model read, in [0, 1]; None where the model is not torch's.
        rounds: How often it ran.
    """

    name: str
    texts_per_second: float
    ratio: float
    low: float
    high: float
    processor: float
    padding: float | None
    rounds: int


def measure(
    explainer: Explainer,
    texts: Sequence[str],
    *,
    rounds: int = 5,
    batches: Sequence[int] = BATCHES,
    exported: OnnxExplainer | None = None,
    target: str | int | None = None,
    progress: bool = False,
) -> list[Throughput]:
    """Time all texts, from strings to results, in rounds in which each way runs once; long texts are cut by all.

    Args:
        explainer: A classifier and its ExpNet.
        texts: In random order.
        rounds: How often each way runs; the pipeline runs with the best of `batches` alone, which is chosen beforehand
            on a fifth of the texts.
        batches: Batch sizes of the pipeline to choose from.
        exported: Also time the graph of the same explainer: explaining, and only predicting.
        target: Class to explain, as for `Explainer.explain`.
        progress: Show a progress bar.
    """
    classifier = explainer.classifier
    classifier.support  # noqa: B018  # found once, not while the clock runs
    few = texts[: max(50, len(texts) // 5)]
    device = classifier.model.device
    trial = {
        size: timed(_pipeline(classifier, few, size), device).seconds
        for size in track(batches, "pipeline", show=progress)
    }
    size = min(trial, key=trial.__getitem__)
    best = f"pipeline, batches of {size}"
    ways = {
        best: _pipeline(classifier, texts, size),
        "predict, sorted by length": lambda: _predict(classifier, texts),
    }
    ways["explain"] = lambda: explainer.explain(list(texts), target=target, truncate=True)
    if exported is not None:
        ways["onnxruntime, predict"] = lambda: _predict_exported(exported, texts)
        ways["onnxruntime, explain"] = lambda: exported.explain(list(texts), target=target, truncate=True)
    padding = {name: _padding(way, classifier.model) for name, way in ways.items()}  # which also warms up
    times = interleave(ways, reference=best, rounds=rounds, device=device, warm=True, progress=progress)
    return [_summary(name, times[name], padding[name], len(texts)) for name in ways]


def report(explainer: Explainer, texts: Sequence[str], ways: Sequence[Throughput]) -> dict[str, object]:
    """Return the figures, with the model, device and versions they were taken on, as JSON types."""
    classifier = explainer.classifier
    lengths = [reading.length for reading in classifier.read(_items(texts), truncate=True)]
    return {
        "model": classifier.name,
        "device": torch.cuda.get_device_name() if classifier.model.device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "dtype": str(classifier.model.dtype).removeprefix("torch."),
        "versions": versions(),
        "texts": len(texts),
        "tokens": {"median": statistics.median(lengths), "mean": statistics.fmean(lengths), "most": max(lengths)},
        "budget": classifier.budget,
        "ways": [asdict(way) for way in ways],
    }


def table(measured: Mapping[str, Any]) -> str:
    """Return a report as Markdown."""
    packages = ", ".join(f"{name} {value}" for name, value in measured["versions"].items())
    tokens = measured["tokens"]
    lines = [
        f"{measured['texts']:,} texts of {tokens['median']:.0f} tokens (median), {tokens['mean']:.0f} on average and "
        f"{tokens['most']} at most; {measured['model']}, {measured['device']}, {measured['threads']} threads, "
        f"{measured['dtype']}; {packages}.",
        "",
        "| | texts/s | ratio to the pipeline | quartiles | CPU ms per text | padding |",
        "|---|---|---|---|---|---|",
    ]
    for way in (Throughput(**fields) for fields in measured["ways"]):
        padding = "–" if way.padding is None else f"{100 * way.padding:.1f} %"
        lines.append(
            f"| {way.name} | {way.texts_per_second:.1f} | {way.ratio:.2f} | {way.low:.2f} – {way.high:.2f} | "
            f"{way.processor:.1f} | {padding} |"
        )
    return "\n".join(lines)


def _pipeline(classifier: Classifier, texts: Sequence[str], size: int) -> Run:
    model, limit = classifier.model, classifier.max_length
    piped: Any = pipeline("text-classification", model=model, tokenizer=classifier.tokenizer, device=model.device)  # type: ignore[call-overload]
    return lambda: piped(list(texts), batch_size=size, truncation=True, max_length=limit)


def _predict(classifier: Classifier, texts: Sequence[str]) -> list[list[float]]:
    """Predict in the batches in which `Explainer.explain` explains."""
    outputs: list[list[float]] = predict_texts(classifier, _items(texts), truncate=True).outputs.tolist()
    return outputs


def _predict_exported(exported: OnnxExplainer, texts: Sequence[str]) -> list[list[float]]:
    """Run no more of the graph than the logits need."""
    from onnxruntime import RunOptions

    items, probabilities, options = _items(texts), list[list[float]](), RunOptions()
    options.only_execute_path_to_fetches = True
    for chunk in in_chunks(items):
        encoded = encode(exported.tokenizer, [items[index] for index in chunk], exported.manifest, truncate=True)
        for _, feed in feeds(encoded, exported.manifest):
            probabilities += torch.from_numpy(exported.session.run(["logits"], feed, options)[0]).softmax(-1).tolist()
    return probabilities


def _items(texts: Sequence[str]) -> list[Text]:
    return [Text(text, None, ()) for text in texts]  # no words, which a prediction does not need


def _padding(way: Run, model: PreTrainedModel) -> float | None:
    with _counted(model) as read:
        way()
    padded = sum(whole for whole, _ in read)
    return 1 - sum(real for _, real in read) / padded if padded else None


@contextmanager
def _counted(model: PreTrainedModel) -> Iterator[list[tuple[int, int]]]:
    """Count the tokens of each pass, with padding and without."""
    read: list[tuple[int, int]] = []

    def see(_module: Any, _args: Any, given: Mapping[str, torch.Tensor]) -> None:
        mask = given["attention_mask"]
        read.append((mask.numel(), int(mask.sum())))

    with borrow(model):
        hook = model.register_forward_pre_hook(see, with_kwargs=True)
        try:
            yield read
        finally:
            hook.remove()


def _summary(name: str, times: Times, padding: float | None, texts: int) -> Throughput:
    low, middle, high = quartiles([1 / ratio for ratio in times.ratios()])  # texts a second, not seconds a text
    return Throughput(
        name=name,
        texts_per_second=texts / times.median(),
        ratio=middle,
        low=low,
        high=high,
        processor=1000 * times.median("processor") / texts,
        padding=padding,
        rounds=len(times.took),
    )
