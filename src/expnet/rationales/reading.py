"""Read a file of any known format, with everything wrong in it reported."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from expnet.errors import RationaleError
from expnet.rationales.offsets import Offsets, check_offsets, unit_of
from expnet.rationales.problems import Found, Problem, ReadFile, count_kinds
from expnet.rationales.readers.options import Options
from expnet.rationales.readers.shared import read_shared
from expnet.rationales.readers.table import RationaleFormat, find_format, recognise
from expnet.rationales.records import Record
from expnet.rationales.votes import Rule

OnError = Literal["refuse", "skip"]
_SHOWN = 5


def read(
    path: str | Path,
    *,
    format: str = "auto",
    rationale: str | None = None,
    split: str | None = None,
    labels: Collection[str] | None = None,
    offsets: Offsets = "auto",
    text: str | None = None,
    pair: str | None = None,
    choice: str | None = None,
    on_error: OnError = "refuse",
) -> ReadFile:
    """Read records with their annotators, and report everything that cannot be read.

    Args:
        path: A file; of ERASER the annotations, with the documents beside them; of doccano also a folder.
        format: A name in `FORMATS`; "auto" goes by the suffix and the first row.
        rationale: For the shared format the field with the marks ("rationale"). For others how the annotators'
            marks become one: "union" (the default: what any of them marked, as HateXplain's authors do) or
            "majority" (what more than half did).
        split: HateXplain: only the posts of this split.
        labels: The labels there may be; a text with another or without one is a problem.
        offsets: What the offsets of marks count: "characters", "utf-16" units, as JavaScript does, or bytes of "utf-8".
            "auto" tells it by the text that the file quotes beside its marks. Where it quotes nothing, marks of the
            shared format, Prodigy and ToxicSpans count characters; those of Label Studio, doccano and Argilla are a
            problem if characters and UTF-16 units would mark different words, as after an emoji.
        text: The field that holds the text, of Label Studio, doccano, Prodigy and Argilla. Without it Label Studio's
            marks tell, by what they quote and the name of what they stand on; marks on two texts make a pair.
        pair: Label Studio, Argilla: the field that holds the second text.
        choice: The control of Label Studio, or question of Argilla, whose choice is the text's label, where it is not
            the only one.
        on_error: "refuse" raises when anything is wrong, "skip" leaves these texts out and returns the problems.

    Raises:
        RationaleError: If the file cannot be opened or its format not told; with "refuse", if there is any
            problem: the message counts them all and holds the first few.
    """
    path = Path(path)
    chosen = _format(path, format, text)
    check_offsets(offsets)
    _check_taken(path, chosen, {"offsets": offsets, "text": text, "pair": pair, "choice": choice})
    if chosen.read is None:
        items = read_shared(path, rationale or "rationale", unit=unit_of(offsets))
    else:
        rule = _rule(path, chosen, rationale)
        items = chosen.read(path, Options(rule, offsets, text, pair, choice))
    if split is not None:
        items = _of_split(path, chosen, items, split)
    return gather(str(path), items, labels, on_error)


def read_records(
    path: str | Path,
    *,
    rationale: str = "rationale",
    drop_overlap: str | None = None,
    offsets: Offsets = "auto",
) -> list[Record]:
    """Read records from JSON lines, plain or gzipped.

    A line holds `text` (and `pair`) or `tokens` (or `tokens_a` and `tokens_b`), and as far as they are known
    `id`, `label` and the rationale: 0/1 per token, or `[start, end]` or `[start, end, segment]` character spans.
    `annotators` holds such marks of each person, null for who gave none, with `annotator_labels` and `annotator_ids`
    beside it; of a pair, 0/1 for the words of both parts. With `text` and `tokens`, the tokens must spell the text.

    Args:
        path: A `.jsonl` or `.jsonl.gz` file.
        rationale: The field with the marks, such as `rationale_majority`; pairs add `_a` and `_b`.
        drop_overlap: Leave out lines whose `overlap` field names this set, to keep test texts out of training.
        offsets: What spans count: "characters" (also "auto"), "utf-16" units or bytes of "utf-8".

    Raises:
        RationaleError: If a line cannot be read, named by file and line.
    """
    records: list[Record] = []
    for item in _with_ids_of_their_own(str(path), read_shared(Path(path), rationale, drop_overlap, unit_of(offsets))):
        if isinstance(item, Problem):
            raise RationaleError(str(item))
        records.append(item[1])
    return records


def gather(file: str, items: Iterable[Found], labels: Collection[str] | None, on_error: OnError) -> ReadFile:
    """Sort what a reader yields into records and problems; a repeated id or a label not among `labels` is a problem.

    Raises:
        RationaleError: With "refuse", if there is any problem.
    """
    reading = ReadFile([], [], [])
    for item in _with_ids_of_their_own(file, items):
        if isinstance(item, Problem):
            reading.problems.append(item)
            continue
        line, record = item
        if labels is not None and record.label not in labels:
            came = "there is no label" if record.label is None else f"the label is {record.label!r}"
            reason = f"{came}, expected one of {', '.join(sorted(labels))}"
            reading.problems.append(Problem(file, line, reason, record.id, "label"))
        else:
            reading.records.append(record)
            reading.lines.append(line)
    if on_error != "skip" and reading.problems:
        raise RationaleError(_refusal(file, reading.problems))
    return reading


def _format(path: Path, name: str, text: str | None) -> RationaleFormat:
    if name != "auto":
        return find_format(name)
    if path.is_dir():
        raise RationaleError(
            f"{path} is a folder: name one of its files, or say format='doccano' for a folder of doccano exports."
        )
    recognised = recognise(path, text)
    if recognised is None:
        raise RationaleError(
            f"The format of {path} cannot be told from its name and first row. "
            "Say which with format=; `expnet data list` names all."
        )
    return recognised


def _check_taken(path: Path, chosen: RationaleFormat, given: Mapping[str, str | None]) -> None:
    for option, value in given.items():
        if value not in (None, "auto") and option not in chosen.takes:
            raise RationaleError(
                f"{path} is {chosen.reads}, for which {option}={value!r} has no meaning; leave it out."
            )


def _rule(path: Path, chosen: RationaleFormat, rationale: str | None) -> Rule:
    if rationale in (None, "union"):
        return "union"
    if rationale == "majority":
        return "majority"
    raise RationaleError(
        f"{path} is {chosen.reads}: expected rationale to be 'union' or 'majority', got {rationale!r}."
    )


def _of_split(path: Path, chosen: RationaleFormat, items: Iterator[Found], split: str) -> Iterator[Found]:
    if chosen.splits is None:
        raise RationaleError(f"{path} is {chosen.reads}, which holds one split; read the file of the split you want.")
    splits = chosen.splits(path)
    if split not in splits:
        raise RationaleError(f"There is no split {split!r} of {path}. Splits: {', '.join(splits)}.")
    return _named(str(path), items, dict.fromkeys(splits[split]), split)


def _named(file: str, items: Iterator[Found], wanted: dict[str, None], split: str) -> Iterator[Found]:
    """Keep the ids wanted, in the file's order; a missing one is a problem."""
    missing = dict(wanted)
    for item in items:
        id = item.id if isinstance(item, Problem) else item[1].id
        missing.pop(str(id), None)
        if id in wanted or id is None:
            yield item
    for id in missing:
        yield Problem(file, 0, f"the split {split!r} names {id!r}, which is not in the file", id, "id")


def _with_ids_of_their_own(file: str, items: Iterable[Found]) -> Iterator[Found]:
    seen: set[str] = set()
    for item in items:
        if isinstance(item, Problem):
            yield item
        elif item[1].id in seen:
            yield Problem(file, item[0], f"the id {item[1].id!r} was used before", item[1].id, "id")
        else:
            seen.add(item[1].id)
            yield item


def _refusal(file: str, problems: list[Problem]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in count_kinds(problems).items())
    shown = "; ".join(str(problem) for problem in problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return (
        f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in {file} ({kinds}): {shown}{more}. "
        "Leave these texts out with on_error='skip', or see all with: expnet data check."
    )
