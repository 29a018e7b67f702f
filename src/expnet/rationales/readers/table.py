"""The table of formats that can be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expnet.errors import RationaleError, did_you_mean
from expnet.rationales.files import csv_rows, json_elements, json_lines, lines
from expnet.rationales.problems import Found, Problem, SourceRow
from expnet.rationales.readers.argilla import read_argilla
from expnet.rationales.readers.doccano import read_doccano
from expnet.rationales.readers.eraser import read_eraser
from expnet.rationales.readers.esnli import read_esnli
from expnet.rationales.readers.fair_rationales import read_fair_rationales
from expnet.rationales.readers.hatexplain import hatexplain_splits, read_hatexplain
from expnet.rationales.readers.label_studio import read_label_studio
from expnet.rationales.readers.options import Options
from expnet.rationales.readers.prodigy import read_prodigy
from expnet.rationales.readers.toxic_spans import read_toxic_spans
from expnet.rationales.readers.trees import read_trees
from expnet.rationales.votes import Rule

Read = Callable[[Path, Options], Iterator[Found]]


@dataclass(frozen=True, slots=True)
class RationaleFormat:
    """One format: what it reads, and how its files are recognised.

    Attributes:
        name: What `format=` says.
        reads: What it is, for people.
        suffix: Of its files, without `.gz`.
        recognises: Whether the first row that can be read is of this format.
        read: From a path and options; None for the shared format, whose rationale is a field.
        takes: Which of the options it has beside the rule that joins annotators.
        splits: From a path to the ids of each split, where one file holds several.
    """

    name: str
    reads: str
    suffix: str
    recognises: Callable[[Mapping[str, Any]], bool]
    read: Read | None
    takes: frozenset[str] = frozenset()
    splits: Callable[[Path], Mapping[str, Sequence[str]]] | None = None


def _by_rule(read: Callable[[Path, Rule], Iterator[Found]]) -> Read:
    return lambda path, options: read(path, options.rule)


def _has(*fields: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda row: all(field in row for field in fields)


def _is_doccano(row: Mapping[str, Any]) -> bool:
    marks = [row.get(field) for field in ("label", "labels", "entities", "annotations")]
    return ("text" in row or "data" in row) and any(isinstance(mark, list) for mark in marks)


def _is_prodigy(row: Mapping[str, Any]) -> bool:
    return "_input_hash" in row or ("text" in row and ("answer" in row or "spans" in row))


def _is_label_studio(row: Mapping[str, Any]) -> bool:
    return ("data" in row and ("annotations" in row or "completions" in row)) or "annotation_id" in row


def _is_toxic_spans(row: Mapping[str, Any]) -> bool:
    return "text_of_post" in row or ("spans" in row and "text" in row)


# Of formats with the same suffix the first that recognises a row is taken. The shared format takes what is left, so
# that its lines without a text are reported; but not the documents of an ERASER set.
FORMATS: tuple[RationaleFormat, ...] = (
    RationaleFormat(
        "hatexplain",
        "HateXplain dataset.json",
        ".json",
        _has("post_tokens"),
        _by_rule(read_hatexplain),
        splits=hatexplain_splits,
    ),
    RationaleFormat(
        "label-studio",
        "Label Studio JSON or JSON-MIN export",
        ".json",
        _is_label_studio,
        read_label_studio,
        frozenset({"offsets", "text", "pair", "choice"}),
    ),
    RationaleFormat(
        "argilla",
        "Argilla 2 records, as `dataset.records.to_json` writes them",
        ".json",
        _has("fields", "responses", "suggestions"),
        read_argilla,
        frozenset({"offsets", "text", "pair", "choice"}),
    ),
    RationaleFormat(
        "eraser",
        "ERASER annotations beside docs/",
        ".jsonl",
        _has("annotation_id", "evidences"),
        _by_rule(read_eraser),
    ),
    RationaleFormat(
        "prodigy", "Prodigy JSONL export", ".jsonl", _is_prodigy, read_prodigy, frozenset({"offsets", "text"})
    ),
    RationaleFormat(
        "doccano",
        "doccano JSONL export, or a folder of them",
        ".jsonl",
        _is_doccano,
        read_doccano,
        frozenset({"offsets", "text"}),
    ),
    RationaleFormat("esnli", "e-SNLI csv", ".csv", _has("Sentence1", "Sentence1_marked_1"), _by_rule(read_esnli)),
    RationaleFormat(
        "fair-rationales",
        "FairRationales csv",
        ".csv",
        _has("sentence", "rationale_index"),
        _by_rule(read_fair_rationales),
    ),
    RationaleFormat(
        "toxic-spans",
        "ToxicSpans csv, of SemEval 2021 or ACL 2022",
        ".csv",
        _is_toxic_spans,
        read_toxic_spans,
        frozenset({"offsets"}),
    ),
    RationaleFormat(
        "sst-trees", "Stanford Sentiment Treebank trees, a line each", ".txt", _has("tree"), _by_rule(read_trees)
    ),
    RationaleFormat(
        "shared", "expnet's JSON lines", ".jsonl", lambda row: "docid" not in row, None, frozenset({"offsets"})
    ),
)

_ROWS: dict[str, Callable[[Path], Iterator[SourceRow | Problem]]] = {
    ".json": json_elements,
    ".jsonl": json_lines,
    ".csv": csv_rows,
}


def find_format(name: str) -> RationaleFormat:
    """Return the format of this name.

    Raises:
        RationaleError: If there is no such format.
    """
    for one in FORMATS:
        if one.name == name:
            return one
    names = [one.name for one in FORMATS]
    raise RationaleError(f"There is no format {name!r}.{did_you_mean(name, names)} Formats: auto, {', '.join(names)}.")


def recognise(path: Path, text: str | None = None) -> RationaleFormat | None:
    """Return the format of a file by its suffix and its first readable row, None where none fits.

    Args:
        path: The file.
        text: The field that holds the text, where it is not called `text`.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix == ".txt":
        with_tree = _first_line_is_a_tree(path)
        return find_format("sst-trees") if with_tree else None
    if suffix not in _ROWS:
        return None
    row = next((row.fields for row in _ROWS[suffix](path) if isinstance(row, SourceRow)), {})
    if text in row:
        row = {**row, "text": row[text]}
    return next((one for one in FORMATS if one.suffix == suffix and one.recognises(row)), None)


def _first_line_is_a_tree(path: Path) -> bool:
    first = next((line[1] for line in lines(path) if not isinstance(line, Problem) and line[1].strip()), b"")
    return first.startswith(b"(") and first[1:2] in (b"0", b"1", b"2", b"3", b"4")
