"""Several methods side by side, or several classes below each other: what can be compared, captions and notes."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from expnet.errors import InputError
from expnet.explanation import colour
from expnet.text.labels import target_note

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation

_TOP = 3  # words that are compared


def comparable(explanations: "Sequence[Explanation]") -> "list[Explanation]":
    """Return explanations of one text without their thresholds: marks in only some of the rows would mislead.

    Raises:
        InputError: If there are none, or their texts, pairs or labels differ.
    """
    if not explanations:
        raise InputError("Expected explanations of one text by several methods, got none.")
    for name in ("text", "pair", "label", "against"):
        values = list(dict.fromkeys(getattr(explanation, name) for explanation in explanations))
        if len(values) > 1:
            shown = " and ".join(repr(value and colour.shorten(value)) for value in values[:2])
            raise InputError(
                f"Expected explanations with the same {name}, got {len(values)} different ones, such as {shown}. "
                "Explain one text and one target with every method."
            )
    return [replace(explanation, threshold=None) for explanation in explanations]


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


def differences(explanations: "Sequence[Explanation]") -> list[str]:
    """Say which top words each further method shares with the first, and which it does not, in a raw line each.

    Raises:
        InputError: If there are none, or their texts, pairs or labels differ.
    """
    first, *others = comparable(explanations)
    top = {(word.segment, word.start): word.text for word in colour.strongest(first, _TOP)}
    lines = []
    for other in others:
        theirs = {(word.segment, word.start): word.text for word in colour.strongest(other, _TOP)}
        parts = [
            (f"{first.method} and {other.method} share", top.keys() & theirs.keys()),
            (f"only {first.method} has", top.keys() - theirs.keys()),
            (f"only {other.method} has", theirs.keys() - top.keys()),
        ]
        told = "; ".join(f"{what} {_named(places, top | theirs)}" for what, places in parts if places)
        lines.append(f"Of the top {_TOP} words, {told}." if told else "Neither method has a word above 0.")
    return lines


def _named(places: Set[tuple[int, int]], words: Mapping[tuple[int, int], str]) -> str:
    return ", ".join(f'"{colour.shorten(words[place], 20)}"' for place in sorted(places))


def row_names(explanation: "Explanation") -> list[tuple[int, str]]:
    """Return each segment with what stands before it, raw and on one line; ± follows methods with signed scores."""
    method = colour.shorten(explanation.method) + "\u00a0±" * explanation.signed
    return [(0, method)] if explanation.pair is None else [(0, method), (1, "pair")]


def caption(explanations: "Sequence[Explanation]") -> str:
    """Say what the shades of several methods mean, in one raw line."""
    label, kind = explanations[0].question, explanations[0].kind
    up, down = colour.directions(kind, plural=False)
    calibrated = ", ".join(dict.fromkeys(explanation.method for explanation in explanations if explanation.calibrated))
    own = f"Shades are relative to each method's own largest score{calibrated and f' ({calibrated}: to 1)'}."
    if not any(explanation.signed for explanation in explanations):
        return f'{own} They tell how much a word matters, not whether it {up} "{label}".'
    return (
        f'{own} In rows marked ±, blue {up} "{label}" and orange {down}; other rows tell only how much a word matters.'
    )


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
