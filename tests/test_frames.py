"""pandas in, pandas out: the same rows as `explain-file`, whatever the index and the other columns are."""

import re

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import expnet.frames
from expnet import explain_frame
from expnet.batch import Settings, explain_file
from expnet.errors import InputError, MethodError
from tests.classifiers import tiny_classifier, tiny_explainer

# Batches of other widths add up in another order.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


def test_a_frame_gets_the_columns_that_explain_file_writes(explainer, tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {
            "premise": ["a good film", None, "bad", "short", "!"],
            "hypothesis": ["one text", "bad", None, None, "?"],
            "gold": ["LABEL_1", None, "LABEL_9", None, None],
            "n": range(5),
        }
    )
    frame.to_parquet(tmp_path / "in.parquet")
    settings = Settings(text="premise", pair="hypothesis", target_column="gold", method="saliency", prefix="x_")
    explain_file(explainer, tmp_path / "in.parquet", tmp_path / "out", settings=settings)
    written = pd.read_parquet(tmp_path / "out")
    monkeypatch.setattr(expnet.frames, "_ROWS", 2)
    columns = {"text": "premise", "pair": "hypothesis", "target_column": "gold"}
    found = explain_frame(explainer, frame, **columns, method="saliency", prefix="x_")
    assert_frame_equal(found, written, check_dtype=False, atol=TOLERANCE, rtol=0)
    assert found.x_status.tolist() == ["ok", "missing", "unknown target", "ok", "ok"]


def test_scores_are_those_of_explain_and_the_frame_given_stays_as_it_was(explainer):
    frame = pd.DataFrame({"text": ["a good film", "bad!"], "other": [object(), {1, 2}]}, index=["x", "x"])
    before = frame.copy()
    found = explain_frame(explainer, frame)
    assert_frame_equal(frame, before)
    assert_frame_equal(found[["text", "other"]], before)
    for row, text in zip(found.itertuples(), frame.text, strict=True):
        explanation = explainer.explain(text)
        assert row.label == explanation.label
        assert [text[a:b] for a, b in zip(row.starts, row.ends, strict=True)] == row.words.tolist()
        np.testing.assert_allclose(row.scores, [word.score for word in explanation.words], atol=TOLERANCE, rtol=0)


def test_what_is_missing_or_no_text_gets_a_status(explainer):
    cells = [None, float("nan"), pd.NA, 5, "\ud800", "a good film"]
    found = explain_frame(explainer, pd.DataFrame({"text": pd.Series(cells, dtype=object)}))
    assert found.status.tolist() == ["missing"] * 3 + ["invalid"] * 2 + ["ok"]
    assert found.error.notna().tolist() == [True] * 5 + [False]
    assert found.scores.isna().tolist() == [True] * 5 + [False]


def test_whole_numbers_beside_missing_ones_are_still_classes(explainer):
    frame = pd.DataFrame({"text": ["good", "bad"], "target": [2, None]})
    assert frame.target.dtype == float
    found = explain_frame(explainer, frame, target_column="target", method="saliency")
    assert found.label.tolist() == ["LABEL_2", explainer.explain("bad").label]


def test_an_empty_frame_gets_the_columns_too(explainer):
    found = explain_frame(explainer, pd.DataFrame({"text": pd.Series([], dtype=str)}))
    assert found.columns.tolist()[:3] == ["text", "label", "probability"]
    assert len(found) == 0


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        (["txt"], {}, InputError, "There is no column 'text'. Did you mean 'txt'?"),
        (["text", "text"], {}, InputError, "more than one column 'text'"),
        (["text", "label"], {}, InputError, "columns that are to be added: label. Choose a prefix"),
        (["text", 7], {"target": "LABEL_7"}, InputError, "There is no class 'LABEL_7'"),
        (["text"], {"method": "salience"}, MethodError, "salience"),
    ],
)
def test_what_would_go_wrong_in_every_row_is_an_error(explainer, columns, options, error, message):
    frame = pd.DataFrame([["good"] * len(columns)], columns=columns)
    with pytest.raises(error, match=re.escape(message)):
        explain_frame(explainer, frame, **options)
