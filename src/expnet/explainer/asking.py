"""What is asked of an explainer: which class, one class against another, or every class; checked once for a call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expnet.attention.targets import contrast
from expnet.errors import InputError
from expnet.explanation.meaning import MARKED
from expnet.methods.method import Method
from expnet.model.classifier import Classifier
from expnet.text.labels import asks_for_all


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedClasses:
    """Which classes are explained.

    Attributes:
        label: Index of the class; None for each text's most probable ones.
        against: Index of the class that it is contrasted with, if any.
        target: Both as the target that methods take.
        classes: How many of the most probable classes are explained, at most as many as there are; None for one that
            is named or predicted.
    """

    label: int | None = None
    against: int | None = None
    target: int | None = None
    classes: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked for, the same for all batches of a call."""

    method: Method
    options: Mapping[str, Any]
    seed: int
    asked: AskedClasses
    truncate: bool

    @property
    def learned(self) -> bool:
        """Whether the explainer's own network explains."""
        return "network" in self.method.supplied

    @property
    def marks(self) -> bool:
        """Whether it says which words people would mark: calibrated scores, with a threshold."""
        return self.learned and self.method.measures == MARKED


def asked_classes(
    classifier: Classifier,
    target: str | int | None,
    *,
    against: str | int | None = None,
    classes: int | None = None,
) -> AskedClasses:
    """Check what is asked for; the arguments and errors are those of `Explainer.explain`."""
    if asks_for_all(classifier.labels, target):
        return AskedClasses(classes=_how_many(classifier, against, classes))
    if classes is not None:
        raise InputError(f"classes={classes!r} says how many classes target='all' explains; the target is {target!r}.")
    label = classifier.output_index(target)
    if against is None:
        return AskedClasses(label=label, target=label)
    classifier.check_probabilities("A contrast of two classes")
    other = classifier.target_index(against)
    if label is None or label == other:
        raise InputError(
            f"Expected two classes to contrast, target=... and against=..., got {target!r} and {against!r}. "
            f"Classes: {', '.join(classifier.labels[:20])}."
        )
    return AskedClasses(label=label, against=other, target=contrast(label, other, len(classifier.labels)))


def _how_many(classifier: Classifier, against: str | int | None, classes: int | None) -> int:
    if against is not None:
        raise InputError(
            f"target='all' explains each class by itself, not against {against!r}: name the class to contrast with it."
        )
    if classifier.kind == "value":
        raise InputError(
            "target='all' ranks classes by their probability, and this model is a regression, whose outputs have units "
            f"of their own ({', '.join(classifier.labels[:5])}): name one of them."
        )
    most = len(classifier.labels)
    if classes is None:
        return most
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise InputError(f"classes is {classes!r}, expected how many classes to explain, 1 or more.")
    return min(classes, most)
