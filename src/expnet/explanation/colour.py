"""What all renderings of an explanation share: scale, shades, pieces of text, captions and notes."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from expnet.text.labels import OutputKind

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation, Word

# Every kind of colour blindness tells blue from orange. All are dark enough for white letters on top, and stand out
# from white paper and from a dark screen by a contrast of 3.
_FOR, _AGAINST = (0, 96, 223), (192, 79, 0)
# For scores without a sign: a plum that no kind of colour blindness takes for either.
_AMOUNT = (140, 100, 140)
_GREY, _INK = (106, 106, 106), "#ffffff"
# The highest opacity at which letters keep a contrast of 4.5, on white paper and on a dark screen.
_OPACITY = 0.6
# What scores of both signs do to a class, or to the value of a regression: of several scores, and of one.
_FOR_AND_AGAINST: dict[OutputKind, tuple[str, str, str, str]] = {
    "probability": ("speak for", "speaks for", "against it", "against it"),
    "value": ("raise", "raises", "lower it", "lowers it"),
}
# A terminal has no faint shades, so words below a fifth of the scale are not shaded.
_FAINT = 0.2


@dataclass(frozen=True, slots=True)
class Scale:
    """The range that the shades cover: 0 to `limit`, and down to -`limit` if `signed`."""

    limit: float
    signed: bool


def scale_of(explanation: "Explanation") -> Scale:
    """Return 0 to 1 for calibrated scores, else 0 to the largest finite score of this text; if signed, both ways."""
    if explanation.calibrated:
        return Scale(1.0, signed=False)
    scores = (abs(word.score) if explanation.signed else word.score for word in explanation.words)
    return Scale(max((score for score in scores if 0 < score < math.inf), default=0.0), explanation.signed)


def strength(score: float, scale: Scale) -> float:
    """Return the share of the scale that a score fills, in [-1, 1]; 0 for NaN or an empty scale."""
    share = score / scale.limit if scale.limit else 0.0
    if math.isnan(share):
        return 0.0
    return min(1.0, max(-1.0 if scale.signed else 0.0, share))


def hue(score: float, scale: Scale) -> str:
    """Return the full colour that scores of this sign have on this scale, for bars and lines on any ground."""
    return _hex(_full(score, scale))


def _full(score: float, scale: Scale) -> tuple[int, int, int]:
    if not scale.signed:
        return _AMOUNT
    return _FOR if score > 0 else _AGAINST


def veil(score: float, scale: Scale) -> str:
    """Return a translucent CSS colour, which suits light and dark grounds alike, or "" for no shade."""
    alpha = round(255 * _OPACITY * abs(strength(score, scale)))
    return f"{hue(score, scale)}{alpha:02x}" if alpha else ""


def tint(score: float, scale: Scale) -> str:
    """Return how a `veil` looks on white paper, as "#rrggbb", or "" for no shade."""
    alpha = round(255 * _OPACITY * abs(strength(score, scale))) / 255
    return _hex([round(255 + alpha * (full - 255)) for full in _full(score, scale)]) if alpha else ""


def block(score: float, scale: Scale) -> str:
    """Return a terminal style, or "" for no shade.

    The background of a terminal is unknown, so shades cannot fade into it: they go from grey to full colour at similar
    lightness, between black and white, and set their own letter colour.
    """
    share = round(strength(score, scale), 2)
    if abs(share) < _FAINT:
        return ""
    full = _full(share, scale)
    mixed = [round(grey + abs(share) * (end - grey)) for grey, end in zip(_GREY, full, strict=True)]
    return f"{_INK} on {_hex(mixed)}"


def _hex(rgb: Sequence[int]) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in rgb)


def number(score: float, scale: Scale, decimals: int = 2) -> str:
    """Format a score with that many decimals, more on a small scale, and with its sign if scores are signed."""
    magnitude = math.floor(math.log10(scale.limit)) if 0 < scale.limit < math.inf else 0
    digits = min(12, max(decimals, decimals - magnitude - 1))
    return f"{score:{'+' if scale.signed else ''}z.{digits}f}"


def strongest(explanation: "Explanation", k: int) -> list["Word"]:
    """Return up to k words with the largest absolute scores, largest first; none that scores 0 or NaN."""
    scored = (word for word in explanation.words if abs(word.score) > 0)
    return heapq.nlargest(k, scored, key=lambda word: abs(word.score))


def marked(word: "Word", explanation: "Explanation") -> bool:
    """Return whether a word reaches the threshold of its explanation, if that has one."""
    return word.seen and explanation.threshold is not None and word.score >= explanation.threshold


def pieces(explanation: "Explanation", segment: int) -> Iterator[tuple[str, "Word | None"]]:
    """Cut one text into words and the gaps around them; joined, they are that text, whatever the spans."""
    text = (explanation.text, explanation.pair or "")[segment]
    at = 0
    words = (word for word in explanation.words if word.segment == segment)
    for word in sorted(words, key=lambda word: word.start):
        start = max(word.start, at)
        if word.end <= start:
            continue
        if start > at:
            yield text[at:start], None
        yield text[start : word.end], word
        at = word.end
    yield text[at:], None


def shorten(text: str, limit: int = 40) -> str:
    """Return the text on one line, cut to about that many characters."""
    line = " ".join(text[: limit + 1].split())
    return line if len(text) <= limit else line[:limit] + "..."


def percent(probability: float) -> str:
    """Write a probability as a percentage."""
    return f"{100 * probability:.1f} %"


def amount(output: float, kind: OutputKind) -> str:
    """Format a model's output: a probability as a percentage, the value of a regression as it is."""
    return percent(output) if kind == "probability" else f"{output:z,.4g}"


def directions(kind: OutputKind, *, plural: bool) -> tuple[str, str]:
    """Return what scores above 0 do to the class or value explained, and what those below 0 do to it."""
    words = _FOR_AND_AGAINST[kind]
    return (words[0], words[2]) if plural else (words[1], words[3])


def stops(scale: Scale) -> list[float]:
    """Return the five scores that a legend shows, lowest first."""
    low, span = (-scale.limit, 2 * scale.limit) if scale.signed else (0.0, scale.limit)
    return [low + span * step / 4 for step in range(5)]


def caption(explanation: "Explanation", scale: Scale) -> str:
    """Say what the scale of an explanation means, in one raw line."""
    if explanation.calibrated:
        return "Scores run from 0 to 1, on the same scale for every text."
    if scale.signed:
        up, down = directions(explanation.kind, plural=True)
        return (
            f'Scores above 0 {up} "{explanation.question}", scores below 0 {down}. Shades and bars are '
            f"relative to the largest absolute score of this text, {number(scale.limit, scale)[1:]}."
        )
    up, _ = directions(explanation.kind, plural=False)
    return (
        f'Scores tell how much a word matters, not whether it {up} "{explanation.question}". Shades and bars are '
        f"relative to the largest score of this text, {number(scale.limit, scale)}."
    )


def legend(explanation: "Explanation", scale: Scale) -> list[str]:
    """Return what the scores mean, how the shades show them, and what a check found, in raw lines."""
    return [line for line in (explanation.meaning, caption(explanation, scale), explanation.checked) if line]


def notes(explanation: "Explanation", *, mark: str) -> list[str]:
    """Return what a reader must know beside the scores, in raw lines.

    Args:
        mark: How words at or above the threshold look, as in "they are bold".
    """
    lines = []
    if explanation.kind == "probability" and explanation.outputs:
        best = max(explanation.outputs, key=lambda name: explanation.outputs[name])
        if explanation.outputs[best] > explanation.output:
            chance = percent(explanation.outputs[best])
            lines.append(f'The most probable class is "{best}" ({chance}); another target was asked for.')
    if explanation.words and explanation.target_note and not explanation.meaning:  # which says the same
        lines.append(explanation.target_note)
    if not explanation.words:
        lines.append("No words to explain.")
    if explanation.threshold is not None and explanation.words:
        threshold = number(explanation.threshold, scale_of(explanation))
        lines.append(f"Words that score {threshold} or more are {mark}.")
    if str(explanation.provenance.get("explainer", "")).startswith("universal"):
        lines.append("The explainer is universal: it may not have been trained on marked texts of this task.")
    if explanation.windows > 1:
        lines.append(f"Read in {explanation.windows:d} overlapping windows.")
    if unseen := sum(not word.seen for word in explanation.words):
        lines.append(f"{unseen} of {len(explanation.words)} words were not read: truncation was asked for.")
    return lines
