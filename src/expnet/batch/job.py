"""A batch job: a file or folder of texts in, a folder of explained shards out, in steps that can be repeated."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from expnet.batch.added_columns import OK
from expnet.batch.files import InputFile, Reader, ShardSource, common_schema, places, survey
from expnet.batch.folders import find_files
from expnet.batch.rows import check_columns, explain_rows, explain_sample, to_table
from expnet.batch.settings import Settings
from expnet.batch.shards import first_failure, missing_shards, open_folder, shard_path, statuses, write_shard
from expnet.errors import BatchError, InputError
from expnet.explainer import Explainer
from expnet.identity import models, sha256
from expnet.runtime.progress import track
from expnet.runtime.versions import versions


@dataclass(frozen=True, slots=True)
class Work:
    """All that a process needs, beside the explainer, to make any of the shards."""

    files: tuple[InputFile, ...]
    places: tuple[ShardSource, ...]
    schema: pa.Schema
    settings: Settings
    output: Path
    run: dict[str, Any]

    def reader(self) -> Reader:
        """Return a reader of the chunks."""
        return Reader(self.files, self.schema, self.settings.columns)

    def make(self, number: int, explainer: Explainer, reader: Reader) -> Counter[str]:
        """Explain a chunk and write its shard; return how many rows have each status."""
        chunk = reader.read(number)
        outcomes = explain_rows(explainer, chunk, self.settings)
        counts = Counter(outcome.status for outcome in outcomes)
        table = to_table(
            chunk.table, outcomes, self.settings.prefix, explainer.classifier.kind, every=self.settings.every
        )
        write_shard(shard_path(self.output, number), table, {**self.about(number), "statuses": dict(counts)})
        return counts

    def about(self, number: int) -> dict[str, Any]:
        """Return what identifies a shard: what made it, and where its rows come from."""
        return {**self.run, "shard": {"number": number, **asdict(self.places[number])}}


# Makes the shards of these numbers and yields the statuses of each, as they get done.
Engine = Callable[[Work, Sequence[int]], Iterator[Counter[str]]]


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a job.

    Attributes:
        statuses: Rows by status.
        shards: How many.
        not_read: Files in the folder whose type is not supported.
        failure: Status and error of the first row, where there are rows and not one of them was explained; else None.
        meaning: The sentence on what the scores measure, as `Explanation.meaning`; "" if the method does not say.
    """

    statuses: Counter[str]
    shards: int
    not_read: tuple[Path, ...]
    failure: str | None = None
    meaning: str = ""


def explain_file(
    explainer: Explainer,
    source: str | Path,
    output: str | Path,
    *,
    settings: Settings | None = None,
    engine: Engine | None = None,
    progress: bool = False,
) -> Summary:
    """Explain every row of a Parquet, JSON lines, CSV or Arrow file, or of all such files in a folder.

    Rows keep their order and their columns; `expnet.batch.added_columns` lists what is added. A row that cannot be
    explained has a status other than "ok", and an error. Run again after an interruption, with the same arguments, a
    job resumes where it stopped; the files are the same as without the interruption.

    Args:
        explainer: As from `expnet.load`.
        source: The file or folder; a folder may also be what `datasets` saved.
        output: A folder for the shards: a new one, an empty one, or the one of an interrupted job.
        settings: Columns, method and limits.
        engine: Where shards are made; in this process unless another is given, such as `expnet.batch.on_ray.on_ray`.
        progress: Show a progress bar.

    Raises:
        BatchError: If the input cannot be read, or changes meanwhile; if the output cannot be written, belongs to
            another job, or another process is writing to it.
        InputError: If a column is missing or its name is needed; and whatever `Explainer.explain` raises for all texts.
        ModelError: If the model fails on any text, at the start or from some row on.
    """
    settings = settings or Settings()
    source, output = Path(source), Path(output).resolve()
    paths, not_read = find_files(source)
    if source.is_dir() and output.is_relative_to(source.resolve()):
        raise InputError(f"The output {output} lies in the folder that is read: choose another place.")
    files = tuple(survey(path, source, settings.shard_rows) for path in paths)
    schema = common_schema(files)
    if any(file.schema.names or file.counts for file in files):  # an empty file has neither
        _check_readable(files, schema)
        check_columns(schema.names, settings, explainer.classifier.kind)
    work = Work(files, places(files), schema, settings, output, fingerprint(explainer, settings, files))
    numbers = range(len(work.places))
    with open_folder(output, {**work.run, "shards": len(numbers)}):
        left = missing_shards(output, [work.about(number) for number in numbers])
        done = (engine or in_turn(explainer))(work, left)
        rows = sum(work.places[number].rows for number in left)
        for _ in track(done, "explaining", show=progress, total=rows, size=Counter.total):
            pass
        counts = sum((statuses(output, number) for number in numbers), Counter[str]())
        failure = None if counts[OK] or not counts.total() else first_failure(output, settings.prefix)
        return Summary(counts, len(numbers), tuple(not_read), failure, work.run["meaning"])


def _check_readable(files: Sequence[InputFile], schema: pa.Schema) -> None:
    """Refuse files without a single row that can be read: their columns are unknown.

    Raises:
        BatchError: With what is wrong with the first row.
    """
    problems = {} if schema.names else Reader(files, schema, ()).read(0).problems
    if problems:
        name = next(file.name for file in files if file.counts)
        raise BatchError(
            f"No row of {name} can be read, {problems[0]}. Is it of the type that its name says, in UTF-8?"
        )


def in_turn(explainer: Explainer) -> Engine:
    """Make one shard after the other in this process."""

    def run(work: Work, numbers: Sequence[int]) -> Iterator[Counter[str]]:
        reader = work.reader()
        for number in numbers:
            yield work.make(number, explainer, reader)

    return run


def fingerprint(explainer: Explainer, settings: Settings, files: Sequence[InputFile]) -> dict[str, Any]:
    """Return what the output depends on: models, method, settings, versions and input, as JSON types.

    Explains one short text, so that an error that every row would have is raised here.
    """
    sample = explain_sample(explainer, settings)
    asked = asdict(settings)
    return {
        **asked,
        "options": {name: _short(value) for name, value in asked["options"].items()},
        **models(explainer),
        "kind": sample.kind,
        "meaning": sample.meaning,
        "signed": sample.signed,
        "calibrated": sample.calibrated,
        "threshold": sample.threshold,
        "input": sha256(json.dumps([(file.name, file.sha256) for file in files])),
        "versions": versions("pyarrow"),
    }


def _short(value: Any) -> str:
    """Return a value in JSON, or a hash of it where it is long, such as a list of texts."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 200 else sha256(text)
