"""The record of a file says what stands in its shards: counted a second time, naively; and how far files are apart."""

import base64
import hashlib
import json
import math
import os
import shutil
from collections import defaultdict
from dataclasses import replace
from importlib.resources import files
from unicodedata import normalize

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from typer.testing import CliRunner

from expnet.audit.dataset import record_file
from expnet.audit.drift import distance, drift
from expnet.audit.pages import file_page
from expnet.audit.rows import Extremes, Reservoir, figures
from expnet.audit.shards import open_explained
from expnet.audit.words import Totals, leading
from expnet.cli.app import app
from expnet.errors import BatchError, InputError, MismatchError
from tests.audits import file_of
from tests.batch_jobs import read, run, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save
from tests.payloads import PAYLOADS

SCHEMA = json.loads(files("expnet.audit").joinpath("file.schema.json").read_text(encoding="utf-8"))
SCRIPT = files("expnet.audit").joinpath("templates", "file.js").read_text(encoding="utf-8")
VOCABULARY = ["good", "Good", "bad", "film", "ﬁlm", "!", "one", "long"]


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


def some_rows(count: int, seed: int) -> list[dict]:
    chance = np.random.default_rng(seed)
    texts = [" ".join(chance.choice(VOCABULARY, chance.integers(1, 7))) for _ in range(count)]
    return [{"text": text, "pair": None if at % 5 else "another one"} for at, text in enumerate(texts)]


@pytest.fixture(scope="module")
def explained(tmp_path_factory, explainer):
    """A folder of 60 rows in 5 shards, two of them not explained, and another of 40."""
    root = tmp_path_factory.mktemp("explained")
    rows = some_rows(58, 0)
    rows[7:7] = [{"text": None, "pair": None}, {"text": "good " * 300, "pair": "bad " * 300}]
    for name, content in (("here", rows), ("there", some_rows(40, 1))):
        source = write_parquet(root / f"{name}.parquet", content)
        run(explainer, source, root / name, pair="pair", shard_rows=12, prefix="x_")
    return root


@pytest.fixture(scope="module")
def record(explained):
    return record_file(explained / "here", against=explained / "there", least_rows=3)


def table_of(rows: list[tuple]) -> pa.Table:
    """Return rows as shards give them: label, probability, words, scores."""
    names = ("label", "probability", "words", "scores")
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    kinds = {"scores": pa.list_(pa.float32()), "words": pa.list_(pa.string()), "probability": pa.float32()}
    made = {name: pa.array(cells, kinds.get(name, pa.string())) for name, cells in columns.items()}
    texts = pa.array([" ".join(row[2]) for row in rows], pa.string())
    return pa.table({**made, "text": texts, "pair": pa.nulls(len(rows), pa.string()), "row": range(len(rows))})


def test_rows_statuses_classes_and_histogram_are_those_of_a_plain_count(record, explained):
    rows = read(explained / "here")
    ok = [row for row in rows if row["x_status"] == "ok"]
    assert (record.rows, record.shards) == (60, 5)
    assert record.statuses == {"ok": 58, "missing": 1, "too long": 1}
    for label, number in record.labels.items():
        own = [row["x_probability"] for row in ok if row["x_label"] == label]
        assert number == len(own)
        assert list(record.histogram[label]) == [
            sum(at == min(19, math.floor(share * 20)) for share in own) for at in range(20)
        ]


def test_the_words_of_each_class_are_those_of_a_plain_count(record, explained):
    scores_of, rows_with, rows_of = defaultdict(list), defaultdict(set), defaultdict(int)
    leads, chance = defaultdict(int), defaultdict(float)
    for at, row in enumerate(read(explained / "here")):
        if row["x_status"] == "ok":
            rows_of[row["x_label"]] += 1
            top = sorted(range(len(row["x_words"])), key=lambda at: -row["x_scores"][at])[:3]
            for place, (word, score) in enumerate(zip(row["x_words"], row["x_scores"], strict=True)):
                word = normalize("NFKC", word).lower()
                leads[row["x_label"], word] += place in top
                chance[row["x_label"], word] += min(1, 3 / len(row["x_words"]))
                if word != "!":
                    scores_of[row["x_label"], word].append(score)
                    rows_with[row["x_label"], word].add(at)
    total = sum(rows_of.values())
    assert record.drivers.keys() == rows_of.keys()
    for label, drivers in record.drivers.items():
        expected = {}
        for (own, word), scores in scores_of.items():
            everywhere = sum(len(rows_with[other, word]) for other in rows_of)
            here = len(rows_with[own, word])
            lift = (here / everywhere) / (rows_of[own] / total)
            lead = leads[own, word] / chance[own, word]
            if own == label and here >= 3 and lift >= 1 and lead >= 1:
                mean = pytest.approx(np.mean(scores), abs=1e-6)
                expected[word] = (here, mean, pytest.approx(lift), pytest.approx(lead))
        assert {driver.word: (driver.rows, driver.score, driver.lift, driver.lead) for driver in drivers} == expected
        assert [driver.score for driver in drivers] == sorted((driver.score for driver in drivers), reverse=True)
    assert any(drivers for drivers in record.drivers.values())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.floats(0, 1, width=32),
            st.lists(st.floats(-2, 2, width=32).filter(lambda score: not 0 < abs(score) < 1e-6), max_size=5),
        ),
        max_size=8,
    )
)
def test_the_figures_of_a_row_are_its_margin_and_one_less_its_relative_entropy(rows):
    measured = figures(table_of([(label, share, ["w"] * len(scores), scores) for label, share, scores in rows]))
    for at, (_, share, scores) in enumerate(rows):
        assert measured.margin[at] == pytest.approx(max(0, 2 * share - 1), abs=1e-6)
        if len(scores) < 2 or not any(scores):
            assert np.isnan(measured.concentration[at])
            assert np.isnan(measured.clarity[at])
        else:
            expected = 1 - entropy(np.abs(scores)) / np.log(len(scores))
            assert measured.concentration[at] == pytest.approx(expected, abs=1e-6)
            assert measured.clarity[at] == pytest.approx(expected * measured.margin[at], abs=1e-6)


def test_one_word_with_all_the_score_is_1_and_equal_scores_are_0():
    measured = figures(table_of([("a", 1.0, ["x", "y"], [0.7, 0]), ("a", 1.0, ["x", "y"], [-0.3, 0.3])]))
    np.testing.assert_allclose(measured.concentration, [1, 0], atol=1e-7)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=6), max_size=5), st.integers(1, 4))
def test_extremes_over_shards_are_those_of_all_rows_sorted_at_once(shards, count):
    extremes, every, start = Extremes(count), [], 0
    for clarities in shards:
        table = table_of([("a", (1 + clarity) / 2, ["x", "y"], [1.0, 0.0]) for clarity in clarities])
        table = table.set_column(table.schema.get_field_index("row"), "row", [range(start, start + len(table))])
        extremes.add(table, figures(table))
        every += [(clarity, start + at) for at, clarity in enumerate(clarities)]
        start += len(clarities)
    assert [row["row"] for row in extremes.least()] == [row for _, row in sorted(every)[:count]]
    assert [row["row"] for row in extremes.most()] == [row for _, row in sorted((-c, row) for c, row in every)[:count]]


def test_a_sample_draws_every_row_with_words_equally_often_whatever_shard_it_is_in():
    drawn = np.zeros(12)
    for seed in range(600):
        reservoir = Reservoir(4, seed=seed)
        for start in (0, 3, 10):
            stop = {0: 3, 3: 10, 10: 13}[start]
            rows = [("a", 0.9, ["w"] if at < 12 else [], [1.0] if at < 12 else []) for at in range(start, stop)]
            table = table_of(rows)
            reservoir.add(table.set_column(table.schema.get_field_index("row"), "row", [range(start, stop)]))
        chosen = reservoir.rows()["row"].to_pylist()
        assert len(set(chosen)) == 4
        drawn[chosen] += 1
    # 600 draws of 4 out of 12: 200 each; the standard deviation is about 11.5.
    assert np.abs(drawn - 200).max() < 5 * 11.5


def test_where_there_are_too_many_words_the_rare_ones_go_and_the_error_is_bounded():
    chance, exact, totals = np.random.default_rng(0), defaultdict(int), Totals(limit=60)
    for _ in range(20):
        rows = []
        for _ in range(30):
            words = sorted({f"w{int(number)}" for number in chance.zipf(1.5, 4) if number < 10_000})
            rows.append(("a", 0.9, words, [0.5] * len(words)))
            for word in words:
                exact[word] += 1
        totals.add(table_of(rows))
    rows_of_words = {row["word"]: row["rows"] for row in totals.table().to_pylist()}
    assert 0 < totals.missed < 60
    assert all(exact[word] - totals.missed <= rows_of_words.get(word, 0) <= exact[word] for word in exact)
    assert rows_of_words["w1"] == exact["w1"]


@given(
    arrays(float, (3, 4), elements=st.integers(0, 5).map(float)),
    arrays(float, (3, 4), elements=st.integers(0, 5).map(float)),
)
def test_the_distance_is_that_of_scipy(a, b):
    distances = distance(a, b)
    for row in range(3):
        if a[row].any() and b[row].any():
            assert distances[row] == pytest.approx(jensenshannon(a[row], b[row], base=2), abs=1e-7)
        else:
            assert np.isnan(distances[row])


def test_drift_is_found_where_it_is_and_p_is_uniform_where_there_is_none():
    chance = np.random.default_rng(0)
    rows = [np.eye(3)[chance.choice(3, 200, p=share)] for share in ([0.5, 0.3, 0.2], [0.3, 0.3, 0.4])]
    apart = drift((rows[0].sum(0), rows[1].sum(0)), (rows[0], rows[1]), draws=500)
    assert apart.p == pytest.approx(1 / 501)
    assert apart.distance == apart.sampled > apart.chance
    same = [np.eye(3)[chance.choice(3, (60, 80))] for _ in range(2)]
    p = [drift((a.sum(0), b.sum(0)), (a, b), seed=at, draws=99).p for at, (a, b) in enumerate(zip(*same, strict=True))]
    assert 0.3 < np.mean(p) < 0.75  # its mean is 1/2; that of 60 has a standard deviation of 0.04, and ties count
    assert np.mean(np.array(p) <= 0.1) < 0.25
    equal = drift((rows[0].sum(0), rows[0].sum(0)), (rows[0], rows[0]), draws=50)
    assert (equal.distance, equal.p) == (0, 1)


def test_a_file_beside_itself_has_not_drifted_and_one_of_other_words_has(explained, record):
    itself = record_file(explained / "here", against=explained / "here").against
    assert (itself.label_drift.distance, itself.word_drift.distance) == (0, 0)
    assert all(change.mass == change.other_mass for change in itself.changed)
    assert itself.made == {}
    assert (record.against.rows, record.against.folder) == (40, "there")
    assert sum(record.against.labels.values()) == 40
    assert record.against.word_drift.distance > 0
    first = record.against.changed[0]
    assert all(abs(first.mass - first.other_mass) >= abs(c.mass - c.other_mass) for c in record.against.changed)


def test_what_made_two_files_that_differ_is_named(explained, explainer, tmp_path):
    source = write_parquet(tmp_path / "in.parquet", some_rows(8, 2))
    run(explainer, source, tmp_path / "out", method="random", seed=1)
    compared = record_file(explained / "here", against=tmp_path / "out").against
    assert compared.made == {"method": ("expnet", "random")}


def test_a_sample_is_checked_with_the_model_that_made_it_and_with_no_other(explained, explainer):
    measured = record_file(explained / "here", explainer=explainer, sample=20).faithfulness
    assert (measured.rows, measured.left_out, measured.share) == (20, 0, 0.2)
    assert measured.moved < 1e-5
    assert measured.gain.mean == pytest.approx(measured.without.mean - measured.without_random.mean)
    assert measured.without.low <= measured.without.mean <= measured.without.high
    with pytest.raises(MismatchError, match="explainer_hash differs"):
        record_file(explained / "here", explainer=tiny_explainer(explainer.classifier, seed=1))
    with pytest.raises(MismatchError, match="classifier_hash differs"):
        record_file(explained / "here", explainer=tiny_explainer(tiny_classifier(seed=1)))


def test_words_that_decide_alone_gain_all_and_random_ones_less(explainer, tmp_path):
    """Scores by leave-one-out name the very words whose absence costs most."""
    source = write_parquet(tmp_path / "in.parquet", some_rows(40, 3))
    run(explainer, source, tmp_path / "out", method="leave_one_out")
    measured = record_file(tmp_path / "out", explainer=explainer, sample=40).faithfulness
    assert measured.gain.low > 0
    assert "matter more to the model than random words" in file_page(
        record_file(tmp_path / "out", explainer=explainer, sample=40)
    )


def test_rows_longer_than_a_window_are_left_out_of_the_check_and_counted(explainer, tmp_path):
    source = write_parquet(tmp_path / "in.parquet", [{"text": "good " * 300}, {"text": "bad film"}, {"text": ""}])
    run(explainer, source, tmp_path / "out")
    record = record_file(tmp_path / "out", explainer=explainer)
    assert (record.faithfulness.rows, record.faithfulness.left_out) == (1, 1)
    assert record.unclear == 1
    jsonschema.validate(json.loads(record.to_json()), SCHEMA)


def test_json_follows_the_schema_and_leaves_texts_out_where_asked(record, explained, explainer):
    jsonschema.validate(json.loads(record.to_json()), SCHEMA, format_checker=jsonschema.FormatChecker())
    hidden = record_file(explained / "here", explainer=explainer, sample=3, keep_text=False)
    written = json.loads(hidden.to_json())
    jsonschema.validate(written, SCHEMA)
    assert {(row["text"], row["pair"], *row["top"]) for row in written["clearest"] + written["doubtful"]} == {
        (None, None)
    }
    assert {row["row"] for row in written["clearest"]} == {row.row for row in record.clearest}


def test_the_rows_that_are_named_are_those_of_the_file(record, explained):
    rows = read(explained / "here")
    for named in (*record.clearest, *record.doubtful):
        row = rows[named.row]
        assert (named.text, named.pair, named.label) == (row["text"], row["pair"], row["x_label"])
        scored = list(zip(row["x_scores"], row["x_words"], strict=True))
        assert (max(row["x_scores"]), named.top[0]) in scored
    assert record.clearest[0].clarity == max(row.clarity for row in record.clearest)
    assert record.doubtful[0].clarity == min(row.clarity for row in record.doubtful)


def test_the_hash_is_the_one_that_sha256sum_prints(record, explained):
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted((explained / "here").glob("part-*.parquet"))
    ]
    assert record.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_file_without_an_explained_row_has_a_record_and_a_page(explainer, tmp_path):
    write_parquet(tmp_path / "in.parquet", [{"text": None}])
    write_parquet(tmp_path / "in2.parquet", [{"text": ""}])
    run(explainer, tmp_path / "in.parquet", tmp_path / "none")
    run(explainer, tmp_path / "in2.parquet", tmp_path / "blank")
    for folder, other in (("none", "blank"), ("blank", "none")):
        record = record_file(tmp_path / folder, against=tmp_path / other, explainer=explainer)
        jsonschema.validate(json.loads(record.to_json()), SCHEMA)
        assert record.faithfulness.rows == 0
        assert record.against.label_drift is None
        assert "nothing to compare" in file_page(record)


def test_what_is_no_whole_folder_of_one_job_is_refused(explained, explainer, tmp_path):
    with pytest.raises(BatchError, match=r"holds no part-\*\.parquet"):
        open_explained(tmp_path)
    for name in ("gap", "mixed", "foreign"):
        (tmp_path / name).mkdir()
        for path in (explained / "here").glob("part-*.parquet"):
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / "gap" / "part-000002.parquet").unlink()
    with pytest.raises(BatchError, match=r"part-000002\.parquet is missing"):
        open_explained(tmp_path / "gap")
    other = explained / "there" / "part-000003.parquet"
    (tmp_path / "mixed" / "part-000003.parquet").write_bytes(other.read_bytes())
    with pytest.raises(BatchError, match="not made by the job of the others: input differ"):
        open_explained(tmp_path / "mixed")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "foreign" / "part-000001.parquet")
    with pytest.raises(BatchError, match="not written by expnet"):
        open_explained(tmp_path / "foreign")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_page_of_a_file_can_be_written_whatever_stands_in_it(payload, tmp_path):
    (tmp_path / "page.html").write_text(file_page(file_of(payload)), encoding="utf-8")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    ours = f"<script>{SCRIPT}</script>"
    assert page.count(ours) == 1
    assert "<script" not in page.replace(ours, "").lower()
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'\"" in page
    without = file_page(replace(file_of(payload), listed=()))
    assert "<script" not in without.lower()
    assert "script-src" not in without


def test_words_that_are_merely_frequent_do_not_drive_a_class():
    """In each row of ten words "the" stands five times with a middling score, and one other word leads."""
    chance, totals, rows = np.random.default_rng(0), Totals(), []
    for at in range(60):
        words = ["the"] * 5 + [f"w{int(number)}" for number in chance.integers(0, 9, 4)] + ["great"]
        rows.append(("a" if at % 2 else "b", 0.9, words, [0.5] * 5 + list(chance.random(4) * 0.9) + [0.95]))
    totals.add(table_of(rows))
    named = totals.drivers({"a": 30, "b": 30}, least=10, count=20)
    table = {(row["label"], row["word"]): row for row in totals.table().to_pylist()}
    assert named["a"][0].word == "great"
    assert named["a"][0].lead == pytest.approx(10 / 3)  # always among the three top words of ten
    assert table["a", "the"]["score"] / table["a", "the"]["count"] == pytest.approx(0.5)
    assert table["a", "the"]["leads"] < table["a", "the"]["chance"] == pytest.approx(30 * 5 * 0.3)
    assert "the" not in {driver.word for driver in named["a"]}


def test_of_equal_scores_the_first_leads_and_short_rows_lead_as_a_whole():
    leads, by_chance = leading(table_of([("a", 0.9, list("abcde"), [0.5] * 5), ("a", 0.9, list("ab"), [0.1, 0.2])]))
    np.testing.assert_array_equal(leads, [1, 1, 1, 0, 0, 1, 1])
    np.testing.assert_allclose(by_chance, [0.6] * 5 + [1, 1])


def test_the_listed_rows_of_a_small_file_are_all_that_have_words(record, explained):
    rows = read(explained / "here")
    assert [row.row for row in record.listed] == [at for at, row in enumerate(rows) if row["x_status"] == "ok"]
    for driver in (driver for drivers in record.drivers.values() for driver in drivers):
        assert len(driver.examples) == driver.rows


@pytest.mark.parametrize("most", [0, 5, 30])
def test_the_listed_rows_of_a_larger_file_are_extremes_those_of_words_and_then_random_ones(explained, most):
    record = record_file(explained / "here", least_rows=3, most_listed=most)
    rows, numbers = read(explained / "here"), [row.row for row in record.listed]
    assert (len(numbers), numbers) == (most, sorted(set(numbers)))
    extremes = [row.row for row in (*record.clearest, *record.doubtful)]
    assert set(extremes[:most]) <= set(numbers)
    for label, drivers in record.drivers.items():
        for driver in drivers:
            scores = {}
            for at, row in enumerate(rows):
                if row["x_status"] == "ok" and row["x_label"] == label:
                    held = zip(row["x_words"], row["x_scores"], strict=True)
                    own = [score for word, score in held if normalize("NFKC", word).lower() == driver.word]
                    scores |= {at: max(own)} if own else {}
            ranked = sorted(scores, key=lambda row: (-scores[row], row))
            assert list(driver.examples) == [row for row in ranked if row in numbers]
            if most == 30:
                assert driver.examples[0] == ranked[0]


def test_the_command_writes_both_and_refuses_what_it_cannot_use(tmp_path):
    save(tmp_path / "model", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(tmp_path / "network")
    models = ["--model", str(tmp_path / "model"), "--explainer", str(tmp_path / "network")]
    write_parquet(tmp_path / "in.parquet")

    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    assert invoke("explain-file", tmp_path / "in.parquet", tmp_path / "out", *models).exit_code == 0
    outputs = ["--output", tmp_path / "file.json", "--output", tmp_path / "file.html"]
    done = invoke("audit", "file", tmp_path / "out", "--sample", 4, "--against", tmp_path / "out", *models, *outputs)
    assert done.exit_code == 0
    assert json.loads((tmp_path / "file.json").read_text())["faithfulness"]["rows"] == 4
    assert "Which words drive each class" in (tmp_path / "file.html").read_text()
    with pytest.raises(InputError, match="--explainer needs --model"):
        invoke("audit", "file", tmp_path / "out", "--explainer", tmp_path / "network")


def test_a_folder_whose_name_is_not_utf8_is_recorded_with_the_name_spelled_out(explained, tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.symlink_to(explained / "there")
    assert record_file(folder).folder == "there"
    folder.unlink()
    shutil.copytree(explained / "there", folder)
    record = record_file(folder, against=folder)
    assert json.loads(record.to_json())["folder"] == r"caf\xe9"
    assert file_page(record).encode()
