"""An ExpNet as a scikit-learn estimator: texts and their rationales in, marks and scores of words out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from expnet.errors import InputError, RationaleError, require_extra
from expnet.explainer import Explainer, load_classifier
from expnet.explanation.result import Explanation
from expnet.metrics import average_precision
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.text.texts import Text, check_list
from expnet.text.words import Span
from expnet.training.fit import fit

require_extra("sklearn", "train")
from sklearn.base import BaseEstimator  # noqa: E402
from sklearn.utils import Tags  # noqa: E402
from sklearn.utils.validation import check_is_fitted  # noqa: E402


class ExpNetEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Learns which words people mark; `expnet.fit` with scikit-learn's interface.

    Texts are strings, lists of words, or `expnet.Text` (for pairs). The rationale of a text is a list with an entry for
    each of its words, 1 or True where it is marked, or a list of character spans (start, end), (start, end, 1) in a
    pair's second text; None if nobody annotated the text. Answers are lists, with an array for each text, as texts
    have any number of words.

    Attributes:
        model: Demo, folder or hub id of the classifier to explain, or a `Classifier`, which clones share.
        start: As for `expnet.fit`.
        tier: "attention" comes with the prediction, "gradient" takes a backward pass as well.
        steps: Of training; None for what suits the start and the number of texts.
        target: Class to explain, by name or index; None for each text's predicted class. A regression with several
            outputs needs one.
        cache: Folder that keeps what training reads from the classifier, so that a search reads each text once.
        random_state: Seed of training; a whole number, so that the same call gives the same network.
        network_: After `fit`, the ExpNet, to be saved or pushed.
        explainer_: After `fit`, the `Explainer` of the classifier with it.
    """

    def __init__(
        self,
        model: str | Path | Classifier = "demo/sentiment",
        *,
        start: Literal["universal", "nothing"] | ExpNet = "universal",
        tier: Tier = "attention",
        steps: int | None = None,
        target: str | int | None = None,
        cache: str | Path | None = None,
        random_state: int = 0,
    ) -> None:
        self.model = model
        self.start = start
        self.tier = tier
        self.steps = steps
        self.target = target
        self.cache = cache
        self.random_state = random_state

    def fit(self, X: Iterable[Any], y: Iterable[Any], labels: Iterable[str | None] | None = None) -> "ExpNetEstimator":  # noqa: N803
        """Train on texts and their rationales.

        Args:
            X: The texts.
            y: Their rationales.
            labels: The classes that the rationales are reasons for, by name; by default `target`, and without it the
                predicted ones. Only networks that read gradients use them.

        Raises:
            InputError: If there is not one rationale, and one label, for each text, or an item is not a text.
            RationaleError: If marks do not fit their text, or nothing is marked at all.
        """
        records = _records(X, y, labels)
        classifier = self.model if isinstance(self.model, Classifier) else load_classifier(self.model)
        self.network_ = fit(
            classifier,
            records,
            start=self.start,
            tier=self.tier,
            steps=self.steps,
            seed=self.random_state,
            target=self.target,
            cache=None if self.cache is None else Path(self.cache),
        )
        self.explainer_ = Explainer(classifier, self.network_)
        return self

    def explain(self, X: Iterable[Any], *, target: str | int | None = None) -> list[Explanation]:  # noqa: N803
        """Return the explanation of each text.

        Args:
            X: The texts.
            target: Class to explain in all of them, by name or index; by default the estimator's own `target`.

        Raises:
            InputError: If there is no such class, or a regression with several outputs has no target.
        """
        check_is_fitted(self)
        asked = self.explainer_.classifier.output_index(self.target if target is None else target)
        return self.explainer_.explain(_texts(X), target=asked)

    def predict_proba(self, X: Iterable[Any]) -> list[np.ndarray]:  # noqa: N803
        """Return, for each text, how likely people would mark each of its words, in [0, 1]."""
        return [np.array([word.score for word in explanation.words], dtype=float) for explanation in self.explain(X)]

    def predict(self, X: Iterable[Any]) -> list[np.ndarray]:  # noqa: N803
        """Return, for each text, whether each of its words reaches the network's threshold."""
        scores = self.predict_proba(X)
        return [word_scores >= self.network_.config.threshold for word_scores in scores]

    def score(self, X: Iterable[Any], y: Iterable[Any]) -> float:  # noqa: N803
        """Return the mean average precision over the texts with a marked word, in (0, 1].

        Raises:
            InputError: As for `fit`.
            RationaleError: If marks do not fit their text, or no word is marked.
        """
        records = [record for record in _records(X, y) if record.rationale is not None and any(record.word_marks())]
        if not records:
            raise RationaleError("No word of these texts is marked, so there is nothing to agree with.")
        scores = self.predict_proba([record.text for record in records])
        pairs = zip(scores, records, strict=True)
        return float(
            np.mean([average_precision(word_scores, np.array(record.word_marks())) for word_scores, record in pairs])
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.target_tags.required = True
        tags.no_validation = True
        return tags

    def __sklearn_clone__(self) -> "ExpNetEstimator":
        """Share the parameters instead of copying them: a classifier is large, and never changed."""
        return type(self)(**self.get_params(deep=False))


def _texts(X: Iterable[Any]) -> list[Text]:  # noqa: N803
    return [_text(item) for item in check_list(X)]


def _text(item: Any) -> Text:
    if isinstance(item, Text):
        return item
    return Text.of(item) if isinstance(item, str) or not isinstance(item, Iterable) else Text.from_words(item)


def _records(
    X: Iterable[Any],  # noqa: N803
    y: Iterable[Any],
    labels: Iterable[str | None] | None = None,
) -> list[Record]:
    texts, rationales = _texts(X), list(y)
    classes = [None] * len(texts) if labels is None else list(labels)
    for name, items in (("rationales", rationales), ("labels", classes)):
        if len(items) != len(texts):
            raise InputError(f"Expected one of the {name} for each of {len(texts)} texts, got {len(items)}.")
    rows = enumerate(zip(texts, rationales, classes, strict=True))
    return [Record(str(n), text, label, _spans(n, text, marks)) for n, (text, marks, label) in rows]


def _spans(number: int, text: Text, rationale: Sequence[Any] | np.ndarray | None) -> tuple[Span, ...] | None:
    """Read a rationale in either form; an empty list is one without marks."""
    if rationale is None:
        return None
    marks = [item.tolist() if isinstance(item, np.ndarray | np.generic) else item for item in rationale]
    if not marks:
        return ()
    if all(isinstance(mark, int) and mark in (0, 1) for mark in marks) and len(marks) == len(text.words):
        return tuple(word for word, mark in zip(text.words, marks, strict=True) if mark)
    if all(isinstance(mark, Sequence) and len(mark) in (2, 3) and all(type(n) is int for n in mark) for mark in marks):
        return tuple(Span(*mark) for mark in marks)
    raise RationaleError(
        f"The rationale of text {number} is neither 0 or 1 for each of its {len(text.words)} words, nor a list of "
        f"character spans (start, end): {str(marks)[:60]}, of length {len(marks)}."
    )
