"""Predict a batch and score its tokens for each class asked for, at the cost of what differs between classes."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.explainer.asking import Call
from expnet.methods.coalitions import shared_logits
from expnet.methods.learned import check_tier, score_classes
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
    classifier: Classifier, encoding: Encoding, call: Call, network: ExpNet | None
) -> tuple[Prediction, list[Scored]]:
    """Predict texts and score their tokens; classes come in no particular order.

    Args:
        classifier: The classifier.
        encoding: Windows.
        call: What is asked for.
        network: The ExpNet, if it explains: its pass gives prediction and scores together.
    """
    if network is not None:
        check_tier(network, gradient=call.method.uses_target)
    if network is None or classifier.hypotheses is not None:  # zero-shot labels are read one by one
        return _after_prediction(classifier, encoding, call, network)
    if call.asked.classes is not None and network.uses_target:
        return _all_with_prediction(classifier, encoding, call, network)
    return _with_prediction(classifier, encoding, call, network)


def _with_prediction(
    classifier: Classifier, encoding: Encoding, call: Call, network: ExpNet
) -> tuple[Prediction, list[Scored]]:
    target: Tensor | Literal["predicted"] | None
    if not network.uses_target:
        target = None
    elif call.asked.target is not None:
        target = torch.full_like(encoding.text_of, call.asked.target)
    elif _single_windows(encoding):
        target = "predicted"
    else:  # only all windows of a text together say which class it is
        target = classifier.predict(encoding).chosen[encoding.text_of]
    with torch.inference_mode():
        logits, features = read_features(classifier, encoding, network.config.features, target=target)
        prediction = classifier.prediction(encoding, logits)  # says so where the model returned NaN
        return prediction, [Scored(_chosen(prediction, call), network.score(features))]


def _all_with_prediction(
    classifier: Classifier, encoding: Encoding, call: Call, network: ExpNet
) -> tuple[Prediction, list[Scored]]:
    count = call.asked.classes or 1
    everything = count == len(classifier.labels)
    before = None if everything or _single_windows(encoding) else classifier.predict(encoding).outputs

    def choose(part: Encoding, logits: Tensor) -> Tensor:
        if everything:  # in any order, so that the windows of a text need not agree on one
            return torch.arange(count)[:, None].repeat(1, len(part))
        return _most_probable(classifier.outputs(logits) if before is None else before[part.text_of], count)

    logits, targets, scores = score_classes(classifier, encoding, choose, network=network)
    chosen = torch.zeros(count, len(encoding.texts), dtype=torch.long)
    chosen[:, encoding.text_of] = targets
    prediction = classifier.prediction(encoding, logits)
    return prediction, [Scored(row[None], of_class) for row, of_class in zip(chosen, scores, strict=True)]


def _after_prediction(
    classifier: Classifier, encoding: Encoding, call: Call, network: ExpNet | None
) -> tuple[Prediction, list[Scored]]:
    prediction = classifier.predict(encoding)
    chosen, target = _chosen(prediction, call), call.asked.target
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
                network=network,
            )
            scored.append(Scored(group, scores))
    return prediction, scored


def _chosen(prediction: Prediction, call: Call) -> Int[Tensor, "classes texts"]:
    asked = call.asked
    if asked.classes is not None:
        return _most_probable(prediction.outputs, asked.classes)
    if asked.label is not None:
        return torch.full((1, len(prediction.outputs)), asked.label)
    return prediction.chosen[None]


def _most_probable(outputs: Float[Tensor, "rows outputs"], count: int) -> Int[Tensor, "{count} rows"]:
    return outputs.argsort(stable=True, dim=1, descending=True)[:, :count].T


def _single_windows(encoding: Encoding) -> bool:
    return len(encoding) == len(encoding.texts)
