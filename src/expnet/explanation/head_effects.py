"""Which heads an ExpNet listened to: what each of them does to the score of each word."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from expnet.errors import InputError, did_you_mean
from expnet.explanation import head_grid
from expnet.explanation.colour import Scale
from expnet.explanation.result import Explanation


class HeadEffect(NamedTuple):
    """What one head does to the score of a word; layers and heads count from 0."""

    layer: int
    head: int
    effect: float


@dataclass(frozen=True, slots=True, eq=False)
class HeadEffects:
    """What each attention head, and each layer, does to the score that an ExpNet gives each word.

    An effect is the logit of the word's score less the logit without the head: positive if the word scores higher
    because of what the head sees. It is measured by occlusion: the ExpNet runs again as if the head saw the mean of the
    text in every token. Effects do not add up, as the ExpNet is not linear and heads may stand in for each other; what
    it reads besides heads stays as it is.

    Attributes:
        explanation: The scores, as `Explainer.explain` returns them.
        heads: Effect of each head on each word. An ExpNet that reads the mean of a layer's heads has one column.
        layers: Effect of all heads of a layer together.
        together: Effect of all heads together.
    """

    explanation: Explanation
    heads: Float[np.ndarray, "words layers heads"]
    layers: Float[np.ndarray, "words layers"]
    together: Float[np.ndarray, " words"]

    @property
    def unit(self) -> str:
        """What effects are counted in: the log-odds of the score, or, if scores are signed, the class's logit."""
        return "the logit of the class" if self.explanation.signed else "log-odds of the score"

    @property
    def meaning(self) -> str:
        """Sentences for readers on what an effect is."""
        return (
            f"An effect is how much higher the word scores with what the head sees than without it, in {self.unit}: "
            "the ExpNet ran again with the head seeing the text's mean in every token. Effects do not add up: heads "
            "stand in for each other. Layers and heads count from 0."
        )

    def find(self, word: str | int) -> int:
        """Return the number of a word, which is given as it stands in the text (its first place), or by number.

        Raises:
            InputError: If the text has no such word.
        """
        words = self.explanation.words
        texts = [each.text for each in words]
        if word in texts:
            return texts.index(str(word))
        number = int(word) if isinstance(word, int) or (word.isdecimal() and len(word) < 9) else -1
        if not 0 <= number < len(words):
            near = did_you_mean(word, texts) if isinstance(word, str) else ""
            raise InputError(
                f"There is no word {word!r} in the text, whose {len(words)} words are numbered from 0.{near}"
            )
        return number

    def strongest(self, word: int, k: int = 5) -> list[HeadEffect]:
        """Return the k heads with the largest absolute effects on a word, largest first; none without an effect.

        Raises:
            InputError: If there is no word of this number.
        """
        effects = self.heads[self.find(word)]
        order = np.argsort(-np.abs(effects), axis=None, kind="stable")[:k]
        places = zip(*np.unravel_index(order, effects.shape), strict=True)
        return [HeadEffect(int(i), int(j), float(effects[i, j])) for i, j in places if effects[i, j]]

    def scale(self, word: int) -> Scale:
        """Return the scale of a word's shades: up to the largest absolute effect of a head on it."""
        return Scale(float(np.abs(self.heads[word]).max()), signed=True)

    def to_text(self, word: str | int) -> str:
        """Return the layers × heads of a word in plain text, the strongest heads, and what an effect is.

        Raises:
            InputError: As `find`.
        """
        return head_grid.plain(self, self.find(word))

    def to_html(self, word: str | int) -> str:
        """Return the same as a fragment of HTML with inline styles, no script, everything escaped.

        Raises:
            InputError: As `find`.
        """
        return head_grid.fragment(self, self.find(word))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types: the explanation, and the arrays as nested lists."""
        arrays = {name: getattr(self, name).tolist() for name in ("heads", "layers", "together")}
        return {"explanation": self.explanation.to_dict(), "unit": self.unit, **arrays}

    def to_json(self, *, indent: int | None = None) -> str:
        """Return one JSON object; without `indent` on one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)
