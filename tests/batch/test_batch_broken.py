"""Disks fill up, files and folders may not be read: nothing is lost in silence, and what was done stays."""

import errno
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from expnet.batch.files import survey
from expnet.batch.folders import find_files
from expnet.cli.app import app
from expnet.errors import BatchError, InputError
from tests.batch_jobs import TEXTS, content, run, write_lines, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer

_NOBODY = 65534


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture
def folder():
    """A folder that another user could read; pytest's own are private."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@contextmanager
def as_nobody():
    """Be a user whom permissions concern; root may read anything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def closed(path: Path):
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def test_where_the_disk_is_full_only_as_the_file_is_flushed_no_torn_shard_stays(tmp_path, explainer, monkeypatch):
    source = write_parquet(tmp_path / "in.parquet")
    run(explainer, source, tmp_path / "whole", shard_rows=3)
    flush, calls = os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) == 3:  # after that of the job and of the first shard
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BatchError, match=r"part-000001\.parquet cannot be written: No space left on device"):
        run(explainer, source, tmp_path / "out", shard_rows=3)
    assert sorted(content(tmp_path / "out")) == ["_job.json", "part-000000.parquet"]
    monkeypatch.undo()
    run(explainer, source, tmp_path / "out", shard_rows=3)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_full_disk_before_the_first_shard_leaves_a_folder_that_can_be_gone_on_with(tmp_path, explainer, monkeypatch):
    source = write_parquet(tmp_path / "in.parquet")

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(BatchError, match=r"_job\.json cannot be written: No space left on device"):
            run(explainer, source, tmp_path / "out")
    assert content(tmp_path / "out") == {}
    assert len(run(explainer, source, tmp_path / "out")) == len(TEXTS)


def test_a_file_that_may_not_be_read_is_named(folder):
    for name, write in (("in.parquet", write_parquet), ("in.jsonl", write_lines)):
        path = write(folder / name, [{"text": "good"}])
        with closed(path), as_nobody(), pytest.raises(BatchError, match=rf"{name} cannot be read.*Permission denied"):
            survey(find_files(path)[0][0], folder, 10)


def test_a_folder_that_may_not_be_read_stops_the_job_instead_of_being_left_out(folder):
    (folder / "in" / "inner").mkdir(parents=True)
    write_parquet(folder / "in" / "a.parquet")
    path = write_parquet(folder / "in" / "inner" / "b.parquet")
    assert len(find_files(folder / "in")[0]) == 2
    with closed(folder / "in" / "inner"), as_nobody():
        for source in (folder / "in", path):
            with pytest.raises(BatchError, match=r"cannot be read.*Permission denied"):
                find_files(source)
        with pytest.raises(InputError, match="or no permission to read it"):
            CliRunner().invoke(app, ["explain-file", str(path), str(folder / "out")], catch_exceptions=False)


def test_links_that_lead_nowhere_stop_the_job_and_linked_folders_are_named_as_not_read(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").mkdir()
    write_parquet(tmp_path / "elsewhere" / "b.parquet")
    write_parquet(tmp_path / "in" / "a.parquet")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "file.parquet").symlink_to(tmp_path / "elsewhere" / "b.parquet")
    known, others = find_files(tmp_path / "in")
    assert [path.name for path in known] == ["a.parquet", "file.parquet"]
    assert [path.name for path in others] == ["folder"]
    (tmp_path / "in" / "z.parquet").symlink_to(tmp_path / "nowhere.parquet")
    (*_, last) = find_files(tmp_path / "in")[0]
    with pytest.raises(BatchError, match=r"z\.parquet cannot be read.*No such file"):
        survey(last, tmp_path / "in", 10)


@pytest.mark.parametrize("name", ["in.parquet", "in.arrow"])
def test_a_file_of_no_bytes_is_refused_where_that_is_no_whole_file(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BatchError, match=f"{name} cannot be read"):
        survey(tmp_path / name, tmp_path, 10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not say")
@pytest.mark.parametrize("start", ['{"text": "', "text\n"])
def test_a_line_of_400_mb_in_a_small_file_is_refused_in_little_memory(tmp_path, start):
    """400 KB of gzip; in a process of its own, whose peak is nobody else's."""
    source = tmp_path / ("in.jsonl.gz" if start.startswith("{") else "in.csv.gz")
    with gzip.open(source, "wb", compresslevel=1) as file:
        file.write(start.encode())
        for _ in range(400):
            file.write(b"x" * 2**20)
    assert _refused_in_little_memory(source, "longer than 16,777,216 bytes")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not say")
@pytest.mark.parametrize("name", ["in.parquet", "in.arrow"])
def test_a_string_of_40_mb_that_many_rows_share_is_refused_in_little_memory(tmp_path, name):
    """A few kilobytes, of which a copy for each of the 64 rows would be gigabytes."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array(["a" * 40_000_000]))
    table = pa.table({"text": ["good"] * 64, "other": shared})
    if name == "in.parquet":
        pq.write_table(table, tmp_path / name, compression="zstd", store_schema=False)
    else:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(tmp_path / name, table.schema, options=options) as writer:
            writer.write_table(table)
    assert (tmp_path / name).stat().st_size < 20_000
    assert _refused_in_little_memory(tmp_path / name, "a string of 40,000,000 bytes in column 'other'")


def _refused_in_little_memory(source, reason):
    script = """if True:
        import resource, sys
        from pathlib import Path
        from expnet.batch.files import survey
        from expnet.errors import BatchError

        path = Path(sys.argv[1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            survey(path, path, 10)
        except BatchError as error:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
    """
    done = subprocess.run([sys.executable, "-c", script, source], capture_output=True, text=True, check=True)
    kilobytes, message = done.stdout.split(maxsplit=1)
    assert reason in message
    return int(kilobytes) < 200_000
