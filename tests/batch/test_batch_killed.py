"""A job that is killed and started again writes the same bytes as one that was left alone."""

import os
import random
import signal
import time

import pytest

from tests.batch_jobs import content, read, run, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer

ROWS = [{"id": n, "text": " ".join(["good film", "bad", "one"][: n % 4])} for n in range(24)]
SHARDS = 8


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """An explainer, an input, what an undisturbed job wrote, and how many seconds it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    explainer = tiny_explainer(tiny_classifier())
    source = write_parquet(folder / "in.parquet", ROWS)
    run(explainer, source, folder / "warm", shard_rows=3)
    start = time.perf_counter()
    run(explainer, source, folder / "out", shard_rows=3)
    return explainer, source, content(folder / "out"), time.perf_counter() - start


def in_a_child(work) -> int:
    """Start a process that does some work and leaves; return its number."""
    if (child := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def how_it_ended(child: int) -> int:
    """Wait for a process; return the signal that killed it, or 0."""
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def test_killed_twenty_times_at_random_and_started_again_each_time(job, tmp_path):
    explainer, source, expected, seconds = job
    chance, unfinished, number = random.Random(0), 0, 0
    for _ in range(20):
        output = tmp_path / str(number)
        child = in_a_child(lambda output=output: run(explainer, source, output, shard_rows=3))
        time.sleep(chance.uniform(0, 1.5 * seconds))
        os.kill(child, signal.SIGKILL)
        how_it_ended(child)
        shards = list(output.glob("*.parquet"))
        unfinished += 0 < len(shards) < SHARDS
        if len(shards) == SHARDS:
            number += 1  # begin another job
        for path in shards:  # whatever is there is whole
            assert path.read_bytes() == expected[path.name]
    for finished in range(number + 1):
        run(explainer, source, tmp_path / str(finished), shard_rows=3)
        assert content(tmp_path / str(finished)) == expected
    assert unfinished  # else the processes died before or after the work


@pytest.mark.parametrize("call", [0, 1, 4, SHARDS])
@pytest.mark.parametrize("moment", ["before fsync", "before rename", "after rename"])
def test_killed_in_the_middle_of_writing(job, tmp_path, monkeypatch, call, moment):
    explainer, source, expected, _ = job
    output = tmp_path / "out"

    def work():
        die_at(monkeypatch, call, moment)
        run(explainer, source, output, shard_rows=3)

    assert how_it_ended(in_a_child(work)) == signal.SIGKILL
    left = [path for path in output.iterdir() if path.suffix == ".tmp"]
    assert len(left) == (moment != "after rename")
    assert len(content(output)) == call + 1  # the job's own file, and a shard for each call after the first
    run(explainer, source, output, shard_rows=3)
    assert content(output) == expected
    assert [row["id"] for row in read(output)] == list(range(len(ROWS)))


def die_at(monkeypatch, call, moment):
    """Let the process kill itself at this call of `os.fsync`, or right before or after the rename that follows."""
    from expnet.batch import shards

    calls, sync, replace = iter(range(100)), os.fsync, shards.Path.replace
    now = -1

    def fsync(file):
        nonlocal now
        now = next(calls)
        if (now, moment) == (call, "before fsync"):
            os.kill(os.getpid(), signal.SIGKILL)
        sync(file)

    def rename(path, target):
        if (now, moment) == (call, "before rename"):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(path, target)
        if (now, moment) == (call, "after rename"):
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr(shards.Path, "replace", rename)
