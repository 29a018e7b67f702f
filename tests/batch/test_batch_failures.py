"""Whatever the model raises on a row concerns that row; what concerns all rows stops the job and says so."""

from unittest.mock import Mock

import pandas as pd
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer
from typer.testing import CliRunner

from expnet import explain_frame
from expnet.batch import Settings, explain_file
from expnet.batch.rows import Chunk, explain_rows
from expnet.cli.app import app
from expnet.errors import ModelError, NonFiniteError
from expnet.text import windows
from tests.batch_jobs import TEXTS, content, run, write_lines, write_parquet
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import FIRST_WORD, WORDS, build, save, tokenizer

# Batches of other widths add up in another order.
TOLERANCE = 1e-5


def failing(error, *words):
    """An explainer whose model raises an error on texts with one of these words, or on any text."""
    ids = torch.tensor([FIRST_WORD + WORDS.index(word) for word in words])
    explainer = tiny_explainer(tiny_classifier())

    def fail(_module, inputs):
        if not words or torch.isin(inputs[0], ids).any():
            raise error

    explainer.classifier.model.get_input_embeddings().register_forward_pre_hook(fail)
    return explainer


class MuteError(Exception):
    def __str__(self):
        raise ValueError("no message")


ERRORS = [
    (MuteError(), "failed", "MuteError, whose message cannot be read"),
    (IndexError("index out of range in self"), "failed", "IndexError: index out of range in self"),
    (RuntimeError("boom"), "failed", "RuntimeError: boom"),
    (ValueError("bad \ud800 value"), "failed", r"ValueError: bad \ud800 value"),
    (AssertionError(), "failed", "AssertionError: "),
    (OSError(5, "x" * 9999), "failed", f"OSError: [Errno 5] {'x' * 9999}"[:500]),
    (MemoryError("no room"), "out of memory", "MemoryError: no room"),
]


@pytest.mark.parametrize(("error", "status", "reason"), ERRORS, ids=[type(failure[0]).__name__ for failure in ERRORS])
def test_whatever_the_model_raises_on_a_row_is_its_status_and_the_others_are_explained(tmp_path, error, status, reason):
    explained = run(failing(error, "film"), write_parquet(tmp_path / "in.parquet"), tmp_path / "out", shard_rows=3)
    assert [row["status"] for row in explained] == [status if "film" in text else "ok" for text in TEXTS]
    healthy = tiny_explainer(tiny_classifier())
    for text, row in zip(TEXTS, explained, strict=True):
        if "film" in text:
            assert (row["error"], row["label"], row["scores"]) == (reason, None, None)
        else:
            scores = [word.score for word in healthy.explain(text).words]
            assert row["scores"] == pytest.approx(scores, abs=TOLERANCE)


class PanicException(BaseException):
    """As Rust's panics come to Python."""


def test_a_panic_of_the_tokenizer_concerns_the_row_that_holds_its_text(tmp_path, monkeypatch):
    def encode(backend, texts):
        if any("film" in text for text in texts):
            raise PanicException("index out of bounds")
        return backend.encode_batch(texts)

    def panicking(backend, texts):
        return tokenize(Mock(spec=Tokenizer, encode_batch=lambda texts: encode(backend, texts)), texts)

    tokenize = windows._tokenize
    monkeypatch.setattr(windows, "_tokenize", panicking)
    explained = run(tiny_explainer(tiny_classifier()), write_parquet(tmp_path / "in.parquet"), tmp_path / "out")
    assert [row["status"] for row in explained] == ["failed" if "film" in text else "ok" for text in TEXTS]
    assert explained[0]["error"] == "The tokenizer fails on a text: index out of bounds"


def test_a_frame_marks_the_row_on_which_the_model_fails():
    frame = pd.DataFrame({"text": TEXTS})
    frame_out = explain_frame(failing(RuntimeError("boom"), "film"), frame)
    assert frame_out.status.tolist() == ["failed" if "film" in text else "ok" for text in TEXTS]
    assert frame_out.error[0] == "RuntimeError: boom"


def test_a_token_without_an_embedding_concerns_only_the_row_that_holds_it(tmp_path):
    words = tokenizer()
    words.add_tokens(["<user>"])
    explainer = tiny_explainer(tiny_classifier())
    classifier = type(explainer.classifier)(build("bert"), words)
    source = write_lines(tmp_path / "in.jsonl", [{"text": text} for text in ("good", "bad <user> film", "short")])
    explained = run(tiny_explainer(classifier), source, tmp_path / "out")
    assert [row["status"] for row in explained] == ["ok", "invalid", "ok"]
    assert "the token '<user>' with the id 71, but the model has embeddings for 71 ids" in explained[1]["error"]


def test_a_failing_word_of_the_sample_fails_no_other_row(tmp_path):
    explained = run(failing(RuntimeError("boom"), "text"), write_parquet(tmp_path / "in.parquet"), tmp_path / "out")
    assert [row["status"] for row in explained] == ["failed" if "text" in text else "ok" for text in TEXTS]


def test_a_model_that_fails_on_any_text_is_refused_before_the_first(tmp_path):
    source = write_parquet(tmp_path / "in.parquet")
    explainer = failing(IndexError("no such layer"))
    with pytest.raises(ModelError, match=r"fails on any text, such as 'A short text\.': IndexError: no such layer"):
        run(explainer, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="IndexError: no such layer"):
        explain_frame(explainer, pd.DataFrame({"text": ["good"]}))
    with pytest.raises(NonFiniteError):
        run(failing(NonFiniteError("NaN")), source, tmp_path / "out")


def test_a_model_that_no_longer_explains_anything_stops_the_job_instead_of_failing_all_its_rows(tmp_path):
    source = write_parquet(tmp_path / "in.parquet")
    run(tiny_explainer(tiny_classifier()), source, tmp_path / "whole", shard_rows=3)
    explainer = tiny_explainer(tiny_classifier())
    lost = []

    def fail(_module, inputs):
        if lost or torch.isin(inputs[0], torch.tensor([FIRST_WORD + WORDS.index("long")])).any():
            lost.append(True)
            raise RuntimeError("CUDA error: device-side assert triggered")

    hook = explainer.classifier.model.get_input_embeddings().register_forward_pre_hook(fail)
    with pytest.raises(ModelError, match="device-side assert"):
        run(explainer, source, tmp_path / "out", shard_rows=3)
    assert [path.name for path in sorted((tmp_path / "out").glob("*.parquet"))] == ["part-000000.parquet"]
    hook.remove()
    run(explainer, source, tmp_path / "out", shard_rows=3)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_stops_the_process_stops_the_job(tmp_path, error):
    with pytest.raises(error):
        run(failing(error(), "film"), write_parquet(tmp_path / "in.parquet"), tmp_path / "out")


def test_one_bad_row_among_many_costs_few_calls(monkeypatch):
    explainer = failing(RuntimeError("boom"), "film")
    sizes, whole = [], explainer.explain
    monkeypatch.setattr(explainer, "explain", lambda texts, **how: sizes.append(len(texts)) or whole(texts, **how))
    texts = ["good"] * 200 + ["bad film"]
    outcomes = explain_rows(explainer, Chunk(pa.table({"text": texts}), {"text": texts}, {}), Settings())
    assert [outcome.status for outcome in outcomes] == ["ok"] * 200 + ["failed"]
    assert len(sizes) <= 1 + 2 * 8 + 1, "one call, two in each of 8 halvings, and the sample's"


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("cell", [Unspeakable(), 10**5000, float("inf"), b"\xff", [1], "\ud800"], ids=range(6))
def test_a_cell_of_any_kind_spoils_no_other_row(cell):
    explainer = tiny_explainer(tiny_classifier())
    frame = pd.DataFrame({"text": pd.Series(["good", cell, "bad"], dtype=object)})
    assert [status == "ok" for status in explain_frame(explainer, frame).status] == [True, False, True]
    frame = pd.DataFrame({"text": ["good"] * 3, "target": pd.Series([0, cell, 1], dtype=object)})
    frame_out = explain_frame(explainer, frame, target_column="target")
    assert [status == "ok" for status in frame_out.status] == [True, False, True]
    assert frame_out.error.notna().tolist() == [False, True, False]


def test_where_not_one_row_could_be_explained_the_job_says_so_and_why(tmp_path):
    explainer = failing(IndexError("index out of range"), "film")
    source = write_lines(tmp_path / "in.jsonl", [{"text": "good film"}, {"text": None}])
    summary = explain_file(explainer, source, tmp_path / "out")
    assert summary.failure == "failed: IndexError: index out of range"
    assert explain_file(explainer, write_parquet(tmp_path / "a.parquet"), tmp_path / "more").failure is None
    (tmp_path / "empty.jsonl").write_text("")
    assert explain_file(explainer, tmp_path / "empty.jsonl", tmp_path / "none").failure is None


def test_the_command_ends_with_status_1_where_not_one_row_could_be_explained(tmp_path):
    save(tmp_path / "model", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(tmp_path / "network")
    names = ["--model", str(tmp_path / "model"), "--explainer", str(tmp_path / "network")]
    source = write_lines(tmp_path / "in.jsonl", [{"text": 5}, {"text": None}])
    result = CliRunner().invoke(app, ["explain-file", str(source), str(tmp_path / "out"), *names])
    assert result.exit_code == 1
    assert "1 invalid, 1 missing." in result.stdout
    assert "No row could be explained. The first error: invalid: Expected a string, got int" in result.stderr
