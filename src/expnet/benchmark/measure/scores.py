"""Word scores of a method on a set of texts, computed once and cached."""

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
from expnet.methods.learned import output_of
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
    """Return the class to explain for each text: its label, as that is what people gave reasons for.

    If the set has labels that the classifier does not know, the predicted class is explained, for the whole set.
    """
    labels = [names.get(str(record.label), str(record.label)) for record in records]
    if set(labels) <= set(classifier.labels):
        return [classifier.labels.index(label) for label in labels]
    chosen: list[int] = predict_texts(classifier, [record.text for record in records]).chosen.tolist()
    return chosen


class FeatureCache:
    """The features that networks read last: most networks of a set read the same, which are then extracted once."""

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self._cached: dict[Hashable, list[Features]] = {}

    def batches(self, key: Hashable) -> list[Features]:
        """Return the features cached under a key, to be filled if empty; drop the oldest key beyond `most`."""
        cached = self._cached.pop(key, [])
        self._cached[key] = cached
        if len(self._cached) > self.most:
            self._cached.pop(next(iter(self._cached)))
        return cached


def word_scores(
    classifier: Classifier,
    records: Sequence[Record],
    target: Sequence[int],
    job: ScoringJob,
    cache: FeatureCache | None = None,
) -> Scores:
    """Return the scores of each text's words, as `Explainer.explain` pools them from tokens.

    Raises:
        NonFiniteError: If one is NaN or infinite.
    """
    network = job.network
    kept: list[Features] = []
    if network is not None and cache is not None:
        kept = cache.batches((id(classifier), tuple(target), tuple(r.text for r in records), network.config.features))
    scores_of: dict[int, ndarray] = {}
    for number, (chosen, encoding) in enumerate(encoded(classifier, [record.text for record in records])):
        encoding, wanted = classifier.about(encoding, torch.tensor([target[i] for i in chosen])[encoding.text_of])
        if network is None:
            scores = job.method.attribute(classifier, encoding, wanted, options=job.options, seed=job.seed)
        else:
            if len(kept) == number:
                kept.append(read_features(classifier, encoding, network.config.features, target=wanted)[1])
            scores = output_of(network, job.method, kept[number], encoding.real)
        words = pool_words(scores, encoding, pool="sum" if job.method.signed else "max")
        if not all(word_scores.isfinite().all() for word_scores in words):
            raise NonFiniteError(f"The method {job.method.name!r} returned NaN or infinity for some of the texts.")
        scores_of.update(zip(chosen, (word_scores.numpy().astype(np.float64) for word_scores in words), strict=True))
    return [scores_of[i] for i in range(len(records))]


def keep(path: Path, scores: Scores) -> None:
    """Write scores to a safetensors file, atomically; `kept` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = np.concatenate(scores) if scores else np.zeros(0)
    write_atomic(path, save({"scores": flat, "lengths": np.array([len(word_scores) for word_scores in scores])}))


def kept(path: Path) -> Scores | None:
    """Read what `keep` wrote, or return None if there is nothing."""
    if not path.is_file():
        return None
    stored = load_file(path)
    return np.split(stored["scores"], np.cumsum(stored["lengths"])[:-1]) if len(stored["lengths"]) else []
