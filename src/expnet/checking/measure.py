"""Measure an explainer on a classifier: by removing words, by agreement with rules and people, by attention."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from expnet.checking.result import OWN, RANDOM, Check
from expnet.errors import InputError, UnsupportedModelError
from expnet.methods.method import Method
from expnet.methods.registry import find_method
from expnet.methods.replacement import Replacement
from expnet.metrics.faithfulness import comprehensiveness, perturbation_curves, random_ranking
from expnet.metrics.limits import losses_of_rankings, removal_limits
from expnet.metrics.plausibility import average_precision
from expnet.metrics.stability import rank_correlation
from expnet.metrics.statistics import estimate
from expnet.model.batches import encoded
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.heads import Features, read_features
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.progress import track
from expnet.runtime.versions import versions
from expnet.text.encoding import Encoding, pool_words
from expnet.text.texts import Text

# Of different families, each of one forward and at most one backward pass.
RULES = ("raw_attention", "generic_relevance", "saliency")
ITSELF = "itself"
_DRAWS = 5  # of random words; one draw alone may hit the right ones
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the words, taken away; of more little is left to tell rankings apart
_SEARCHED, _SEARCHED_WORDS = 20, 12  # texts that limits are searched for, and the most words of one
WordScores = list[Float[ndarray, " _"]]


@torch_defaults()
def measure(
    classifier: Classifier,
    network: ExpNet,
    texts: Sequence[Text],
    *,
    marks: Sequence[Sequence[bool] | None] | None = None,
    name: str = "",
    seed: int = 0,
    progress: bool = False,
) -> Check:
    """Check an ExpNet on a classifier with texts of the kind it is to explain; about a minute for 100 short ones.

    Words are replaced by [MASK], or removed where the tokenizer has none; the class explained is the predicted one.

    Args:
        classifier: The classifier.
        network: Its ExpNet.
        texts: Fifty or more, for intervals that say something.
        marks: For each text which of its words people marked, or None; by default none are known.
        name: The explainer's.
        seed: Of the random words, the dropout and the intervals.
        progress: Show a bar on standard error.

    Raises:
        InputError: If the classifier is a regression, or no text has a word and fits one window.
    """
    classifier.check_probabilities("A check by removing words")
    usable = [
        place
        for place, reading in enumerate(classifier.read(texts))
        if len(reading.windows) == 1 and texts[place].words
    ]
    if not usable:
        raise InputError(
            f"None of {len(texts)} texts has a word and fits into one window of {classifier.max_length} tokens: pass "
            "texts that do."
        )
    chosen = [texts[place] for place in usable]
    rules, skipped = _suitable(classifier, chosen[0])
    parts = list(encoded(classifier, chosen))
    columns: dict[str, dict[str, list[ndarray]]] = {}
    for places, encoding in track(parts, "checking", show=progress, total=len(chosen), size=lambda part: len(part[0])):
        part = _Part.of(classifier, network, encoding, rules, seed)
        groups = {"removal": part.removal(), "agreement": part.agreement(network), "attention": part.attention()}
        if marks is not None:
            groups["people"] = part.people([marks[usable[place]] for place in places])
        _put(columns, groups)
    short = [text for text in chosen if len(text.words) <= _SEARCHED_WORDS][:_SEARCHED]
    for _, encoding in encoded(classifier, short) if short else ():
        _put(columns, {"normalised": _Part.of(classifier, network, encoding, rules, seed).normalised()})
    estimates = {
        group: {figure: estimate(np.concatenate(values), seed=seed) for figure, values in figures.items()}
        for group, figures in columns.items()
    }
    removal = {figure: np.concatenate(values) for figure, values in columns["removal"].items()}
    return Check(
        explainer=name or "ExpNet",
        classifier=classifier.name or type(classifier.model).__name__,
        classifier_hash=classifier.fingerprint(),
        texts=len(chosen),
        left_out=len(texts) - len(chosen),
        seed=seed,
        versions=versions(),
        gains={
            figure: estimate(removal[OWN] - values, seed=seed) for figure, values in removal.items() if figure != OWN
        },
        skipped=skipped,
        **{"normalised": {}} | estimates,
    )


def _put(columns: dict[str, dict[str, list[ndarray]]], groups: Mapping[str, Mapping[str, ndarray]]) -> None:
    for group, figures in groups.items():
        for figure, values in figures.items():
            columns.setdefault(group, {}).setdefault(figure, []).append(values)


def _suitable(classifier: Classifier, text: Text) -> tuple[tuple[Method, ...], dict[str, str]]:
    """Return the rules that explain a text of this classifier, and why others do not."""
    encoding, target = classifier.encode([text]), torch.tensor([0])
    rules, skipped = [], {}
    for rule in map(find_method, RULES):
        try:
            rule.attribute(classifier, encoding, target)
            rules.append(rule)
        except UnsupportedModelError as error:
            skipped[rule.name] = str(error)
    return tuple(rules), skipped


@dataclass(frozen=True, slots=True)
class _Part:
    """Texts, each in one window, that are read together; `scores` are those of their words, of each ranking."""

    classifier: Classifier
    encoding: Encoding
    target: torch.Tensor
    features: Features
    scores: Mapping[str, WordScores]
    draws: tuple[str, ...]

    @classmethod
    def of(
        cls, classifier: Classifier, network: ExpNet, encoding: Encoding, rules: Sequence[Method], seed: int
    ) -> "_Part":
        target = classifier.predict(encoding).chosen
        with torch.inference_mode():
            _, features = read_features(classifier, encoding, network.config.features, target=target)
            scores = {OWN: _words(network.score(features), encoding)}
        for rule in rules:
            scores[rule.name] = _words(rule.attribute(classifier, encoding, target), encoding, signed=rule.signed)
        draws = {f"{RANDOM} {draw}": random_ranking(encoding, seed=seed + draw) for draw in range(_DRAWS)}
        return cls(classifier, encoding, target, features, scores | draws, tuple(draws))

    def removal(self) -> dict[str, ndarray]:
        curves = perturbation_curves(
            self.classifier,
            self.encoding,
            self.target,
            self.scores,
            replacement=self._replacement,
            fractions=_SHARES,
            kept=False,
        )
        return self._joined({name: comprehensiveness(curve) for name, curve in curves.items()})

    def normalised(self) -> dict[str, ndarray]:
        limits = removal_limits(self.classifier, self.encoding, self.target, replacement=self._replacement, width=1)
        losses = losses_of_rankings(
            self.classifier, self.encoding, self.target, self.scores, replacement=self._replacement
        )
        return self._joined({name: limits.comprehensiveness(lost) for name, lost in losses.items()})

    def agreement(self, network: ExpNet) -> dict[str, ndarray]:
        ours = self.scores[OWN]
        others = {name: scores for name, scores in self.scores.items() if name not in (OWN, *self.draws)}
        first, second = (self._thinned(network, seed) for seed in (0, 1))
        pairs = {name: (ours, scores) for name, scores in others.items()} | {ITSELF: (first, second)}
        return {
            name: np.array([rank_correlation(a, b) for a, b in zip(*pair, strict=True)]) for name, pair in pairs.items()
        }

    def attention(self) -> dict[str, ndarray]:
        rows = self.classifier.trace(self.encoding).rows.mean((1, 2))
        words = _words(rows, self.encoding, signed=True)
        punctuation = [
            sum(share for share, word in zip(shares, map(text.word, text.words), strict=True) if not _spoken(word))
            for shares, text in zip(words, self.encoding.texts, strict=True)
        ]
        special = rows.masked_fill(self.encoding.real, 0).sum(1).double().numpy()
        return {"special tokens": special, "punctuation": np.array(punctuation, dtype=float)}

    def people(self, marks: Sequence[Sequence[bool] | None]) -> dict[str, ndarray]:
        def precision(scores: ndarray, marked: Sequence[bool] | None) -> float:
            return average_precision(scores, np.array(marked, dtype=bool)) if marked else float("nan")

        return self._joined(
            {
                name: np.array([precision(words, marked) for words, marked in zip(scores, marks, strict=True)])
                for name, scores in self.scores.items()
            }
        )

    @property
    def _replacement(self) -> Replacement:
        return "delete" if self.classifier.mask_id is None else "mask"

    def _thinned(self, network: ExpNet, seed: int) -> WordScores:
        """Score with random parts of the network's inputs and hidden units left out, as in training."""
        noisy = copy.deepcopy(network).train()
        with torch.random.fork_rng(devices=()), torch.inference_mode():
            torch.manual_seed(seed)
            return _words(noisy.score(self.features), self.encoding)

    def _joined(self, values: Mapping[str, ndarray]) -> dict[str, ndarray]:
        """Join the draws of random words to their mean."""
        joined = {name: column for name, column in values.items() if name not in self.draws}
        return joined | {RANDOM: np.mean([values[draw] for draw in self.draws], axis=0)}


def _words(scores: torch.Tensor, encoding: Encoding, *, signed: bool = False) -> WordScores:
    words = pool_words(scores, encoding, pool="sum" if signed else "max")
    return [row.numpy().astype(np.float64) for row in words]


def _spoken(word: str) -> bool:
    return any(map(str.isalnum, word))
