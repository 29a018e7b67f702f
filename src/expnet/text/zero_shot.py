"""Labels that a user gives a model of natural language inference: each makes a hypothesis, the text is the premise."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from expnet.errors import InputError

HYPOTHESIS = "This example is {}."  # transformers' own
_MOST_LABELS, _LONGEST = 1000, 10_000  # labels; characters of a hypothesis


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShot:
    """What a model of natural language inference is asked about each text (Yin et al. 2019, arXiv:1909.00161).

    A label's logit is that of entailment, the text being the premise and the label in the template the hypothesis.

    Attributes:
        labels: One or more.
        hypothesis: Template of the hypotheses; holds `{}` once, where the label goes, and no other braces.
        multi_label: Whether each label is judged by itself, entailment against contradiction, instead of one entailment
            against the others. One label is always judged by itself.
    """

    labels: Sequence[str]
    hypothesis: str = HYPOTHESIS
    multi_label: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.labels, str):
            raise InputError(f"Expected a list of labels, got the string {self.labels!r:.80}.")
        object.__setattr__(self, "labels", tuple(self.labels))
        if problems := list(self._problems()):
            raise InputError(f"Not valid zero-shot labels: {'; '.join(problems)}.")

    @property
    def pairs(self) -> bool:
        """False: the hypothesis takes the place of a second text."""
        return False

    @property
    def independent(self) -> bool:
        """Whether each label is judged by itself."""
        return self.multi_label or len(self.labels) == 1

    @property
    def hypotheses(self) -> list[str]:
        """The hypothesis of each label."""
        return [self.hypothesis.replace("{}", label) for label in self.labels]

    def to_json(self) -> str:
        """Return it as `read_prompt` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    def _problems(self) -> Iterator[str]:
        if self.hypothesis.count("{}") != 1 or re.search(r"[{}]", self.hypothesis.replace("{}", "")):
            yield f"the hypothesis must hold {{}} once and no other braces, got {self.hypothesis!r:.80}"
        if not 1 <= len(self.labels) <= _MOST_LABELS:
            yield f"expected 1 to {_MOST_LABELS:,} labels, got {len(self.labels):,}"
        for number, label in enumerate(self.labels):
            if not isinstance(label, str) or not label.strip():
                yield f"label number {number} is {label!r}, expected a word or more"
            elif len(self.hypothesis) + len(label) > _LONGEST:
                yield f"hypothesis number {number} has more than {_LONGEST:,} characters"
            elif self.labels.index(label) != number:
                yield f"the label {label!r} comes twice"


def zero_shot_of(
    labels: Sequence[str] | None, hypothesis: str | None = None, *, multi_label: bool = False
) -> ZeroShot | None:
    """Return what labels and a template ask, if there are labels.

    Raises:
        InputError: If there is a template or `multi_label` without a label, or as `ZeroShot` does.
    """
    if not labels:
        if hypothesis is not None or multi_label or labels is not None:
            raise InputError("A hypothesis needs labels: zero_shot=[...], or --zero-shot for each on the command line.")
        return None
    return ZeroShot(labels=labels, hypothesis=HYPOTHESIS if hypothesis is None else hypothesis, multi_label=multi_label)
