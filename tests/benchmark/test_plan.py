"""Plans across bases and languages: which tasks there are, and which of them an ExpNet learns from."""

from pathlib import Path

import pytest

from expnet.benchmark.plan import HELD_OUT, Plan, read_plan
from expnet.benchmark.prepare.bases.made import BASES
from expnet.benchmark.prepare.contestants import contestants
from expnet.benchmark.prepare.data import Data
from expnet.benchmark.prepare.making import Workshop
from expnet.errors import BenchmarkError

BACKBONES = Path(__file__).parents[2] / "benchmarks" / "backbones.toml"
PLAN = """
name = "tiny"
experiments = ["cross-task", "cross-base", "cross-both", "cross-language"]
tiers = ["attention"]
seeds = [0]
[bases]
l3 = {}
mpnet = { lora_rank = 4 }
[[task]]
name = "films"
family = "films"
train = "films/train"
classifier = { train = "films/train", settings = { epochs = 2.0 } }
[[task]]
name = "posts"
family = "posts"
train = "posts/train"
classifier = { train = "posts/train" }
[[task]]
name = "demo"
family = "demo"
classifier = { load = "demo/sentiment" }
[[task]]
name = "other language"
family = "posts"
language = "pt"
classifier = { train = "posts/pt", base = "l3" }
tests = [{ file = "posts/test" }]
[[task]]
name = "shared"
family = "posts"
language = "pt"
classifier = { of = "posts on mpnet" }
tests = [{ file = "posts/test" }]
"""


@pytest.fixture
def plan(tmp_path) -> Plan:
    (tmp_path / "plan.toml").write_text(PLAN)
    return read_plan(tmp_path / "plan.toml")


@pytest.fixture
def workshop(plan, tmp_path) -> Workshop:
    return Workshop(plan, Data(tmp_path, plan), tmp_path)


def test_a_task_that_fine_tunes_the_default_base_is_repeated_on_each_of_the_plan_s(plan):
    names = ["films on l3", "films on mpnet", "posts on l3", "posts on mpnet", "demo", "other language", "shared"]
    assert [task.name for task in plan.tasks] == names
    assert [task.classifier.base for task in plan.tasks[:4]] == ["l3", "mpnet", "l3", "mpnet"]


def test_the_settings_of_a_base_go_before_the_task_s(plan):
    settings = {task.name: task.classifier.settings for task in plan.tasks}
    assert (settings["films on l3"].epochs, settings["films on l3"].lora_rank) == (2, 0)
    assert (settings["films on mpnet"].epochs, settings["films on mpnet"].lora_rank) == (2, 4)
    assert settings["posts on mpnet"].epochs == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("{ lora = 4 }", "bases mpnet: there is no key 'lora'"),
        ('{ epochs = "many" }', "bases mpnet, epochs: got 'many'"),
    ],
)
def test_settings_of_a_base_are_checked(tmp_path, wrong, message):
    (tmp_path / "plan.toml").write_text(PLAN.replace("{ lora_rank = 4 }", wrong))
    with pytest.raises(BenchmarkError, match=message):
        read_plan(tmp_path / "plan.toml")


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("films on l3", ["posts on l3 posts on mpnet", "films on mpnet posts on mpnet", "posts on mpnet", ""]),
        ("posts on mpnet", ["films on l3 films on mpnet", "films on l3 posts on l3", "films on l3", ""]),
        (
            "other language",  # with a classifier on l3
            [
                "films on l3 films on mpnet",
                "films on mpnet posts on mpnet",
                "films on mpnet",
                "films on l3 films on mpnet posts on l3 posts on mpnet",
            ],
        ),
        (
            "shared",  # the base is that of the classifier that it shares
            [
                "films on l3 films on mpnet",
                "films on l3 posts on l3",
                "films on l3",
                "films on l3 films on mpnet posts on l3 posts on mpnet",
            ],
        ),
    ],
)
def test_what_is_held_out(plan, workshop, task, expected):
    tested = next(one for one in plan.tasks if one.name == task)
    learned = [" ".join(other.name for other in workshop.others(tested, experiment)) for experiment in HELD_OUT]
    assert learned == expected


def test_an_experiment_without_tasks_to_learn_from_is_left_out(plan, workshop):
    measured = {task.name: [who.experiment for who in contestants(plan, workshop, task)] for task in plan.tasks}
    assert measured["films on l3"] == ["cross-task", "cross-base", "cross-both"]
    assert measured["shared"] == ["cross-task", "cross-base", "cross-both", "cross-language"]


def test_the_plan_of_the_repository_tests_four_tasks_on_four_bases_and_portuguese():
    plan = read_plan(BACKBONES)
    bases = {"demo/base", *BASES}
    for name in ("sentiment", "acceptability", "hate speech", "tweets"):
        assert {task.classifier.base for task in plan.tasks if task.name.startswith(f"{name} on ")} == bases
    portuguese = [task for task in plan.tasks if task.language == "pt"]
    assert len(portuguese) == 2
    assert not any(task.train for task in portuguese)  # no ExpNet learns from Portuguese


@pytest.mark.parametrize("experiment", ["cross-both", "cross-language"])
def test_an_expnet_is_trained_on_what_is_not_held_out(plan, workshop, monkeypatch, experiment):
    def learned(tasks, round, config):
        raise LookupError([task.name for task in tasks])

    monkeypatch.setattr(workshop, "learned", learned)
    with pytest.raises(LookupError) as stopped:
        workshop.across(experiment, plan.tasks[-1], 0, "attention")
    assert stopped.value.args == ([task.name for task in workshop.others(plan.tasks[-1], experiment)],)


def test_bases_are_made_before_anything_else(plan, workshop, monkeypatch):
    asked = []
    monkeypatch.setattr("expnet.benchmark.prepare.making.made", lambda *given: asked.append(given) or given[1])
    workshop.make_bases()
    assert sorted(asked) == [(name, workshop.work / "bases") for name in ("l3", "mpnet")]
