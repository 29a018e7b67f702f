"""What lies in an exported folder: the graph, the tokenizer, and a JSON that says how to use them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import get_args

from expnet.errors import MismatchError, ModelError
from expnet.files.parsing import FLAG, TEXT, check_fields, listed, number, one_of, parse_json, table, whole
from expnet.text.labels import OutputKind, refuse_twins

GRAPH, TOKENIZER, MANIFEST = "model.onnx", "tokenizer.json", "export.json"
SCHEMA = 2
_FIELDS = {
    "labels": listed(TEXT, 1, 100_000),
    "kind": one_of(*get_args(OutputKind)),
    "multi_label": FLAG,
    "max_length": whole(1, 2**31 - 1),
    "pad": whole(0, 2**31 - 1),
    "typed": FLAG,
    "threshold": number(0, 1),
    "provenance": table(TEXT),
    "measures": TEXT,
    "checked": TEXT,
    "versions": table(TEXT),
    "schema": one_of(SCHEMA),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All that explaining needs beside the graph and the tokenizer.

    Attributes:
        labels: Class names in the order of the logits.
        kind: What the outputs are: "probability", or "value" for a regression.
        multi_label: Whether each class has a probability of its own.
        max_length: Most tokens in one window, special tokens included.
        pad: Id that fills up shorter windows.
        typed: Whether the graph reads token type ids.
        threshold: Score from which on a word counts as part of the rationale.
        provenance: What explanations carry.
        measures: What a score measures, as `Method.measures`; "" in exports from before this was told.
        checked: The verdict of the explainer's check, or that there is none; "" likewise.
        versions: Of the packages that made the graph.
        schema: Version of this format.
    """

    labels: tuple[str, ...]
    kind: OutputKind
    multi_label: bool
    max_length: int
    pad: int
    typed: bool
    threshold: float
    provenance: Mapping[str, str]
    measures: str = ""
    checked: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def write(self, folder: Path) -> None:
        """Write it into an existing folder."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def is_export(folder: str | Path) -> bool:
    """Whether a folder holds an exported explainer."""
    return (Path(folder) / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Read what `Manifest.write` wrote.

    Raises:
        ModelError: If a file is missing or damaged.
        MismatchError: If it was written by another version.
    """
    for name in (MANIFEST, GRAPH, TOKENIZER):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} is no exported explainer: it holds no {name}. Write one with `expnet export`.")
    try:
        data = parse_json((folder / MANIFEST).read_bytes())
    except ValueError as error:
        raise ModelError(f"{folder / MANIFEST} is damaged: {error}") from error
    known = {field.name for field in fields(Manifest)}
    if isinstance(data, dict):
        data = {"measures": "", "checked": "", **data}
    if not isinstance(data, dict) or data.keys() != known or data["schema"] != SCHEMA:
        got = f"schema {data.get('schema')} with {sorted(data)}" if isinstance(data, dict) else type(data).__name__
        raise MismatchError(
            f"Expected {folder / MANIFEST} to hold schema {SCHEMA} with the fields {sorted(known)}, got {got}: it "
            "was written by another version of expnet. Export again."
        )
    try:
        check_fields(data, _FIELDS)
    except ValueError as error:
        raise ModelError(f"{folder / MANIFEST} is damaged: {error}.") from error
    refuse_twins(data["labels"])
    return Manifest(**data | {"labels": tuple(data["labels"])})
