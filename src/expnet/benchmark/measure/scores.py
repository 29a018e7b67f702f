"""Word scores of a method on a set of texts, computed once and kept."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from safetensors.numpy import load_file, save

from expnet.errors import NonFiniteError
from expnet.files.atomic import write_atomic
from expnet.methods.method import Method
from expnet.model.batches import encoded, predict_texts
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.inputs import Features, read_features
from expnet.rationales import Record
from expnet.text.encoding import pool_words

Scores = list[Float[ndarray, " _"]]  # words, which are as many as each text has


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """A method, its options, its seed, and the network if it is an ExpNet."""

    method: Method
    options: Mapping[str, Any]
    seed: int = 0
    network: ExpNet | None = None


def targets(classifier: Classifier, records: Sequence[Record], names: Mapping[str, str]) -> list[int]:
    """Return the class to explain of each text: its label, for that is what people gave reasons for.

    Where the set has labels that the classifier does not know, the class it predicts, for the whole set.
    """
    labels = [names.get(str(record.label), str(record.label)) for record in records]
    if set(labels) <= set(classifier.labels):
        return [classifier.labels.index(label) for label in labels]
    chosen: list[int] = predict_texts(classifier, [record.text for record in records]).chosen.tolist()
    return chosen


class Seen:
    """What networks were shown last: most of a set's networks see the same, so that it is read once for all."""

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self._found: dict[Hashable, list[Features]] = {}

    def batches(self, key: Hashable) -> list[Features]:
        """Return what was kept under a key, to be filled if it is empty; the oldest beyond `most` is forgotten."""
        found = self._found.pop(key, [])
        self._found[key] = found
        if len(self._found) > self.most:
            self._found.pop(next(iter(self._found)))
        return found


def word_scores(
    classifier: Classifier, records: Sequence[Record], target: Sequence[int], job: ScoringJob, seen: Seen | None = None
) -> Scores:
    """Return the scores of each text's words, as `Explainer.explain` pools them from tokens.

    Raises:
        NonFiniteError: If one is NaN or infinite.
    """
    network = job.network
    kept: list[Features] = []
    if network is not None and seen is not None:
        kept = seen.batches((id(classifier), tuple(target), tuple(r.text for r in records), network.config.features))
    found: dict[int, ndarray] = {}
    for number, (chosen, encoding) in enumerate(encoded(classifier, [record.text for record in records])):
        wanted = torch.tensor([target[i] for i in chosen])[encoding.text_of]
        if network is None:
            scores = job.method.attribute(classifier, encoding, wanted, options=job.options, seed=job.seed)
        else:
            if len(kept) == number:
                kept.append(read_features(classifier, encoding, network.config.features, target=wanted)[1])
            scores = network.score(kept[number]).masked_fill(~encoding.real, 0)
        words = pool_words(scores, encoding, pool="sum" if job.method.signed else "max")
        if not all(each.isfinite().all() for each in words):
            raise NonFiniteError(f"The method {job.method.name!r} returned NaN or infinity for some of the texts.")
        found.update(zip(chosen, (each.numpy().astype(np.float64) for each in words), strict=True))
    return [found[i] for i in range(len(records))]


def keep(path: Path, scores: Scores) -> None:
    """Write scores atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = np.concatenate(scores) if scores else np.zeros(0)
    write_atomic(path, save({"scores": flat, "lengths": np.array([len(each) for each in scores])}))


def kept(path: Path) -> Scores | None:
    """Read what `keep` wrote, or return None if there is nothing."""
    if not path.is_file():
        return None
    stored = load_file(path)
    return np.split(stored["scores"], np.cumsum(stored["lengths"])[:-1]) if len(stored["lengths"]) else []
