"""Rows in, rows out: each as if explained alone, whatever is wrong with its neighbours."""

import hashlib
import json
import re
import resource
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import expnet
from expnet import Text
from expnet.batch import Settings, explain_file
from expnet.batch.files import common_schema, survey
from expnet.batch.rows import Chunk, explain_rows
from expnet.cli.app import app
from expnet.errors import BatchError, InputError, OptionError
from tests.batch_jobs import TEXTS, content, read, run, write_lines, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import FIRST_WORD, WORDS, build, save

# Batches of other widths add up in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


ANYTHING = st.one_of(
    st.lists(st.sampled_from((*WORDS, "zebra", "\u00e9", "\ud800")), max_size=8).map(" ".join),
    st.sampled_from([None, 5, True, 1.5, ["good"], {"good": 1}]),
)
TARGETS = st.sampled_from([None, "LABEL_1", 2, "LABEL_9", True, 1.5])


@settings(max_examples=12)
@given(rows=st.lists(st.tuples(ANYTHING, ANYTHING, TARGETS), max_size=9), shard_rows=st.integers(1, 4))
def test_output_rows_are_those_of_explain_one_by_one(explainer, rows, shard_rows):
    with tempfile.TemporaryDirectory() as folder:
        lines = [{"n": n, "text": a, "pair": b, "target": c} for n, (a, b, c) in enumerate(rows)]
        source = write_lines(Path(folder) / "in.jsonl", lines)
        columns = {"pair": "pair", "target_column": "target"}
        explained = run(explainer, source, Path(folder) / "out", **columns, shard_rows=shard_rows) if rows else []
    assert [row["n"] for row in explained] == list(range(len(rows)))
    for row, (text, pair, target) in zip(explained, rows, strict=True):
        assert_is_explained_alone(row, explainer, text, pair, target)


def unknown(target):
    return target is True or target in ("LABEL_9", 1.5)


def assert_is_explained_alone(row, explainer, text, pair, target):
    strings = isinstance(text, str) and isinstance(pair, str | None)
    if text is None:
        assert row["status"] == "missing"
    elif not strings or "\ud800" in text + (pair or ""):
        assert row["status"] == ("unknown target" if strings and unknown(target) else "invalid")
    elif unknown(target):
        assert row["status"] == "unknown target"
    else:
        alone = explainer.explain(Text.of(text, pair), target=target)
        assert (row["status"], row["error"], row["truncated"]) == ("ok", None, False)
        assert (row["label"], row["words"]) == (alone.label, [word.text for word in alone.words])
        assert row["probability"] == pytest.approx(alone.probability, abs=TOLERANCE)
        assert row["scores"] == pytest.approx([word.score for word in alone.words], abs=TOLERANCE)
        spans = list(zip(row["starts"], row["ends"], row["segments"], strict=True))
        assert spans == [(word.start, word.end, word.segment) for word in alone.words]
        return
    assert row["error"]
    assert [row[name] for name in ("label", "probability", "words", "scores")] == [None] * 4


def test_each_bad_row_says_what_is_wrong_and_the_others_are_explained(tmp_path, explainer):
    rows = [
        {"id": 1, "text": "a good film", "pair": None, "target": "LABEL_2"},
        {"id": 1, "text": None, "pair": None, "target": None},
        {"id": 3, "text": "good", "pair": None, "target": "LABEL_22"},
        {"id": 4, "text": "good " * 300, "pair": "bad " * 300, "target": None},
        {"id": 5, "text": "x" * 5_000_000, "pair": None, "target": None},
        {"id": 1, "text": "bad", "pair": "one", "target": "0"},
    ]
    source = write_parquet(tmp_path / "in.parquet", rows)
    explained = run(explainer, source, tmp_path / "out", pair="pair", target_column="target")
    assert [row["status"] for row in explained] == ["ok", "missing", "unknown target", "too long", "too long", "ok"]
    errors = [row["error"] for row in explained]
    assert "'text' is null" in errors[1]
    assert "Did you mean 'LABEL_2'?" in errors[2]
    assert "A pair of 300 and 300 tokens" in errors[3]
    assert "5,000,000 characters are more than max_characters, 100,000" in errors[4]
    assert [{name: row[name] for name in rows[0]} for row in explained] == rows  # ids twice, and all of 5 MB
    assert [explained[0]["label"], explained[5]["label"]] == ["LABEL_2", "LABEL_0"]


def test_a_text_that_is_no_utf8_is_kept_and_not_explained(tmp_path, explainer):
    broken = pa.array([b"good", b"\xff\xfe", None], pa.binary()).cast(pa.string(), safe=False).view(pa.string())
    pq.write_table(pa.table({"text": broken}), tmp_path / "in.parquet")
    explain_file(explainer, tmp_path / "in.parquet", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "part-000000.parquet")
    assert table.column("status").to_pylist() == ["ok", "invalid", "missing"]
    assert "got bytes" in table.column("error").to_pylist()[1]
    assert table.column("text").cast(pa.binary()).to_pylist() == [b"good", b"\xff\xfe", None]


def test_a_text_on_which_the_model_returns_nan_spoils_no_other(tmp_path):
    classifier = tiny_classifier()
    classifier.embeddings[FIRST_WORD + WORDS.index("film")] = torch.nan
    source = write_parquet(tmp_path / "in.parquet")
    explained = run(tiny_explainer(classifier), source, tmp_path / "out")
    assert [row["status"] for row in explained] == ["not finite" if "film" in text else "ok" for text in TEXTS]
    healthy = tiny_explainer(tiny_classifier())
    for text, row in zip(TEXTS, explained, strict=True):
        if row["status"] == "ok":
            scores = [word.score for word in healthy.explain(text).words]
            assert row["scores"] == pytest.approx(scores, abs=TOLERANCE)


def test_where_memory_does_not_suffice_batches_are_halved_down_to_the_row(explainer, monkeypatch):
    sizes, whole = [], explainer.explain

    def scarce(texts, **settings):
        sizes.append(len(texts))
        if len(texts) > 2 or texts[0].text == "too much":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(texts, **settings)

    monkeypatch.setattr(explainer, "explain", scarce)
    texts = ["good", "bad", "too much", "a longer text", "another longer text"]
    chunk = Chunk(pa.table({"text": texts}), {"text": texts}, {})
    outcomes = explain_rows(explainer, chunk, Settings())
    assert [outcome.status for outcome in outcomes] == ["ok", "ok", "out of memory", "ok", "ok"]
    assert sizes == [5, 2, 3, 1, 2]


def test_texts_of_like_length_are_explained_together(explainer, monkeypatch):
    batches, whole = [], explainer.explain

    def spy(texts, **settings):
        batches.append([len(text.text) for text in texts])
        return whole(texts, **settings)

    monkeypatch.setattr(explainer, "explain", spy)
    texts = [TEXTS[n % 7] + " good" * (n * 37 % 11) for n in range(300)]
    explain_rows(explainer, Chunk(pa.table({"text": texts}), {"text": texts}, {}), Settings())
    assert [len(batch) for batch in batches] == [256, 44]
    assert [length for batch in batches for length in batch] == sorted(map(len, texts))


def test_any_method_with_its_options_and_seed_gives_what_explain_gives(tmp_path, explainer):
    how = {"method": "lime", "options": {"samples": 30}, "seed": 3}
    source = write_parquet(tmp_path / "in.parquet")
    for text, row in zip(TEXTS, run(explainer, source, tmp_path / "out", **how), strict=True):
        alone = explainer.explain(text, **how)
        assert row["scores"] == pytest.approx([word.score for word in alone.words], abs=1e-4)  # a regression's


def test_truncation_is_reported_by_row(tmp_path, explainer):
    source = write_parquet(tmp_path / "in.parquet", [{"text": "good " * 300}, {"text": "good"}])
    explained = run(explainer, source, tmp_path / "out", truncate=True)
    assert [row["truncated"] for row in explained] == [True, False]
    assert [len(row["words"]) for row in explained] == [300, 1]


def test_what_would_fail_in_every_row_fails_before_the_first(tmp_path, explainer):
    source, output = write_parquet(tmp_path / "in.parquet"), tmp_path / "out"
    with pytest.raises(InputError, match="no class 'LABEL_7'"):
        run(explainer, source, output, target="LABEL_7")
    with pytest.raises(OptionError, match="samples"):
        run(explainer, source, output, method="lime", options={"sample": 3})
    with pytest.raises(InputError, match=r"no column 'texts'. Did you mean 'text'\? Columns: id, text"):
        run(explainer, source, output, text="texts")
    assert not output.exists()


def test_columns_that_are_to_be_added_and_are_there_need_a_prefix(tmp_path, explainer):
    source = write_parquet(tmp_path / "in.parquet", [{"text": "good", "label": "mine", "status": 1}])
    with pytest.raises(InputError, match=r"label, status\. Choose a prefix"):
        run(explainer, source, tmp_path / "out")
    (row,) = run(explainer, source, tmp_path / "out", prefix="expnet_")
    assert (row["label"], row["status"], row["expnet_status"]) == ("mine", 1, "ok")
    assert row["expnet_label"].startswith("LABEL_")


def test_the_metadata_of_a_shard_says_what_made_it(tmp_path, explainer):
    source = write_parquet(tmp_path / "in.parquet")
    run(explainer, source, tmp_path / "out", shard_rows=3)
    about = json.loads(pq.read_schema(tmp_path / "out" / "part-000002.parquet").metadata[b"expnet"])
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert about["shard"] == {"number": 2, "file": "in.parquet", "sha256": digest, "start": 6, "rows": 1}
    assert about["statuses"] == {"ok": 1}
    assert about["classifier_hash"] == explainer.classifier.fingerprint()
    assert about["versions"]["expnet"] == expnet.__version__
    assert (about["method"], about["shard_rows"], about["labels"]) == ("expnet", 3, ["LABEL_0", "LABEL_1", "LABEL_2"])


def test_another_network_weight_text_or_option_is_another_job_and_refused(tmp_path, explainer):
    source, output = write_parquet(tmp_path / "in.parquet"), tmp_path / "out"
    run(explainer, source, output, shard_rows=3)
    before = content(output)
    with pytest.raises(BatchError, match="shard_rows was 3 and is 4"):
        run(explainer, source, output, shard_rows=4)
    with pytest.raises(BatchError, match=r"method was 'expnet' and is 'random'.*seed was 0 and is 1"):
        run(explainer, source, output, shard_rows=3, method="random", seed=1)
    with pytest.raises(BatchError, match="explainer_hash was"):
        run(tiny_explainer(explainer.classifier, seed=1), source, output, shard_rows=3)
    with pytest.raises(BatchError, match="classifier_hash was"):
        run(tiny_explainer(tiny_classifier(seed=1)), source, output, shard_rows=3)
    write_parquet(source, [{"text": "other"}])
    with pytest.raises(BatchError, match="input was"):
        run(explainer, source, output, shard_rows=3)
    assert content(output) == before


def test_only_missing_shards_are_made_again(tmp_path, explainer, monkeypatch):
    source, output = write_parquet(tmp_path / "in.parquet"), tmp_path / "out"
    run(explainer, source, output, shard_rows=3)
    before = content(output)
    (output / "part-000001.parquet").unlink()
    (output / ".part-000001.parquet.0.tmp").write_bytes(b"half")
    seen, whole = [], explainer.explain
    monkeypatch.setattr(explainer, "explain", lambda texts, **how: seen.append(texts) or whole(texts, **how))
    run(explainer, source, output, shard_rows=3)
    assert content(output) == before
    assert sorted(text.text for texts in seen[1:] for text in texts) == sorted(TEXTS[3:6])  # [0] is the sample


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, explainer):
    source = write_parquet(tmp_path / "in.parquet")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-000000.parquet").write_text("mine")
    with pytest.raises(BatchError, match="holds files, but no job"):
        run(explainer, source, tmp_path / "out")
    with pytest.raises(InputError, match="lies in the folder that is read"):
        run(explainer, tmp_path, tmp_path / "new")
    with pytest.raises(BatchError, match="No such file or directory"):
        run(explainer, source, tmp_path / "no" / "such")


def test_a_shard_that_somebody_damaged_is_named(tmp_path, explainer):
    source, output = write_parquet(tmp_path / "in.parquet"), tmp_path / "out"
    run(explainer, source, output)
    (output / "part-000000.parquet").write_text("damaged")
    with pytest.raises(BatchError, match=r"part-000000\.parquet cannot be read"):
        run(explainer, source, output)
    write_parquet(output / "part-000000.parquet")
    with pytest.raises(BatchError, match="not written by expnet"):
        run(explainer, source, output)


def test_a_full_disk_leaves_whole_shards_and_the_job_goes_on_when_there_is_room(tmp_path, explainer):
    noise = "".join(hashlib.sha512(bytes([n])).hexdigest() for n in range(250))  # hardly compresses
    rows = [{"text": "good", "noise": ""}, {"text": "one", "noise": ""}, {"text": "bad", "noise": noise}]
    source = write_parquet(tmp_path / "in.parquet", rows)
    run(explainer, source, tmp_path / "whole", shard_rows=2)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))  # the first shard fits, the second does not
    try:
        with pytest.raises(BatchError, match=r"part-000001.parquet cannot be written: File too large"):
            run(explainer, source, tmp_path / "out", shard_rows=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(content(tmp_path / "out")) == ["_job.json", "part-000000.parquet"]
    assert len(run(explainer, source, tmp_path / "out", shard_rows=2)) == 3
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_large_cells_make_small_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("expnet.batch.files._BYTES", 10_000)
    sizes = [*[100] * 80, 50_000, *[3000] * 9]
    rows = [{"text": "x" * size} for size in sizes]
    for source in (write_parquet(tmp_path / "in.parquet", rows), write_lines(tmp_path / "in.jsonl", rows)):
        file = survey(source, source, 60)
        assert common_schema([file]).names == ["text"]
        assert sum(file.counts) == 90
        assert max(file.counts) <= 60
        assert len(file.counts) >= 2 + 3  # by rows alone it would be two
    assert file.counts == (60, 20, 1, 3, 3, 3)  # lines are measured one by one, Parquet's rows 64 at a time


def test_the_command_explains_a_file_and_says_what_became_of_the_rows(tmp_path):
    save(tmp_path / "model", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(tmp_path / "network")
    (tmp_path / "in").mkdir()
    write_parquet(tmp_path / "in" / "x.parquet")
    write_lines(tmp_path / "in" / "y.jsonl", [{"id": 7, "text": None}])
    (tmp_path / "in" / "README.md").write_text("about")
    names = ["--model", str(tmp_path / "model"), "--explainer", str(tmp_path / "network")]
    more = ["--method", "lime", "--option", "samples=20", "--seed", "2", "--shard-rows", "5"]
    arguments = ["explain-file", str(tmp_path / "in"), str(tmp_path / "out"), *names, *more]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "8 rows in 3 shards in " in result.stdout
    assert "7 ok, 1 missing." in result.stdout
    assert f"Not read, unsupported file type: {tmp_path / 'in' / 'README.md'}" in result.stderr
    loaded = expnet.load(names[1], explainer=names[3])
    alone = loaded.explain(TEXTS[0], method="lime", options={"samples": 20}, seed=2)
    assert read(tmp_path / "out")[0]["scores"] == pytest.approx([word.score for word in alone.words], abs=1e-4)


def test_progress_counts_rows_and_shows_their_rate(tmp_path, explainer, capsys):
    source = write_parquet(tmp_path / "in.parquet")
    explain_file(explainer, source, tmp_path / "out", settings=Settings(shard_rows=3), progress=True)
    shown = capsys.readouterr().err
    assert "explaining" in shown
    assert "7/7" in shown
    assert re.search(r"\d/s", shown)
