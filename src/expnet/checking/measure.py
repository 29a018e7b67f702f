"""Measure an explainer on a classifier: by removing words, by agreement with rules and people, by attention."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from expnet.checking.result import OWN, SECOND, TrustCheck
from expnet.errors import InputError, UnsupportedModelError
from expnet.methods.method import Method
from expnet.methods.registry import find_method
from expnet.methods.replacement import replacement_for_words
from expnet.metrics.faithfulness import comprehensiveness, perturbation_curves, random_draws
from expnet.metrics.limits import losses_of_rankings, removal_limits
from expnet.metrics.plausibility import average_precision
from expnet.metrics.removal import DRAWS, RANDOM
from expnet.metrics.stability import rank_correlation
from expnet.metrics.statistics import estimate
from expnet.model.batches import encoded
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.inputs import Features, read_features
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.progress import track
from expnet.runtime.versions import versions
from expnet.text.encoding import Encoding, pool_words
from expnet.text.texts import Text, as_text, check_list

# Of different families, each of one forward and at most one backward pass.
RULES = ("raw_attention", "generic_relevance", "saliency")
ITSELF = "itself"
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)  # of the words, taken away; of more, little is left to tell rankings apart
_SEARCHED, _SEARCHED_WORDS = 20, 12  # texts that limits are searched for, and the most words of one
_TOGETHER = 4  # of these, so that the bar moves
WordScores = list[Float[ndarray, " _"]]
Marks = Bool[ndarray, " words"] | None
Columns = dict[str, Float[ndarray, " texts"]]


@torch_defaults()
def measure(
    classifier: Classifier,
    network: ExpNet,
    texts: Iterable[str | Text | Record],
    *,
    name: str = "",
    seed: int = 0,
    progress: bool = False,
) -> TrustCheck:
    """Check an ExpNet on a classifier with texts of the kind it is to explain; see `Explainer.check`.

    Words are replaced by [MASK], or removed where the tokenizer has none; the class explained is the predicted one.

    Args:
        classifier: The classifier.
        network: Its ExpNet.
        texts: As for `Explainer.check`.
        name: The explainer's.
        seed: Of the random words, the dropout and the intervals.
        progress: Show a bar on standard error.

    Raises:
        InputError: If the classifier is a regression, or no text has a word and fits one window.
    """
    classifier.check_probabilities("A check by removing words")
    items = [_with_marks(item) for item in check_list(texts)]
    usable = _usable(classifier, items)
    rules, skipped = _suitable(classifier, usable[0][0])
    groups: dict[str, list[Columns]] = {}
    parts = list(encoded(classifier, [text for text, _ in usable]))
    for places, encoding in track(parts, "checking", show=progress, total=len(usable), size=lambda part: len(part[0])):
        part = _RankedTexts.of(classifier, network, encoding, rules, seed)
        groups.setdefault("removal", []).append(part.removal())
        groups.setdefault("agreement", []).append(part.agreement(network))
        groups.setdefault("attention", []).append(part.attention())
        groups.setdefault("people", []).append(part.people([usable[place][1] for place in places]))
    short = [text for text, _ in usable if len(text.words) <= _SEARCHED_WORDS][:_SEARCHED]
    few = list(encoded(classifier, short, size=_TOGETHER)) if short else []
    groups["normalised"] = [
        _RankedTexts.of(classifier, network, encoding, rules, seed).normalised()
        for _, encoding in track(
            few, "searching for the limits", show=progress, total=len(short), size=lambda part: len(part[0])
        )
    ]
    joined = {group: _joined(columns) for group, columns in groups.items()}
    removal = joined["removal"]
    joined["gains"] = {other: removal[OWN] - values for other, values in removal.items() if other != OWN}
    joined["over_random"] = {rule.name: removal[rule.name] - removal[RANDOM] for rule in rules}
    return TrustCheck(
        explainer=name or "ExpNet",
        classifier=classifier.name or type(classifier.model).__name__,
        classifier_hash=classifier.fingerprint(),
        texts=len(usable),
        left_out=len(items) - len(usable),
        seed=seed,
        versions=versions(),
        skipped=skipped,
        **{
            group: {
                figure: estimate(values, seed=seed) for figure, values in columns.items() if not np.isnan(values).all()
            }
            for group, columns in joined.items()
        },
    )


def _with_marks(item: str | Text | Record) -> tuple[Text, Marks]:
    if not isinstance(item, Record):
        return as_text(item), None
    marks = None if item.rationale is None else np.array(item.word_marks(), dtype=bool)
    return item.text, marks if marks is not None and marks.any() else None


def _usable(classifier: Classifier, items: Sequence[tuple[Text, Marks]]) -> list[tuple[Text, Marks]]:
    """Return the items from whose texts words can be taken away."""
    readings = classifier.read([text for text, _ in items])
    usable = [
        item for item, reading in zip(items, readings, strict=True) if item[0].words and len(reading.windows) == 1
    ]
    if not usable:
        raise InputError(
            f"None of {len(items)} texts has a word and fits into one window of {classifier.max_length} tokens: pass "
            "texts that do."
        )
    return usable


def _suitable(classifier: Classifier, text: Text) -> tuple[list[Method], dict[str, str]]:
    """Return the rules that explain a text of this classifier, and why others do not."""
    encoding, target = classifier.encode([text]), torch.tensor([0])
    rules, skipped = list[Method](), dict[str, str]()
    for rule in map(find_method, RULES):
        try:
            rule.attribute(classifier, encoding, target)
            rules.append(rule)
        except UnsupportedModelError as error:
            skipped[rule.name] = str(error)
    return rules, skipped


def _joined(columns: Sequence[dict[str, Float[ndarray, " _"]]]) -> dict[str, Float[ndarray, " _"]]:
    """Join the columns of all parts; which text stands where is the same in each of them."""
    names = columns[0] if columns else ()
    return {name: np.concatenate([part[name] for part in columns]) for name in names}


@dataclass(frozen=True, slots=True)
class _RankedTexts:
    """Texts, each in one window, that are read together; `scores` are those of their words, of each ranking."""

    classifier: Classifier
    encoding: Encoding
    target: torch.Tensor
    features: Features
    scores: Mapping[str, WordScores]
    draws: tuple[str, ...]
    seed: int

    @classmethod
    def of(
        cls, classifier: Classifier, network: ExpNet, encoding: Encoding, rules: Sequence[Method], seed: int
    ) -> "_RankedTexts":
        target = classifier.predict(encoding).chosen
        with torch.inference_mode():
            _, features = read_features(classifier, encoding, network.config.features, target=target)
            scores = {OWN: _words(network.score(features), encoding)}
            if network.config.used:
                scores[SECOND] = _words(network.effects(features), encoding, signed=True)
        for rule in rules:
            scores[rule.name] = _words(rule.attribute(classifier, encoding, target), encoding, signed=rule.signed)
        draws = random_draws(encoding, seed=seed, draws=DRAWS)
        return cls(classifier, encoding, target, features, scores | draws, tuple(draws), seed)

    def removal(self) -> Columns:
        curves = perturbation_curves(
            self.classifier,
            self.encoding,
            self.target,
            self.scores,
            replacement=replacement_for_words(self.classifier),
            fractions=_SHARES,
            kept=False,
        )
        return self._with_mean_draw({name: comprehensiveness(curve) for name, curve in curves.items()})

    def normalised(self) -> Columns:
        of_texts = (self.classifier, self.encoding, self.target)
        limits = removal_limits(*of_texts, replacement=replacement_for_words(self.classifier), width=1)
        losses = losses_of_rankings(*of_texts, self.scores, replacement=replacement_for_words(self.classifier))
        return self._with_mean_draw({name: limits.comprehensiveness(lost) for name, lost in losses.items()})

    def agreement(self, network: ExpNet) -> Columns:
        ours = self.scores[OWN]
        pairs = {name: (ours, scores) for name, scores in self.scores.items() if name not in (OWN, *self.draws)}
        pairs[ITSELF] = (self._thinned(network, 2 * self.seed), self._thinned(network, 2 * self.seed + 1))
        return {
            name: np.array([rank_correlation(a, b) for a, b in zip(*pair, strict=True)]) for name, pair in pairs.items()
        }

    def attention(self) -> Columns:
        asked, _ = self.classifier.about(self.encoding, self.target)
        rows = self.classifier.trace(asked).rows.mean((1, 2))[:, : self.encoding.ids.shape[1]]
        punctuation = [
            sum(share for share, span in zip(shares, text.words, strict=True) if not _has_letters(text.word(span)))
            for shares, text in zip(_words(rows, self.encoding, signed=True), self.encoding.texts, strict=True)
        ]
        special = rows.masked_fill(self.encoding.real, 0).sum(1).double().numpy()
        return {"special tokens": special, "punctuation": np.array(punctuation, dtype=float)}

    def people(self, marks: Sequence[Marks]) -> Columns:
        precisions = {
            name: [
                np.nan if row is None else average_precision(words, row)
                for words, row in zip(scores, marks, strict=True)
            ]
            for name, scores in self.scores.items()
        }
        return self._with_mean_draw({name: np.array(values) for name, values in precisions.items()})

    def _thinned(self, network: ExpNet, seed: int) -> WordScores:
        """Score with random parts of the network's inputs and hidden units left out, as in training."""
        noisy = copy.deepcopy(network).train()
        with torch.random.fork_rng(devices=()), torch.inference_mode():
            torch.manual_seed(seed)
            return _words(noisy.score(self.features), self.encoding)

    def _with_mean_draw(self, columns: Columns) -> Columns:
        """Put the mean of the draws of random words in their place."""
        kept = {name: column for name, column in columns.items() if name not in self.draws}
        return kept | {RANDOM: np.mean([columns[draw] for draw in self.draws], axis=0)}


def _words(scores: torch.Tensor, encoding: Encoding, *, signed: bool = False) -> WordScores:
    words = pool_words(scores, encoding, pool="sum" if signed else "max")
    return [row.numpy().astype(np.float64) for row in words]


def _has_letters(word: str) -> bool:
    return any(map(str.isalnum, word))
