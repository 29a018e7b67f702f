"""pandas in, pandas out: the same rows as `explain-file`, whatever the index and the other columns are."""

import re

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import expnet.integrations.pandas
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
    monkeypatch.setattr(expnet.integrations.pandas, "_ROWS", 2)
    columns = {"text": "premise", "pair": "hypothesis", "target_column": "gold"}
    explained = explain_frame(explainer, frame, **columns, method="saliency", prefix="x_")
    assert_frame_equal(explained, written, check_dtype=False, atol=TOLERANCE, rtol=0)
    assert explained.x_status.tolist() == ["ok", "missing", "unknown target", "ok", "ok"]


def test_scores_are_those_of_explain_and_the_frame_given_stays_as_it_was(explainer):
    frame = pd.DataFrame({"text": ["a good film", "bad!"], "other": [object(), {1, 2}]}, index=["x", "x"])
    before = frame.copy()
    explained = explain_frame(explainer, frame)
    assert_frame_equal(frame, before)
    assert_frame_equal(explained[["text", "other"]], before)
    for row, text in zip(explained.itertuples(), frame.text, strict=True):
        explanation = explainer.explain(text)
        assert row.label == explanation.label
        assert [text[a:b] for a, b in zip(row.starts, row.ends, strict=True)] == row.words.tolist()
        np.testing.assert_allclose(row.scores, [word.score for word in explanation.words], atol=TOLERANCE, rtol=0)


def test_what_is_missing_or_no_text_gets_a_status(explainer):
    cells = [None, float("nan"), pd.NA, 5, "\ud800", "a good film"]
    explained = explain_frame(explainer, pd.DataFrame({"text": pd.Series(cells, dtype=object)}))
    assert explained.status.tolist() == ["missing"] * 3 + ["invalid"] * 2 + ["ok"]
    assert explained.error.notna().tolist() == [True] * 5 + [False]
    assert explained.scores.isna().tolist() == [True] * 5 + [False]


def test_whole_numbers_beside_missing_ones_are_still_classes(explainer):
    frame = pd.DataFrame({"text": ["good", "bad"], "target": [2, None]})
    assert frame.target.dtype == float
    explained = explain_frame(explainer, frame, target_column="target", method="saliency")
    assert explained.label.tolist() == ["LABEL_2", explainer.explain("bad").label]


def test_an_empty_frame_gets_the_columns_too(explainer):
    explained = explain_frame(explainer, pd.DataFrame({"text": pd.Series([], dtype=str)}))
    assert explained.columns.tolist()[:3] == ["text", "label", "probability"]
    assert len(explained) == 0


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


def test_columns_of_a_frame_without_a_header_are_named_by_number(explainer):
    frame = pd.DataFrame([["good film", "bad", 2], ["bad", None, None], [None, "one", 1]])
    explained = explain_frame(explainer, frame, text=0, pair=1, target_column=2)
    named = frame.set_axis(["text", "pair", "target"], axis=1)
    expected = explain_frame(explainer, named, pair="pair", target_column="target")
    assert explained.columns.tolist() == [0, 1, 2, *expected.columns[3:]]
    assert explained.status.tolist() == ["ok", "ok", "missing"]
    assert_frame_equal(
        explained.set_axis(expected.columns, axis=1).drop(columns="error"), expected.drop(columns="error")
    )
    assert explained.error[2] == "The column 0 is null."


def test_columns_of_several_levels_are_named_by_tuples_and_keep_their_levels(explainer):
    columns = pd.MultiIndex.from_tuples([("in", "text"), ("in", "n"), ("more", "")], names=["a", "b"])
    frame = pd.DataFrame([["a good film", 1, 2], ["bad", 3, 4]], columns=columns)
    explained = explain_frame(explainer, frame, text=("in", "text"))
    expected = explain_frame(explainer, pd.DataFrame({"text": ["a good film", "bad"]}))
    assert explained.columns.tolist()[:4] == [("in", "text"), ("in", "n"), ("more", ""), ("label", "")]
    assert explained.columns.names == ["a", "b"]
    assert_frame_equal(explained[columns], frame)
    for name in expected.columns[1:]:
        assert explained[name].map(str).tolist() == expected[name].map(str).tolist()


@pytest.mark.parametrize(
    ("labels", "text", "message"),
    [
        ([0, 1], 7, "There is no column 7. Columns: 0, 1."),
        ([0, 1], "0", "There is no column '0'. Did you mean 0? Columns: 0, 1."),
        ([0, 0], 0, "more than one column 0: rename or drop all but one"),
        (None, "in", "more than one column 'in': give one of [('in', 'text'), ('in', 'n')]"),
        (None, ("in", "texts"), "There is no column ('in', 'texts'). Did you mean ('in', 'text')?"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(explainer, labels, text, message):
    columns = pd.MultiIndex.from_tuples([("in", "text"), ("in", "n")]) if labels is None else labels
    frame = pd.DataFrame([["good", "bad"]], columns=columns)
    with pytest.raises(InputError, match=re.escape(message)):
        explain_frame(explainer, frame, text=text)


def test_a_level_with_the_name_of_an_added_column_needs_a_prefix(explainer):
    columns = pd.MultiIndex.from_tuples([("in", "text"), ("label", "n")])
    frame = pd.DataFrame([["good", "bad"]], columns=columns)
    with pytest.raises(InputError, match=r"to be added: label\. Choose a prefix"):
        explain_frame(explainer, frame, text=("in", "text"))
    assert explain_frame(explainer, frame, text=("in", "text"), prefix="x_")["x_status"].tolist() == ["ok"]


def test_classes_may_be_numpy_integers_and_strings(explainer):
    frame = pd.DataFrame({"text": ["good"] * 4})
    frame["target"] = pd.Series([np.int64(2), np.uint8(1), np.str_("LABEL_1"), np.bool_(True)], dtype=object)
    explained = explain_frame(explainer, frame, target_column="target")
    assert explained.label.tolist()[:3] == ["LABEL_2", "LABEL_1", "LABEL_1"]
    assert explained.status.tolist() == ["ok", "ok", "ok", "unknown target"]
