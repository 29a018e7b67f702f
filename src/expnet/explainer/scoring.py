"""Predict a batch and score its tokens for each class asked for, at the cost of what differs between classes."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.explainer.asking import AskedClasses, Call
from expnet.methods.coalitions import shared_logits
from expnet.methods.traced import run_together
from expnet.model.classifier import Classifier
from expnet.model.prediction import Prediction
from expnet.network.expnet import ExpNet
from expnet.network.inputs import read_features
from expnet.text.encoding import Encoding


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of tokens, and for which classes of each text they are: several, if they do not depend on the class."""

    chosen: Int[Tensor, "classes texts"]
    scores: Float[Tensor, "batch tokens"]


def score(
    classifier: Classifier, encoding: Encoding, calls: Sequence[Call], network: ExpNet | None
) -> tuple[Prediction, list[list[Scored]]]:
    """Predict texts and score their tokens by several methods, in one forward pass where they can share it.

    Args:
        classifier: The classifier.
        encoding: Windows.
        calls: What is asked for: for the same classes of each method.
        network: The ExpNet, if one of the methods is its.

    Returns:
        The prediction, and for each method the scores of the classes, in no particular order.
    """
    if classifier.hypotheses is not None:  # zero-shot labels are read one by one
        prediction = classifier.predict(encoding)
        return prediction, [_after_prediction(classifier, encoding, call, network, prediction) for call in calls]
    (call, *others) = calls
    if call.marks and network is not None and not others and not (call.asked.classes and network.uses_target):
        prediction, scores = _with_prediction(classifier, encoding, call, network)
        return prediction, [[scores]]
    prediction, traced = _traced(classifier, encoding, calls, network)
    return prediction, [
        traced.get(number) or _after_prediction(classifier, encoding, call, network, prediction)
        for number, call in enumerate(calls)
    ]


def _with_prediction(
    classifier: Classifier, encoding: Encoding, call: Call, network: ExpNet
) -> tuple[Prediction, Scored]:
    target: Tensor | Literal["predicted"] | None
    if not network.uses_target:
        target = None
    elif call.asked.target is not None:
        target = torch.full_like(encoding.text_of, call.asked.target)
    elif _single_windows(encoding):
        target = "predicted"
    else:  # only all windows of a text together say which class it is
        target = classifier.predict(encoding).chosen[encoding.text_of]
    logits, features = read_features(classifier, encoding, network.config.features, target=target)
    prediction = classifier.prediction(encoding, logits)  # says so where the model returned NaN
    return prediction, Scored(_chosen(prediction, call.asked), network.score(features))


def _traced(
    classifier: Classifier, encoding: Encoding, calls: Sequence[Call], network: ExpNet | None
) -> tuple[Prediction, dict[int, list[Scored]]]:
    """Predict texts in the pass that methods read; return the scores of those that can, by number."""
    runs = {}
    for number, call in enumerate(calls):
        of_call = network if call.learned else None
        run = call.method.traced(classifier, options=call.options, seed=call.seed, network=of_call)
        if run is not None:
            runs[number] = run
    if not runs:
        return classifier.predict(encoding), {}
    asked = calls[0].asked
    count = asked.classes or 1
    everything = asked.classes == len(classifier.labels)
    dependent = any(run.uses_target for run in runs.values())
    before = None
    if dependent and not everything and asked.target is None and not _single_windows(encoding):
        before = classifier.predict(encoding)  # only all windows of a text together say which class it is

    def choose(part: Encoding, logits: Tensor) -> Tensor:
        if asked.target is not None:
            return torch.full((1, len(part)), asked.target)
        if everything:  # in any order, so that the windows of a text need not agree on one
            return torch.arange(count)[:, None].repeat(1, len(part))
        return _most_probable(classifier.outputs(logits) if before is None else before.outputs[part.text_of], count)

    logits, targets, scores = run_together(classifier, encoding, choose, list(runs.values()))
    prediction = before or classifier.prediction(encoding, logits)
    ranked = torch.zeros(count, len(encoding.texts), dtype=torch.long)
    ranked[:, encoding.text_of] = targets

    def scored(of_run: Tensor, *, uses_target: bool) -> list[Scored]:
        if not uses_target or asked.classes is None:
            return [Scored(_chosen(prediction, asked), of_run[0])]
        return [Scored(row[None], of_class) for row, of_class in zip(ranked, of_run, strict=True)]

    return prediction, {
        number: scored(of_run, uses_target=run.uses_target)
        for (number, run), of_run in zip(runs.items(), scores, strict=True)
    }


def _after_prediction(
    classifier: Classifier, encoding: Encoding, call: Call, network: ExpNet | None, prediction: Prediction
) -> list[Scored]:
    chosen, target = _chosen(prediction, call.asked), call.asked.target
    zero_shot = classifier.hypotheses is not None  # the label is part of what is read
    groups = chosen.split(1) if call.method.uses_target or zero_shot else (chosen,)
    scored = []
    with shared_logits() if len(groups) > 1 and not zero_shot else nullcontext():
        for group in groups:
            of_texts = group[0] if target is None else torch.full_like(group[0], target)
            scores = call.method.attribute(
                classifier,
                encoding,
                of_texts[encoding.text_of],
                options=call.options,
                seed=call.seed,
                network=network if call.learned else None,
            )
            scored.append(Scored(group, scores))
    return scored


def _chosen(prediction: Prediction, asked: AskedClasses) -> Int[Tensor, "classes texts"]:
    if asked.classes is not None:
        return _most_probable(prediction.outputs, asked.classes)
    if asked.label is not None:
        return torch.full((1, len(prediction.outputs)), asked.label)
    return prediction.chosen[None]


def _most_probable(outputs: Float[Tensor, "rows outputs"], count: int) -> Int[Tensor, "{count} rows"]:
    return outputs.argsort(stable=True, dim=1, descending=True)[:, :count].T


def _single_windows(encoding: Encoding) -> bool:
    return len(encoding) == len(encoding.texts)
