"""Candidates take turns; rounds, ratios and what counts are those counted by hand, on a clock that ticks when told."""

import pytest
import torch

from expnet.timing import clock
from expnet.timing.clock import Stopwatch, Took, interleave, quartiles, timed


@pytest.fixture
def bench(monkeypatch):
    """Makes candidates that take so many seconds, a fourth of it of the processor, and note when they ran."""
    now, ran = [0.0], []
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(clock.time, "process_time", lambda: now[0] / 4)

    class Bench:
        def __init__(self) -> None:
            self.ran = ran

        def run(self, name, *seconds):
            """Take the next of these each time, and the last for ever."""
            left = list(seconds)

            def go():
                ran.append(name)
                now[0] += left.pop(0) if len(left) > 1 else left[0]

            return go

    return Bench()


def test_every_candidate_runs_once_a_round_after_all_are_warm_and_the_order_changes(bench):
    names = ("a", "b", "c")
    times = interleave({name: bench.run(name, 1.0) for name in names}, reference="a", rounds=8)
    assert bench.ran[:4] == ["a", "a", "b", "c"], "the reference is warmed twice"
    rounds = [tuple(bench.ran[at : at + 3]) for at in range(4, len(bench.ran), 3)]
    assert [sorted(names_of_round) for names_of_round in rounds] == [list(names)] * 8
    assert len(set(rounds)) > 1
    assert [len(times_of.took) for times_of in times.values()] == [8, 8, 8]
    assert list(times) == list(names)


def test_ratios_are_those_within_a_round_so_that_a_slow_minute_slows_both(bench):
    # By hand: two runs of the reference and one of the other warm up; then rounds of 2 and 6, 4 and 8, 10 and 25.
    runs = {"a": bench.run("a", 50, 50, 2, 4, 10), "b": bench.run("b", 70, 6, 8, 25)}
    times = interleave(runs, reference="a", rounds=3)
    assert times["b"].ratios() == [3, 2, 2.5]
    assert times["a"].ratios() == [1, 1, 1]
    assert times["b"].median() == 8
    assert times["b"].median("processor") == 2
    assert times["b"].ratios("processor") == [3, 2, 2.5]


def test_what_has_just_run_is_not_warmed_again(bench):
    interleave({"a": bench.run("a", 1.0), "b": bench.run("b", 1.0)}, reference="a", rounds=1, warm=True)
    assert sorted(bench.ran) == ["a", "b"]


def test_a_slow_candidate_runs_three_times_and_then_in_every_fifth_round(bench):
    runs = {"a": bench.run("a", 1.0), "slow": bench.run("slow", 6.0), "quick": bench.run("quick", 5.0)}
    times = interleave(runs, reference="a", rounds=11, slow=5.0)
    assert [len(times[name].took) for name in runs] == [11, 5, 11]  # rounds 0, 1, 2, 5 and 10
    assert times["slow"].ratios() == [6] * 5


def test_a_candidate_that_has_used_up_its_seconds_runs_no_more(bench):
    runs = {"a": bench.run("a", 1.0), "b": bench.run("b", 4.0)}
    times = interleave(runs, reference="a", rounds=9, seconds=10.0)
    assert len(times["b"].took) == 2  # 4 seconds to warm up, and 8, and 12
    assert len(times["a"].took) == 2, "alone the reference need not run"


def test_where_warming_up_takes_all_the_time_that_run_counts(bench):
    runs = {"a": bench.run("a", 9.0, 1.0), "b": bench.run("b", 30.0)}
    times = interleave(runs, reference="a", rounds=9, seconds=20.0)
    assert times["b"].ratios() == [30], "beside a reference that was warm"
    assert bench.ran == ["a", "a", "b"]


def test_a_stopwatch_and_a_single_run_give_both_clocks(bench):
    run, watch = bench.run("a", 3.0), Stopwatch()
    assert timed(run, torch.device("cpu")) == Took(3.0, 0.75)
    assert watch.read() == Took(3.0, 0.75)


def test_a_gpu_is_waited_for(bench, monkeypatch):
    """What was only sent to it takes 5 seconds more."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: bench.run("wait", 5.0)())
    assert timed(bench.run("a", 1.0), torch.device("cuda")).seconds == 6
    assert timed(bench.run("a", 1.0), torch.device("cpu")).seconds == 1


def test_quartiles_of_one_value_are_that_value():
    assert quartiles([2.0]) == (2.0, 2.0, 2.0)
    assert quartiles([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
