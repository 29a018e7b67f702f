"""The options of a reader."""

from dataclasses import dataclass

from expnet.rationales.offsets import Offsets
from expnet.rationales.votes import Rule


@dataclass(frozen=True, slots=True)
class Options:
    """How annotators are joined, what offsets count, and which fields hold what; see `expnet.rationales.read`."""

    rule: Rule = "union"
    offsets: Offsets = "auto"
    text: str | None = None
    pair: str | None = None
    choice: str | None = None
