"""ERASER's layout: annotations in JSON lines, documents beside them in `docs/` or `docs.jsonl`."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from expnet.errors import InputError, RationaleError
from expnet.files.lines import texts
from expnet.rationales.fields import items, name, quoted, string
from expnet.rationales.files import json_lines
from expnet.rationales.problems import Found, RowError, SourceRow, parsed
from expnet.rationales.records import Record
from expnet.rationales.votes import Rule
from expnet.text.texts import Text
from expnet.text.words import Span

Documents = Callable[[str], list[str]]


def read_eraser(path: Path, rule: Rule) -> Iterator[Found]:
    """Read annotations: the words of the document, and of the query as the pair where queries differ in the file.

    A premise and a hypothesis become text and pair. The rationale is every piece of evidence; None without any.
    ERASER keeps no annotators, so that `rule` has nothing to decide.
    """
    rows = list(json_lines(path))
    queries = {str(row.fields.get("query")) for row in rows if isinstance(row, SourceRow)}
    documents = _documents(path.parent)
    return parsed(str(path), rows, lambda row: _record(row, documents, len(queries) > 1))


def _record(row: SourceRow, documents: Documents, with_query: bool) -> Record:
    fields = row.fields
    evidence = [piece for group in items(fields, "evidences", "groups") or [] for piece in _pieces(group)]
    parts = _parts(fields, evidence)
    pair = documents(parts[1]) if len(parts) > 1 else string(fields, "query").split() if with_query else None
    text = Text.from_words(documents(parts[0]), pair)
    spans = tuple(_span(text, parts, piece) for piece in evidence)
    marks = spans or None
    return Record(name(fields, "annotation_id") or str(row.line), text, name(fields, "classification"), marks)


def _pieces(group: Any) -> list[dict[str, Any]]:
    if not isinstance(group, list) or not all(isinstance(piece, dict) for piece in group):
        raise RowError("field", f"expected 'evidences' to hold lists of objects, got {group!r}")
    return group


def _parts(fields: dict[str, Any], evidence: list[dict[str, Any]]) -> list[str]:
    """Return the ids of the one document, or of premise and hypothesis."""
    named = {str(name(piece, "docid")) for piece in evidence} | {str(d) for d in items(fields, "docids", "names") or ()}
    docids = sorted(named or {str(name(fields, "annotation_id"))})
    if all(docid.endswith(("_premise", "_hypothesis")) for docid in docids):
        stem = docids[0].rpartition("_")[0]
        docids = sorted({*docids, f"{stem}_premise", f"{stem}_hypothesis"}, reverse=True)
        if len(docids) == 2:
            return docids
    if len(docids) > 1:
        raise RowError(
            "field", f"the evidence lies in {len(docids)} documents ({', '.join(docids[:3])}); one is expected"
        )
    return docids


def _span(text: Text, parts: list[str], piece: dict[str, Any]) -> Span:
    segment = parts.index(str(piece["docid"]))
    words = [word for word in text.words if word.segment == segment]
    start, end = piece.get("start_token"), piece.get("end_token")
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(words):
        raise RowError("marks", f"the evidence {start}:{end} lies outside the document of {len(words)} tokens")
    return quoted(text, Span(words[start].start, words[end - 1].end, segment), piece.get("text"))


def _documents(folder: Path) -> Documents:
    """Return how to look up the tokens of a document."""
    together = folder / "docs.jsonl"
    if together.is_file():
        rows = [row for row in json_lines(together) if isinstance(row, SourceRow)]
        known = {str(row.fields.get("docid")): row.fields for row in rows}

        def from_file(docid: str) -> list[str]:
            if docid not in known:
                raise RowError("field", f"there is no document {docid!r} in {together}")
            return _tokens(string(known[docid], "document"))

        return from_file
    docs = folder / "docs"
    if not docs.is_dir():
        raise RationaleError(f"The documents of an ERASER set are in {docs} or {together}, but neither exists.")

    def from_folder(docid: str) -> list[str]:
        place = docs / docid
        if not place.resolve().is_relative_to(docs.resolve()) or not place.is_file():
            raise RowError("field", f"there is no document {docid!r} in {docs}")
        try:
            return _tokens("\n".join(texts(place)))
        except InputError as error:
            raise RowError("text", f"the document cannot be read: {error}") from error

    return from_folder


def _tokens(document: str) -> list[str]:
    """Split as the set's authors count: at blanks and ends of lines, so not at a no-break space inside a token."""
    return [token for line in re.split(r"[\r\n]", document) for token in line.strip().split(" ") if token]
