"""What a job reads is what it hashed, and a shard is what its own metadata says."""

import json
import multiprocessing
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from expnet.audit.shards import open_explained
from expnet.batch import Settings, explain_file
from expnet.batch.files import Reader, survey
from expnet.batch.hashed import HashedFile
from expnet.errors import BatchError
from tests.batch.test_batch_folders import write_arrow
from tests.batch_jobs import TEXTS, content, read, run, write_lines, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer

ROWS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
OTHERS = [{"id": number, "text": text[::-1]} for number, text in enumerate(TEXTS)]  # as long


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


def as_csv(path, rows):
    path.write_text("id,text\n" + "".join(f'{row["id"]},"{row["text"]}"\n' for row in rows))
    return path


def as_arrow(path, rows):
    return write_arrow(path, pa.Table.from_pylist(rows))


KINDS = {"in.parquet": write_parquet, "in.jsonl": write_lines, "in.csv": as_csv, "in.arrow": as_arrow}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_is_rewritten_while_the_job_runs_stops_it(tmp_path, explainer, name):
    """Neither size nor time of the file tell: both are as before."""
    source, settings = KINDS[name](tmp_path / name, ROWS), Settings(shard_rows=3)
    before = source.stat()

    def rewriting(work, numbers):
        for number in numbers:  # each shard is read from the disk, as by another process of a cluster
            yield work.make(number, explainer, work.reader())
            KINDS[name](source, OTHERS)
            os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))

    with pytest.raises(BatchError, match=rf"{name} has changed since this run hashed it"):
        explain_file(explainer, source, tmp_path / "out", settings=settings, engine=rewriting)
    assert [row["text"] for row in read(tmp_path / "out")] == TEXTS[:3]
    with pytest.raises(BatchError, match="input was"):
        run(explainer, source, tmp_path / "out", shard_rows=3)
    KINDS[name](source, ROWS)
    assert [row["text"] for row in run(explainer, source, tmp_path / "out", shard_rows=3)] == TEXTS


@pytest.mark.parametrize("name", KINDS)
def test_a_file_with_other_rows_than_were_hashed_is_not_read(tmp_path, name):
    source = KINDS[name](tmp_path / name, ROWS)
    file = survey(source, source, 3)
    KINDS[name](source, ROWS[:4])
    with pytest.raises(BatchError, match="has changed since this run hashed it"):
        Reader([file], file.schema, ["text"]).read(0)


def test_lines_appended_while_the_job_runs_belong_to_another_job(tmp_path):
    source = write_lines(tmp_path / "in.jsonl", ROWS)
    file = survey(source, source, 100)
    with source.open("a") as log:
        log.write('{"text": "later"}\n')
    assert Reader([file], file.schema, ["text"]).read(0).cells["text"] == TEXTS


def test_bytes_of_a_hashed_file_are_those_of_the_file_wherever_one_begins_to_read(tmp_path):
    data = os.urandom(3 * 2**20 + 17)
    (tmp_path / "x").write_bytes(data)
    with HashedFile.of(tmp_path / "x").open() as file:
        for start, size in ((0, 10), (2**20 - 5, 10), (5, 3 * 2**20), (len(data) - 3, 100), (len(data), 5)):
            file.seek(start)
            assert file.read(size) == data[start : start + size]
            assert file.tell() == min(start + size, len(data))
        assert file.seek(-4, os.SEEK_END) == len(data) - 4
        assert file.read() == data[-4:]


def test_the_last_of_many_blocks_that_changed_is_noticed_when_it_is_read(tmp_path):
    data = bytearray(os.urandom(3 * 2**20))
    (tmp_path / "x").write_bytes(data)
    hashed = HashedFile.of(tmp_path / "x")
    data[-1] ^= 1
    (tmp_path / "x").write_bytes(data)
    with hashed.open() as file:
        assert file.read(2 * 2**20) == data[: 2 * 2**20]
        with pytest.raises(BatchError, match="changed"):
            file.read()


class TestShards:
    @pytest.fixture
    def job(self, tmp_path, explainer):
        source = write_parquet(tmp_path / "in.parquet", ROWS)
        run(explainer, source, tmp_path / "out", shard_rows=3)
        return source, tmp_path / "out"

    def test_a_shard_under_another_s_name_does_not_count_as_done(self, explainer, job):
        source, output = job
        shutil.copy(output / "part-000000.parquet", output / "part-000001.parquet")
        before = content(output)
        with pytest.raises(BatchError, match=r"part-000001\.parquet is not the shard.*'number': 0.*'number': 1"):
            run(explainer, source, output, shard_rows=3)
        with pytest.raises(BatchError, match=r"part-000001\.parquet is shard 0 under another name"):
            open_explained(output)
        assert content(output) == before

    def test_a_shard_of_another_job_does_not_count_as_done(self, tmp_path, explainer, job):
        source, output = job
        run(explainer, source, tmp_path / "other", shard_rows=3, method="saliency")
        shutil.copy(tmp_path / "other" / "part-000001.parquet", output)
        with pytest.raises(BatchError, match=r"part-000001\.parquet.*method was 'saliency' and is 'expnet'"):
            run(explainer, source, output, shard_rows=3)
        (output / "part-000001.parquet").unlink()
        assert len(run(explainer, source, output, shard_rows=3)) == len(ROWS)

    @pytest.mark.parametrize("name", ["part-000000 (copy).parquet", "COPY.PARQUET", "copy/part-000000.parquet"])
    def test_a_copy_that_readers_of_the_folder_would_read_twice_is_refused(self, explainer, job, name):
        source, output = job
        (output / name).parent.mkdir(exist_ok=True)
        shutil.copy(output / "part-000000.parquet", output / name)
        with pytest.raises(BatchError, match=r"(copy|COPY).* is not one of the 3 shards of this job"):
            run(explainer, source, output, shard_rows=3)

    @pytest.mark.parametrize(
        "change",
        [
            lambda about: about.pop("statuses"),
            lambda about: about.pop("shard"),
            lambda about: about.update(shard=[]),
            lambda about: about["shard"].update(rows=4),
            lambda about: about.update(statuses={"ok": 2}),
            lambda about: about.update(statuses={"ok": "3"}),
        ],
    )
    def test_a_shard_whose_metadata_does_not_fit_its_rows_is_refused(self, explainer, job, change):
        source, output = job
        path = output / "part-000001.parquet"
        about = json.loads(pq.read_schema(path).metadata[b"expnet"])
        change(about)
        self.describe(path, json.dumps(about))
        for look in (lambda: run(explainer, source, output, shard_rows=3), lambda: open_explained(output)):
            with pytest.raises(BatchError, match=r"part-000001\.parquet is damaged"):
                look()

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 10**6])
    def test_metadata_that_is_no_object_is_refused(self, explainer, job, text):
        source, output = job
        self.describe(output / "part-000000.parquet", text)
        for look in (lambda: run(explainer, source, output, shard_rows=3), lambda: open_explained(output)):
            with pytest.raises(BatchError, match=r"part-000000\.parquet is damaged"):
                look()

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 10**6])
    def test_a_damaged_record_of_the_job_is_refused(self, explainer, job, text):
        source, output = job
        (output / "_job.json").write_text(text)
        for look in (lambda: run(explainer, source, output, shard_rows=3), lambda: open_explained(output)):
            with pytest.raises(BatchError, match=r"_job\.json is damaged"):
                look()

    def test_rows_that_are_not_those_of_the_metadata_are_not_audited(self, job):
        _, output = job
        path = output / "part-000001.parquet"
        table = pq.read_table(path)
        position = table.schema.get_field_index("status")
        changed = table.set_column(position, "status", pa.array(["ok", "ok", "failed"]))
        pq.write_table(changed, path)
        opened = open_explained(output)
        with pytest.raises(BatchError, match=r"holds \{'ok': 2, 'failed': 1\}, and its metadata says \{'ok': 3\}"):
            opened.rows(opened.shards[1])
        pq.write_table(table.drop_columns(["scores", "words"]), path)
        opened = open_explained(output)
        with pytest.raises(BatchError, match=r"cannot be read: No match for .*scores"):
            opened.rows(opened.shards[1])

    def test_a_shard_that_changes_while_it_is_audited_is_noticed(self, tmp_path, explainer, job):
        _, output = job
        opened = open_explained(output)
        source = write_parquet(tmp_path / "other.parquet", OTHERS)
        run(explainer, source, tmp_path / "other", shard_rows=3)
        shutil.copy(tmp_path / "other" / "part-000001.parquet", output)
        assert opened.rows(opened.shards[0])[0]["text"].to_pylist() == TEXTS[:3]
        with pytest.raises(BatchError, match=r"part-000001\.parquet has changed"):
            opened.rows(opened.shards[1])

    def test_an_end_that_is_missing_is_noticed_by_an_audit(self, job):
        _, output = job
        (output / "part-000002.parquet").unlink()
        with pytest.raises(BatchError, match=r"part-000002\.parquet is missing"):
            open_explained(output)

    def test_metadata_without_the_models_is_refused_by_an_audit(self, job):
        _, output = job
        for path in output.glob("*.parquet"):
            about = json.loads(pq.read_schema(path).metadata[b"expnet"])
            del about["classifier_hash"]
            about["prefix"] = 5
            self.describe(path, json.dumps(about))
        with pytest.raises(BatchError, match="lacks prefix, classifier_hash"):
            open_explained(output)

    @staticmethod
    def describe(path, text):
        pq.write_table(pq.read_table(path).replace_schema_metadata({b"expnet": text}), path)


def hold(explainer, source, output, started, go_on):
    """Run a job that waits in the middle of its second shard."""
    whole = explainer.explain

    def waiting(texts, **settings):
        if len(texts) == 3 and {text.text for text in texts} == set(TEXTS[3:6]):
            started.set()
            assert go_on.wait(60)
        return whole(texts, **settings)

    explainer.explain = waiting
    run(explainer, source, output, shard_rows=3)


def test_a_second_process_is_refused_before_it_deletes_anything(tmp_path, explainer):
    source, output = write_parquet(tmp_path / "in.parquet", ROWS), tmp_path / "out"
    run(explainer, source, tmp_path / "alone", shard_rows=3)
    context = multiprocessing.get_context("fork")
    started, go_on = context.Event(), context.Event()
    first = context.Process(target=hold, args=(explainer, source, output, started, go_on))
    first.start()
    assert started.wait(60)
    (output / ".part-000001.parquet.0.tmp").write_bytes(b"half of the first process's shard")
    before = content(output)
    with pytest.raises(BatchError, match=r"Another process is writing to .*out: wait until it is done"):
        explain_file(explainer, source, output)
    assert content(output) == before
    go_on.set()
    first.join(60)
    assert first.exitcode == 0
    run(explainer, source, output, shard_rows=3)  # and the lock is free again
    assert content(output) == content(tmp_path / "alone")


def test_a_folder_with_something_else_in_it_gets_no_lock(tmp_path, explainer):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(BatchError, match="holds files, but no job"):
        run(explainer, write_parquet(tmp_path / "in.parquet"), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
