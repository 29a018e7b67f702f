"""Evaluate a network against human marks, and choose its epoch, its scale and its threshold."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float

from expnet.metrics import auroc, average_precision
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.text.encoding import overlaps
from expnet.training.examples import TrainingWindow, collate


@dataclass(frozen=True, slots=True)
class AnnotatedText:
    """One annotated text: its windows, which of its words are marked, and which could have been."""

    examples: tuple[TrainingWindow, ...]
    marks: Bool[np.ndarray, " words"]
    judged: Bool[np.ndarray, " words"]


def annotated_texts(examples: Sequence[TrainingWindow], records: Sequence[Record]) -> list[AnnotatedText]:
    """Bring together the windows of each text and its marks; texts without words are left out."""
    windows: dict[int, list[TrainingWindow]] = {}
    for example in examples:
        windows.setdefault(example.text, []).append(example)
    return [
        AnnotatedText(
            tuple(windows[index]),
            np.array(record.word_marks(), dtype=bool),
            np.array(record.judged_words(), dtype=bool),
        )
        for index, record in enumerate(records)
        if record.text.words
    ]


@torch.no_grad()
def word_logits(network: ExpNet, texts: Sequence[AnnotatedText]) -> list[Float[np.ndarray, " words"]]:
    """Return the logits of each text's words, the largest of their tokens; words without a token get the lowest."""
    flat = [(index, example) for index, text in enumerate(texts) for example in text.examples]
    flat.sort(key=lambda pair: len(pair[1].targets))
    words = [torch.full((len(text.marks),), -torch.inf) for text in texts]
    for start in range(0, len(flat), 64):
        part = flat[start : start + 64]
        features, _ = collate([example for _, example in part], network.config.features)
        for (index, example), logits in zip(part, network(features), strict=True):
            token, word = overlaps(example.covers)
            words[index].scatter_reduce_(0, word, logits[token], "amax")
    lowest = float(torch.cat(words).nan_to_num(neginf=torch.inf).min())
    return [logits.nan_to_num(neginf=lowest).numpy() for logits in words]


def evaluate(network: ExpNet, texts: Sequence[AnnotatedText]) -> dict[str, float]:
    """Return the mean AUROC and average precision over the texts that have both marked and unmarked words."""
    of_texts = zip(word_logits(network, texts), texts, strict=True)
    pairs = [(logits[text.judged], text.marks[text.judged]) for logits, text in of_texts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no text at all is NaN
        return {
            "auroc": float(np.nanmean([auroc(scores, marks) for scores, marks in pairs])),
            "average_precision": float(np.nanmean([average_precision(scores, marks) for scores, marks in pairs])),
        }


def calibrate(network: ExpNet, texts: Sequence[AnnotatedText]) -> None:
    """Set the network's scale and bias by Platt's method and its threshold by the best F1 over all words."""
    judged = np.concatenate([text.judged for text in texts])
    logits = torch.from_numpy(np.concatenate(word_logits(network, texts))[judged])
    marks = torch.from_numpy(np.concatenate([text.marks for text in texts])[judged]).float()
    # Platt (1999) smooths the targets, so that separable data do not drive the scale to infinity.
    positives, negatives = marks.sum(), (1 - marks).sum()
    targets = torch.where(marks > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    platt(network, logits, targets)
    network.config = replace(network.config, threshold=_best_threshold(network.calibrate(logits), marks))


def platt(network: ExpNet, logits: Float[torch.Tensor, " scored"], targets: Float[torch.Tensor, " scored"]) -> None:
    """Set scale and bias so that calibrated logits come near to targets in [0, 1], by cross-entropy (Platt 1999)."""
    log_scale, bias = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(log_scale.exp() * logits + bias, targets)
        value.backward()
        return value

    optimizer.step(loss)
    network.scale.fill_(log_scale.detach().exp())
    network.bias.fill_(bias.detach())


def _best_threshold(scores: torch.Tensor, marks: torch.Tensor) -> float:
    ranked, order = scores.sort(descending=True)
    hits = marks[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(marks) + 1) + marks.sum())
    # A threshold lies between two scores: only the last of equal scores can be the lowest marked one.
    last = torch.cat([ranked[1:] != ranked[:-1], torch.tensor([True])])
    at = int(f1.masked_fill(~last, -1).argmax())
    below = float(ranked[at + 1]) if at + 1 < len(ranked) else 0.0
    return (float(ranked[at]) + below) / 2
