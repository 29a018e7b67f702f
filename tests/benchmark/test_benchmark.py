"""A plan run on made-up texts and tiny classifiers: who learns from what, what the rows say, what a crash costs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from expnet.benchmark.measure import run as running
from expnet.benchmark.measure.cost import cost
from expnet.benchmark.measure.run import run
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.plan import read_plan
from expnet.benchmark.prepare import making
from expnet.benchmark.prepare.data import Data, draw
from expnet.benchmark.prepare.making import fingerprint
from expnet.benchmark.present.examples import write_examples
from expnet.benchmark.rows import EXPNETS, Row, RowFile, read_rows
from expnet.errors import BenchmarkError, MethodError, OptionError
from expnet.explainer import Explainer, load_classifier
from expnet.methods.registry import find_method
from expnet.metrics import (
    auroc,
    average_precision,
    mark_top,
    rank_correlation,
    soft_average_precision,
    token_f1,
)
from expnet.metrics.limits import losses_of_rankings, removal_limits
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.heads import HeadSetConfig
from expnet.network.universal import universal
from expnet.rationales import Record
from expnet.text.texts import Text
from expnet.timing import clock
from expnet.training.head_weights import learn_head_weights
from tests.models import build, save

WORDS = ("bad", "film", "text", "short", "long", "another", "one", "the", "first")
PLAN = """
name = "tiny"
experiments = ["cross-task", "shipped", "adapted", "few marks", "in-domain"]
shots = [4]
seeds = [0, 1]
stability_texts = 3
cost = true
examples = 1
[methods]
whole = ["random", "raw_attention", "raw_attention:column", "inverse_document_frequency", "attribution_with_attention"]
sample = ["leave_one_out"]
sample_texts = 4
options = { "raw_attention:column" = { direction = "column" } }
[faithfulness]
texts = 4
replacements = ["mask"]
soft = true
most_words = 7
[cross]
steps = 2
features = { tier = "attention", summed = 3 }
[student]
steps = 2
[few]
steps = 4
[own]
epochs = 2
[[task]]
name = "films"
family = "sentiment"
train = "films/train"
classifier = { load = "MODEL" }
tests = [{ file = "films/test", marks = ["rationale", "majority", "each annotator", "shares"] }]
[[task]]
name = "posts"
family = "hate"
train = "posts/train"
classifier = { of = "films" }
tests = [{ file = "posts/test" }]
"""


def lines(seed: int, count: int, label: str = "LABEL_0") -> list[dict]:
    """Texts in which "good" is marked, by most annotators; some also mark the word after."""
    generator, rows = np.random.default_rng(seed), []
    for number in range(count):
        words = generator.choice(WORDS, 6).tolist()
        words.insert(int(generator.integers(5)), "good")
        marks = [int(word == "good") for word in words]
        after = [0, *marks[:-1]]
        both = [int(a or b) for a, b in zip(marks, after, strict=True)]
        rows.append(
            {
                "id": f"{seed}-{number}",
                "tokens": words,
                "label": label if number % 3 else "LABEL_1",
                "rationale": both,
                "rationale_majority": marks,
                "annotators": [marks, marks, both],
            }
        )
    return rows


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("benchmark")
    save(root / "model", build("bert", seed=5), typed=True)  # seed 0 is what the sanity check draws
    test = lines(1, 9)
    unmarked = {"id": "u", "tokens": ["one"], "label": "LABEL_0", "rationale": [0]}
    leak = {**test[0], "id": "leak", "tokens": [*test[0]["tokens"][:-1], test[0]["tokens"][-1].upper()]}
    write(root / "data/films/train.jsonl", [leak, *lines(2, 30)])
    write(root / "data/films/test.jsonl", [unmarked, *test])
    write(root / "data/posts/train.jsonl", lines(3, 20))
    write(root / "data/posts/test.jsonl", lines(4, 6, label="no such class"))
    (root / "plan.toml").write_text(PLAN.replace("MODEL", str(root / "model")))
    return root


@pytest.fixture(scope="module")
def rows(place) -> list[Row]:
    return run(read_plan(place / "plan.toml"), place / "data", place / "runs").read()


def only(rows: list[Row], **wanted) -> list[Row]:
    return [row for row in rows if all({**row.condition, **vars_of(row)}.get(k) == v for k, v in wanted.items())]


def vars_of(row: Row) -> dict:
    return {name: getattr(row, name) for name in ("kind", "experiment", "set", "method", "sample", "classifier")}


class TestRows:
    def test_a_baseline_s_figures_are_those_of_explaining_each_text_and_holding_it_against_its_marks(self, rows, place):
        explainer = Explainer(load_classifier(place / "model"))
        data = Data(place / "data", read_plan(place / "plan.toml"))
        share = data.share(data.plan.tasks[0])
        (row,) = only(rows, kind="plausibility", set="films/test", method="raw_attention:column", marks="majority")
        records = data.records("films/test", rationale="rationale_majority")
        assert row.texts == tuple(range(1, 10))  # the unmarked text is none to test on
        for place_, number in enumerate(row.texts):
            given = records[number]
            options = {"direction": "column"}
            explanation = explainer.explain(given.text, method="raw_attention", options=options, target=given.label)
            scores, marks = np.array([word.score for word in explanation.words]), np.array(given.word_marks())
            assert row.values["auroc"][place_] == pytest.approx(auroc(scores, marks), abs=1e-4)
            assert row.values["average_precision"][place_] == pytest.approx(average_precision(scores, marks), abs=1e-4)
            assert row.values["f1"][place_] == pytest.approx(token_f1(mark_top(scores, share), marks), abs=1e-4)

    def test_each_annotator_counts_the_same_and_people_are_held_against_each_other(self, rows):
        (union,) = only(rows, method="random", set="films/test", marks="rationale", kind="plausibility")
        (most,) = only(rows, method="random", set="films/test", marks="majority", kind="plausibility")
        (row,) = only(rows, method="random", set="films/test", marks="each annotator", kind="plausibility")
        expected = (2 * np.array(most.values["auroc"]) + np.array(union.values["auroc"])) / 3
        np.testing.assert_allclose(row.values["auroc"], expected, atol=1e-4)
        human = only(rows, method="human", marks="rationale")[0]
        # Two mark one word, the third that and the next: against the majority of the others 1, 1 and 2/3.
        in_full = [number for number, f1 in zip(human.texts, human.values["f1"], strict=True) if f1 < 1]
        assert len(in_full) == len(human.texts)
        np.testing.assert_allclose(human.values["f1"], (1 + 1 + 2 / 3) / 3, atol=1e-4)

    def test_words_count_with_the_share_who_marked_them(self, rows, place):
        explainer = Explainer(load_classifier(place / "model"))
        records = Data(place / "data", read_plan(place / "plan.toml")).records("films/test")
        (row,) = only(rows, kind="plausibility", set="films/test", method="raw_attention", marks="shares")
        for place_, number in enumerate(row.texts):
            given = records[number]
            explanation = explainer.explain(given.text, method="raw_attention", target=given.label)
            scores = np.array([word.score for word in explanation.words])
            shares = np.mean([given.word_marks(annotation.spans) for annotation in given.annotations], axis=0)
            assert set(shares.tolist()) == {0, 1 / 3, 1}
            expected = soft_average_precision(scores, shares), rank_correlation(scores, shares)
            assert row.values["soft_average_precision"][place_] == pytest.approx(expected[0], abs=1e-4)
            assert row.values["rank_correlation"][place_] == pytest.approx(expected[1], abs=1e-4)
        (human,) = only(rows, method="human", marks="shares")
        # Two mark one word, the third that and the next: the others' shares are 1 and 1/2 twice, 1 and 0 once.
        # Six words that an annotator left out enter together; so do the two that the third marked.
        best, of_one_word, of_two_words = 1 + 0.5 * 1.5 / 2, 1 + 0.5 * 1.5 / 7, 1 / 2
        expected = (2 * of_one_word / best + of_two_words) / 3
        np.testing.assert_allclose(human.values["soft_average_precision"], expected, atol=1e-4)

    def test_heads_weights_are_learned_once_from_texts_that_are_not_tested(self, rows, place):
        (row,) = only(
            rows, kind="plausibility", set="films/test", method="attribution_with_attention", marks="majority"
        )
        (path,) = (place / "runs/head_weights").iterdir()  # both tasks share a classifier
        weights = json.loads(path.read_text())
        texts = [record.text for record in Data(place / "data", read_plan(place / "plan.toml")).records("films/train")]
        classifier = load_classifier(place / "model")
        assert weights == learn_head_weights(classifier, texts[1:])  # the first is also tested
        assert row.provenance["options"] == {"weights": weights}

    def test_the_shipped_networks_are_measured_once(self, rows):
        measured = only(rows, kind="plausibility", experiment="shipped", set="posts/test")
        assert [row.method for row in measured] == ["expnet", "expnet_gradient"]
        assert [row.provenance["explainer"] for row in measured] == [
            fingerprint(universal(tier))[:16] for tier in ("attention", "gradient")
        ]

    def test_removal_is_normalised_by_the_limits_of_short_texts(self, rows, place):
        (row,) = only(rows, kind="faithfulness", set="films/test", method="raw_attention")
        classifier = load_classifier(place / "model")
        records = Data(place / "data", read_plan(place / "plan.toml")).records("films/test")
        for place_, number in enumerate(row.texts):
            given = records[number]
            target = classifier.labels.index(given.label)
            explanation = Explainer(classifier).explain(given.text, method="raw_attention", target=target)
            scores = {"": [np.array([word.score for word in explanation.words])]}
            asked = classifier, classifier.encode([given.text]), torch.tensor([target])
            limits, losses = removal_limits(*asked), losses_of_rankings(*asked, scores)[""]
            assert len(given.text.words) <= 7
            for name in ("comprehensiveness", "sufficiency"):
                expected = getattr(limits, name)(losses)[0]
                assert row.values[f"normalised_{name}"][place_] == pytest.approx(expected, abs=1e-3)

    def test_the_floor_marks_everything(self, rows):
        (floor,) = only(rows, method="mark_all", set="posts/test")
        assert set(floor.values["recall"]) == {1.0}
        assert set(floor.values["auroc"]) == {0.5}
        np.testing.assert_allclose(floor.values["f1"], [2 * p / (1 + p) for p in floor.values["precision"]], atol=1e-4)

    def test_expensive_methods_are_measured_on_a_sample_that_says_so(self, rows):
        (row,) = only(rows, kind="plausibility", method="leave_one_out", set="posts/test")
        assert row.sample
        assert len(row.texts) == 4
        assert not only(rows, kind="stability", method="leave_one_out")

    def test_every_expnet_of_the_plan_is_there_in_every_seed(self, rows):
        trainings = [("cross-task", None, None), ("adapted", None, None), ("in-domain", "all", "nothing")]
        trainings += [("few marks", *shots) for shots in ((4, "nothing"), (4, "adapted"), ("all", "adapted"))]
        for method in ("expnet", "expnet_gradient"):
            measured = only(rows, kind="plausibility", method=method, set="films/test", marks="rationale")
            said = {(row.experiment, *(row.condition.get(x) for x in ("shots", "start", "seed"))) for row in measured}
            assert len(measured) == 13
            expected = {(*training, seed) for training in trainings for seed in (0, 1)}
            assert said == expected | {("shipped", None, None, 0)}
            assert all("own_f1" in row.values for row in measured)

    def test_each_expnet_learned_what_its_row_says(self, rows, place):
        networks = {
            fingerprint(network)[:16]: network.config
            for path in (place / "runs/networks").iterdir()
            for network in [ExpNet.from_pretrained(path)]
        }

        def network(method: str, **wanted) -> ExpNetConfig:
            wanted |= {"set": "films/test", "marks": "majority", "seed": 1}
            (row,) = only(rows, kind="plausibility", method=method, **wanted)
            return networks[row.provenance["explainer"]]

        for method, tier in (("expnet", "attention"), ("expnet_gradient", "gradient")):
            cross = network(method, experiment="cross-task")
            assert cross.features == HeadSetConfig(tier=tier, summed=3)
            assert cross.provenance["sources"] == ["posts/train"]
            assert cross.provenance["fit"]["seed"] == 1
            adapted = network(method, experiment="adapted")
            assert adapted.features.uses_target == (tier == "gradient")
            # the teacher of both takes gradients; the text that films/test has in other letters is left out
            assert adapted.provenance["teacher"]["fit"]["features"]["tier"] == "gradient"
            assert adapted.provenance["texts"] == 30
            cold, warm = (network(method, shots=4, start=start) for start in ("nothing", "adapted"))
            assert [network.provenance["texts"] for network in (cold, warm)] == [4, 4]
            assert [network.provenance["fit"]["steps"] for network in (cold, warm)] == [4, 2]
            assert [network.provenance["warm start"] for network in (cold, warm)] == [False, True]
            assert warm.features == adapted.features

    def test_an_expnet_s_figures_are_those_of_explaining_each_text(self, rows, place):
        (row,) = only(
            rows, kind="plausibility", method="expnet_gradient", experiment="adapted", set="films/test",
            marks="majority", seed=0,
        )  # fmt: skip
        networks = (ExpNet.from_pretrained(path) for path in (place / "runs/networks").iterdir())
        network = next(
            candidate for candidate in networks if fingerprint(candidate)[:16] == row.provenance["explainer"]
        )
        explainer = Explainer(load_classifier(place / "model"), network)
        records = Data(place / "data", read_plan(place / "plan.toml")).records("films/test", "rationale_majority")
        for place_, number in enumerate(row.texts):
            explanation = explainer.explain(records[number].text, target=records[number].label)
            scores, marks = np.array([w.score for w in explanation.words]), np.array(records[number].word_marks())
            assert row.values["average_precision"][place_] == pytest.approx(average_precision(scores, marks), abs=1e-4)

    def test_what_is_deterministic_is_stable_and_a_forgotten_model_explains_otherwise(self, rows):
        for against in ("the same again", "alone, not in a batch"):
            for row in only(rows, kind="stability", method="raw_attention", against=against):
                np.testing.assert_allclose(row.values["rank_correlation"], 1, atol=1e-6)
        sane = only(rows, kind="sanity", set="films/test")
        ruined = only(sane, method="raw_attention", against="head and 3 of 3 layers random")
        assert max(x for row in ruined for x in row.values["rank_correlation"]) < 0.999
        # A method that does not look at the model must fail the check.
        (blind,) = only(sane, method="inverse_document_frequency", against="head and 3 of 3 layers random")
        np.testing.assert_allclose(blind.values["rank_correlation"], 1, atol=1e-6)

    def test_curves_reach_from_the_whole_text_to_nothing(self, rows):
        measured = only(rows, kind="faithfulness", set="films/test")
        ours = {
            (row.method, row.experiment, row.condition.get("start")) for row in measured if row.experiment in EXPNETS
        }
        trained = {
            ("cross-task", None),
            ("shipped", None),
            ("adapted", None),
            ("few marks", "adapted"),
            ("in-domain", "nothing"),
        }
        assert ours == {(method, *trained_on) for method in ("expnet", "expnet_gradient") for trained_on in trained}
        assert {row.method for row in measured} >= {
            "random",
            "raw_attention",
            "leave_one_out",
            "expnet",
            "expnet_gradient",
        }
        for row in measured:
            assert row.curves["fractions"][0] == 0
            assert row.curves["fractions"][-1] == 1
            assert row.curves["deletion"][0] == pytest.approx(row.curves["insertion"][-1], abs=1e-4)
            assert "soft_sufficiency" in row.values

    def test_costs_are_measured_of_everyone_once(self, rows):
        costs, plausible = only(rows, kind="cost"), only(rows, kind="plausibility", set="films/test")
        assert {row.set for row in costs} == {"films/test"}
        assert {row.method for row in costs} == {row.method for row in plausible} - {"mark_all", "human"}

    def test_rows_hold_no_text_and_say_where_they_come_from(self, rows):
        for row in rows:
            line = row.to_json()
            assert not [word for word in ("film", "another", "good") if f'"{word}"' in line]
            assert {"data", "seconds", "expnet", "torch", "plan"} <= row.provenance.keys()
            assert all(len(values) == len(row.texts) for values in row.values.values())


def test_a_method_of_three_predictions_costs_three(place, monkeypatch):
    classifier = load_classifier(place / "model")
    passes = []
    classifier.model.register_forward_pre_hook(lambda *_: passes.append(1))
    monkeypatch.setattr(clock.time, "process_time", lambda: float(len(passes)))

    def thrice(classifier, encoding, target):
        for _ in range(3):
            classifier.predict(encoding)
        return torch.zeros(encoding.ids.shape)

    method = replace(find_method("uniform"), function=thrice)
    measured = cost(classifier, [Text.of("one film"), Text.of("bad")], ScoringJob(method, {}))
    assert measured["ratio"] == [3.0] * 5
    assert len(measured["megabytes"]) == 5


def test_expensive_methods_and_close_looks_are_for_the_examined_sets(place, tmp_path):
    plan = replace(read_plan(place / "plan.toml"), examined=("posts/test",), experiments=(), cost=False)
    measured = run(plan, place / "data", tmp_path).read()
    close = {row.set for row in measured if row.sample or row.kind != "plausibility"}
    assert close == {"posts/test"}
    assert {row.set for row in measured} == {"films/test", "posts/test"}


class TestWhoLearnsFromWhat:
    def test_no_expnet_sees_a_text_that_is_tested_nor_across_tasks_its_own_family(self, place, tmp_path, monkeypatch):
        seen = []

        def spy(sources, **settings):
            seen.append(sources)
            return fit(sources, **settings)

        fit = making.fit_mixture
        monkeypatch.setattr(making, "fit_mixture", spy)
        plan = replace(read_plan(place / "plan.toml"), experiments=("cross-task", "few marks"), seeds=(0,))
        quiet = replace(plan, stability_texts=0, cost=False, faithfulness=replace(plan.faithfulness, replacements=()))
        run(quiet, place / "data", tmp_path)
        data = Data(place / "data", plan)
        tested = {r.text.text.casefold() for name in ("films", "posts") for r in data.records(f"{name}/test")}
        names = {tuple(source.name for source in sources) for sources in seen}
        assert names == {("posts/train",), ("films/train",), ("4 of films/train",), ("4 of posts/train",)}
        for sources in seen:
            for source in sources:
                assert not tested & {record.text.text.casefold() for record in source.train}

    def test_the_share_to_mark_comes_from_texts_that_are_not_tested(self, place):
        data = Data(place / "data", read_plan(place / "plan.toml"))
        marks = [mark for line in lines(2, 30) for mark in line["rationale"]]
        assert data.share(data.plan.tasks[0]) == pytest.approx(np.mean(marks))


class TestInterrupted:
    def test_it_goes_on_where_it_was_and_ends_with_the_same_figures(self, rows, place, tmp_path, monkeypatch):
        plan, calls = read_plan(place / "plan.toml"), []

        def dies(bench, task, test, who):
            calls.append(who)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return original(bench, task, test, who)

        original = running.Bench.plausibility
        monkeypatch.setattr(running.Bench, "plausibility", dies)
        with pytest.raises(KeyboardInterrupt):
            run(plan, place / "data", tmp_path)
        file = tmp_path / "tiny.jsonl"
        before = file.read_bytes()
        file.write_bytes(before[:-40])  # as if it had died while writing
        again = run(plan, place / "data", tmp_path).read()
        every = [cell for cell in RowFile(place / "runs/tiny.jsonl").cells() if cell.startswith("plausibility")]
        assert len(calls) == 4 + len(every) - 2  # three were written, of which the last was cut off
        figures = {row.key: row.values for row in again if row.kind != "cost"}
        for row in rows:
            if row.kind != "cost":
                for name, values in row.values.items():
                    np.testing.assert_allclose(figures[row.key][name], values, atol=2e-5, err_msg=f"{row.key} {name}")
        assert len(again) == len(rows)

    def test_nothing_is_run_when_all_is_there(self, rows, place, monkeypatch):
        monkeypatch.setattr(running.RowFile, "append", lambda *_: pytest.fail("ran a cell again"))
        assert len(run(read_plan(place / "plan.toml"), place / "data", place / "runs").read()) == len(rows)

    def test_a_cell_that_was_cut_off_is_no_cell(self, tmp_path, rows):
        file = RowFile(tmp_path / "rows.jsonl")
        file.append("one", rows[:1])
        file.append("two", rows[1:3])
        whole = file.path.read_bytes()
        for cut in range(len(whole) - 2, whole.index(b"\n"), -97):
            file.path.write_bytes(whole[:cut])
            assert file.cells() == {"one"}
            file.append("two", rows[1:3])
            assert file.cells() == {"one", "two"}
            assert [row.to_json() for row in file.read()] == [row.to_json() for row in rows[:3]]

    def test_of_two_measurements_of_the_same_the_newer_counts(self, tmp_path, rows):
        file = RowFile(tmp_path / "rows.jsonl")
        file.append("one", rows[:2])
        file.append("another plan", [replace(rows[0], sample=True)])
        assert [row.sample for row in file.read()] == [True, rows[1].sample]

    def test_other_files_are_refused(self, tmp_path):
        (tmp_path / "x.jsonl").write_text('{"a": 1}\n')
        with pytest.raises(BenchmarkError, match="There are no benchmark rows in"):
            read_rows([tmp_path])


def test_examples_show_words_marks_and_every_quick_method(rows, place):
    path = write_examples(read_plan(place / "plan.toml"), place / "data", place / "runs")
    shown = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(line["set"], line["why"]) for line in shown} == {
        (name, why) for name in ("films/test", "posts/test") for why in ("example", "worst case")
    }
    for line in shown:
        assert len(line["words"]) == len(line["marked"]) == 7
        assert all(len(scores) == 7 for scores in line["scores"].values())
        assert "expnet, cross-task" in line["scores"]
    wanted = {"experiment": "cross-task", "set": "films/test", "marks": "rationale", "seed": 0}
    (row,) = only(rows, kind="plausibility", method="expnet", **wanted)
    worst = next(line for line in shown if line["why"] == "worst case" and line["set"] == "films/test")
    least = min(row.values["average_precision"])
    assert worst["average_precision"]["expnet, cross-task"] == pytest.approx(least, abs=1e-3)


class TestDraws:
    def test_a_draw_is_stratified_and_part_of_a_larger_one(self):
        records = [Record(str(i), Text.of("x"), "ab"[i % 4 == 0]) for i in range(100)]
        small, large = draw(records, 8, 3), draw(records, 40, 3)
        assert set(small) < set(large)
        assert [sum(records[i].label == "b" for i in some) for some in (small, large)] == [2, 10]
        assert draw(records, 8, 4) != small
        assert draw(records, 0, 3) == draw(records, 200, 3) == list(range(100))


class TestPlans:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (("shots", "shorts"), BenchmarkError, r"no key 'shorts'. Did you mean 'shots'"),
            (("seeds = [0, 1]", 'seeds = ["a"]'), BenchmarkError, r"seeds: got \('a',\), expected a list of int"),
            (('["mask"]', '["masked"]'), BenchmarkError, r"replacements: got \('masked',\), expected a list of one of"),
            (('family = "hate"\n', ""), BenchmarkError, r"task|tasks 2: 'family' is missing"),
            (('of = "films"', 'of = "movies"'), BenchmarkError, r"shares the classifier of 'movies': no task"),
            (('{ of = "films" }', "{}"), BenchmarkError, r"classifier of 'posts' needs 'load', 'train' or 'of'"),
            (('name = "posts"', 'name = "films"'), BenchmarkError, r"two tasks have the same name"),
            (('"random"', '"rendom"'), MethodError, r"Did you mean 'random'"),
            (('direction = "column"', 'direction = "down"'), OptionError, r"direction is 'down'"),
            (("[methods]", "[methods"), BenchmarkError, r"cannot be read"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path, change, error, message):
        assert change[0] in PLAN
        (tmp_path / "plan.toml").write_text(PLAN.replace(*change))
        with pytest.raises(error, match=message):
            read_plan(tmp_path / "plan.toml")

    def test_a_missing_set_is_named(self, place, tmp_path):
        (tmp_path / "plan.toml").write_text(PLAN.replace("films/test", "movies/test"))
        with pytest.raises(BenchmarkError, match=r"names 'movies/test', but there is no .*movies/test.jsonl"):
            run(read_plan(tmp_path / "plan.toml"), place / "data", tmp_path)

    @pytest.mark.parametrize("path", [*Path("benchmarks").glob("*.toml"), Path("src/expnet/benchmark/quick.toml")])
    def test_the_plans_of_the_project_can_be_read(self, path):
        assert read_plan(path).tasks
