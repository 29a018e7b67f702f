"""The Stanford Sentiment Treebank's trees: every phrase has a label from 0 to 4."""

import re
from collections.abc import Iterator
from pathlib import Path

from expnet.rationales.files import lines
from expnet.rationales.problems import Found, Problem, RowError, SourceRow, parsed
from expnet.rationales.records import Record
from expnet.rationales.votes import Rule
from expnet.text.texts import Text

_PIECE = re.compile(r"[()]|[^\s()]+")
_LONGEST = 5  # words; a longer phrase says little about which of its words carry the feeling
_ESCAPES = {"-LRB-": "(", "-RRB-": ")", "\\/": "/", "\\*": "*"}


def read_trees(path: Path, rule: Rule) -> Iterator[Found]:
    """Read sentences labelled positive (3, 4), negative (0, 1) or neutral (2).

    Nobody highlighted words here. The rationale is derived: the shortest phrases that share the sentence's polarity
    (no phrase inside does), up to five words long, without punctuation; None for neutral sentences, and where no
    phrase is short enough. There are no annotators, so that `rule` has nothing to decide.
    """

    def rows() -> Iterator[SourceRow | Problem]:
        for line in lines(path):
            if isinstance(line, Problem):
                yield line
            elif line[1].strip():
                yield SourceRow(line[0], {"tree": line[1].decode("utf-8", errors="surrogateescape")})

    return parsed(str(path), rows(), _record)


def _record(row: SourceRow) -> Record:
    words, phrases = _parse(row.fields["tree"])
    text = Text.from_words(words)
    root = _polarity(phrases[-1][0])
    label = {1: "positive", -1: "negative", 0: "neutral"}[root]
    alike = [(start, end) for feeling, start, end in phrases if _polarity(feeling) == root]
    marked: set[int] = set()
    for place, (start, end) in enumerate(alike):
        # Phrases come after those inside them.
        if end - start <= _LONGEST and not any(start <= s and e <= end for s, e in alike[:place]):
            marked.update(at for at in range(start, end) if any(c.isalnum() for c in words[at]))
    marks = tuple(text.words[at] for at in sorted(marked)) if root and marked else None
    return Record(str(row.line), text, label, marks)


def _polarity(feeling: int) -> int:
    return (feeling > 2) - (feeling < 2)


def _parse(tree: str) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Return the words, and label, start and end (in words) of each phrase, inner before outer."""
    words: list[str] = []
    phrases: list[tuple[int, int, int]] = []
    opened: list[tuple[int, int]] = []
    pieces = iter(_PIECE.findall(tree))
    for piece in pieces:
        if piece == "(":
            feeling = next(pieces, "nothing")
            if feeling not in "01234" or (phrases and not opened):
                raise RowError("broken", f"expected a label from 0 to 4 after '(' in one tree, got {feeling!r}")
            opened.append((int(feeling), len(words)))
        elif not opened:
            raise RowError("broken", f"expected one tree in brackets, got {piece!r} outside of it")
        elif piece == ")":
            feeling, start = opened.pop()
            phrases.append((feeling, start, len(words)))
        else:
            words.append(_plain(piece))
    if opened or not words:
        raise RowError(
            "broken", f"{len(opened)} brackets are not closed" if opened else "there is no tree in this line"
        )
    return words, phrases


def _plain(word: str) -> str:
    for escape, character in _ESCAPES.items():
        word = word.replace(escape, character)
    return word
