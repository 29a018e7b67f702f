"""Several methods or models side by side, or several classes below each other: what can be compared, and notes."""

from collections.abc import Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from expnet.errors import InputError
from expnet.explanation import colour
from expnet.text.labels import target_note

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation, Word

_TOP = 3  # words that are compared
_NAME = 60  # characters of a method with its model


def comparable(explanations: "Sequence[Explanation]", models: Sequence[str] = ()) -> "list[Explanation]":
    """Return explanations of one text without their thresholds: marks in only some of the rows would mislead.

    Args:
        explanations: Of one text by several methods, models or explainers.
        models: The name of what made each of them, if that is not one model with one explainer. Then labels may
            differ, and the name follows the method's.

    Raises:
        InputError: If there are none, their texts, pairs or (of one model) labels differ, or names are missing.
    """
    if not explanations:
        raise InputError("Expected explanations of one text by several methods, got none.")
    if models and len(models) != len(explanations):
        raise InputError(
            f"Expected the name of a model for each explanation, got {len(models)} for {len(explanations)}."
        )
    for name in ("text", "pair") if models else ("text", "pair", "label", "against"):
        values = list(dict.fromkeys(getattr(explanation, name) for explanation in explanations))
        if len(values) > 1:
            shown = " and ".join(repr(value and colour.shorten(value)) for value in values[:2])
            raise InputError(
                f"Expected explanations with the same {name}, got {len(values)} different ones, such as {shown}. "
                "Explain one text and one target with every method."
            )
    named = zip(explanations, models or [""] * len(explanations), strict=True)
    return [
        replace(explanation, threshold=None, method=f"{explanation.method} ({model})" if model else explanation.method)
        for explanation, model in named
    ]


def several(models: Sequence[str]) -> str:
    """Return a title for explanations by several models or explainers, raw."""
    return " and ".join(dict.fromkeys(models)) if len(set(models)) < 3 else f"{len(set(models))} models"


def predictions(rows: "Sequence[Explanation]", models: Sequence[str]) -> str:
    """Say in a raw line whether models predict the same class, and what cannot be compared; "" for one model."""
    if len(set(models)) < 2 or any(row.kind == "value" or not row.outputs for row in rows):
        return ""
    if len({frozenset(row.outputs) for row in rows}) > 1:
        return "The models have different classes: each row explains a class of its own model."
    best = dict(zip(models, (max(row.outputs, key=lambda name: row.outputs[name]) for row in rows), strict=True))
    if len(set(best.values())) == 1:
        return f'All predict "{colour.shorten(next(iter(best.values())))}".'
    told = "; ".join(f'{model} "{colour.shorten(label)}"' for model, label in best.items())
    return f"They predict different classes: {told}."


def ranked(explanations: "Sequence[Explanation]") -> "list[Explanation]":
    """Return explanations of one text by one method for several classes, without their thresholds.

    Raises:
        InputError: If there are none, they are not of one text and method, or one class comes twice.
    """
    if not explanations:
        raise InputError("Expected explanations of one text for several classes, got none.")
    about = {(explanation.text, explanation.pair, explanation.method) for explanation in explanations}
    labels = {explanation.label for explanation in explanations}
    if len(about) > 1 or len(labels) < len(explanations):
        raise InputError(
            f"Expected explanations of one text by one method, each for another class; got {len(explanations)} for "
            f"{len(labels)} classes and {len(about)} texts or methods. Explain one text with target='all'."
        )
    return [replace(explanation, threshold=None) for explanation in explanations]


def heading(explanations: "Sequence[Explanation]") -> str:
    """Return how many of the classes are ranked."""
    shown, classes = len(explanations), len(explanations[0].outputs)
    return f"{shown} of {classes} classes" if shown < classes else f"{classes} class{'es' * (classes > 1)}"


def ranked_notes(explanations: "Sequence[Explanation]", *, shaded: bool) -> list[str]:
    """Return what the words of each class mean, and further notes, in raw lines; `shaded` if the text is."""
    first = explanations[0]
    lines = colour.notes(first, mark="")
    if not first.words:
        return lines
    several = first.uses_target and len(explanations) > 1
    shades = f'The text is shaded for "{first.label}". ' if shaded and several else ""
    if first.signed:
        meaning = "Words with + speak for their class, words with - against it."
    elif first.calibrated:
        meaning = "Scores run from 0 to 1, on the same scale for every text and class."
    else:
        meaning = "Scores tell how much a word matters for a class, not whether it speaks for it."
    return [*(line for line in (first.meaning, first.checked) if line), shades + meaning, *lines]


def meanings(explanations: "Sequence[Explanation]") -> list[tuple[str, str]]:
    """Return each method that says what its scores mean, with that and the verdict of its check, raw."""
    told = {row.method: f"{row.meaning} {row.checked}".strip() for row in explanations if row.meaning and row.words}
    return list(told.items())


def differences(rows: "Sequence[Explanation]") -> list[str]:
    """Say which top words each further row shares with the first, and which it does not, in a raw line each.

    Args:
        rows: As `comparable` returns them.
    """
    first, *others = rows
    top = {(word.segment, word.start): word for word in colour.strongest(first, _TOP)}
    lines = []
    for other in others:
        theirs = {(word.segment, word.start): word for word in colour.strongest(other, _TOP)}
        alike = first.signed and other.signed and first.question == other.question
        shared = top.keys() & theirs.keys()
        opposed = {place for place in shared if alike and top[place].score * theirs[place].score < 0}
        parts = [
            (f"{first.method} and {other.method} share", shared - opposed),
            ("of opposite signs in the two", opposed),
            (f"only {first.method} has", top.keys() - theirs.keys()),
            (f"only {other.method} has", theirs.keys() - top.keys()),
        ]
        named = [(what, places, (top | theirs).keys() - places) for what, places in parts if places]
        told = "; ".join(f"{what} {_listed(first.words, places, others)}" for what, places, others in named)
        lines.append(f"Of the top {_TOP} words, {told}." if told else "Neither method has a word above 0.")
    return lines


def _listed(words: "Sequence[Word]", places: Set[tuple[int, int]], others: Set[tuple[int, int]]) -> str:
    """Name the words at some places, each once; one that is among the others, too, by its number of its equals."""
    elsewhere = {word.text for word in words if (word.segment, word.start) in others}
    told = []
    for word in words:
        if (word.segment, word.start) in places:
            alike = [other for other in words if other.text == word.text]
            number = f" ({alike.index(word) + 1} of {len(alike)})" if word.text in elsewhere else ""
            told.append(f'"{colour.shorten(word.text, 20)}"{number}')
    return ", ".join(dict.fromkeys(told))


def row_names(explanation: "Explanation") -> list[tuple[int, str]]:
    """Return each segment with what stands before it, raw and on one line; ± follows methods with signed scores."""
    method = colour.shorten(explanation.method, _NAME) + "\u00a0±" * explanation.signed
    return [(0, method)] if explanation.pair is None else [(0, method), (1, "pair")]


def caption(explanations: "Sequence[Explanation]", models: Sequence[str] = ()) -> str:
    """Say what the shades of several methods or models mean, and how far they compare, in one raw line."""
    up, down = colour.directions(explanations[0].kind, plural=False)
    label, calibrated = _explained(explanations), [row.method for row in explanations if row.calibrated]
    to_one = f" ({', '.join(dict.fromkeys(calibrated))}: to 1)" if calibrated else ""
    lines = [f"Shades are relative to each {'row' if models else 'method'}'s own largest score{to_one}."]
    if models:
        lines = ([] if len(calibrated) == len(explanations) else lines) + [_sizes(calibrated, len(explanations))]
    if not any(explanation.signed for explanation in explanations):
        lines.append(f"They tell how much a word matters, not whether it {up} {label}.")
    else:
        lines.append(
            f"In rows marked ±, blue {up} {label} and orange {down}; other rows tell only how much a word matters."
        )
    return " ".join(lines)


def units(explanations: "Sequence[Explanation]", models: Sequence[str] = ()) -> str:
    """Say what the numbers of several methods or models mean, where nothing is shaded, in one raw line."""
    up, down = colour.directions(explanations[0].kind, plural=True)
    calibrated = [row.method for row in explanations if row.calibrated]
    first = _sizes(calibrated, len(explanations)) if models else "Every method has units of its own."
    return (
        f"{first} Scores with a sign {up} {_explained(explanations)} (+) or {down} (-), those without tell only how "
        "much a word matters."
    )


def _explained(explanations: "Sequence[Explanation]") -> str:
    first = explanations[0]
    alike = all(explanation.question == first.question for explanation in explanations)
    return f'"{first.question}"' if alike else f"the {'class' if first.kind == 'probability' else 'output'} of its row"


def _sizes(calibrated: Sequence[str], rows: int) -> str:
    """Say whether the sizes of scores by several models or explainers can be compared."""
    if len(calibrated) == rows:
        return "All scores are on one scale, from 0 to 1, as far as each explainer's calibration holds for its model."
    unlike = "Some rows run from 0 to 1, others have their" if calibrated else "Each row has its"
    return f"{unlike} own units: compare which words lead, not how large scores are."


def notes(explanations: "Sequence[Explanation]", caption: str) -> list[str]:
    """Return the caption, unless there are no words, and the notes of all explanations, each once, in raw lines."""
    captions = [caption] if any(explanation.words for explanation in explanations) else []
    targetless = (explanation for explanation in explanations if explanation.words and explanation.target_note)
    free = list(dict.fromkeys(explanation.method for explanation in targetless))
    if free:
        captions.append(target_note(free, explanations[0].kind, alone=False))
    # What concerns the target is said once for all methods.
    alike = [replace(explanation, uses_target=True) for explanation in explanations]
    return captions + list(dict.fromkeys(note for shown in alike for note in colour.notes(shown, mark="")))
