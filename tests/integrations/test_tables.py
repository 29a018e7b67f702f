"""Arrow in, Arrow out: the same columns as a frame gets, from whatever speaks the C stream interface."""

import pandas as pd
import pyarrow as pa
import pytest

import expnet.integrations.arrow
from expnet import explain_frame, explain_table
from expnet.batch import Settings
from expnet.errors import InputError
from tests.classifiers import tiny_classifier, tiny_explainer

COLUMNS = {"premise": ["a good film", None, "bad"], "gold": ["LABEL_1", None, "LABEL_9"], "n": [1, 2, 3]}
SETTINGS = Settings(text="premise", target_column="gold", method="saliency", prefix="x_")


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


class Stream:
    """A table of a library that we know nothing of."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize("made", [pa.table, lambda columns: Stream(pa.table(columns)), pd.DataFrame])
def test_a_table_gets_the_columns_of_a_frame(explainer, made, monkeypatch):
    monkeypatch.setattr(expnet.integrations.arrow, "_ROWS", 2)
    explained = explain_table(explainer, made(COLUMNS), settings=SETTINGS)
    frame = explain_frame(
        explainer, pd.DataFrame(COLUMNS), text="premise", target_column="gold", method="saliency", prefix="x_"
    )
    assert explained.column_names == list(frame.columns)
    assert explained.column("x_status").to_pylist() == ["ok", "missing", "unknown target"]
    assert explained.column("n").to_pylist() == [1, 2, 3]
    assert explained.column("x_words").to_pylist()[0] == ["a", "good", "film"]
    scores = explained.column("x_scores").to_pylist()[0]
    assert scores == pytest.approx(list(frame["x_scores"][0]), abs=1e-5)


def test_columns_of_polars_are_read_where_it_is_installed(explainer):
    polars = pytest.importorskip("polars")
    explained = polars.from_arrow(explain_table(explainer, polars.DataFrame(COLUMNS), settings=SETTINGS))
    assert explained["x_status"].to_list() == ["ok", "missing", "unknown target"]


def test_a_table_of_no_rows_gets_the_columns(explainer):
    explained = explain_table(explainer, pa.table({"text": pa.array([], pa.string())}))
    assert len(explained) == 0
    assert {"text", "label", "words", "status"} <= set(explained.column_names)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (["a good film"], "Arrow's C stream interface.*got list"),
        (pa.table({"texts": ["a"]}), "no column 'text'. Did you mean 'texts'"),
        (pa.table({"text": ["a"], "label": ["b"]}), "to be added: label"),
        (pa.table([["a"], ["b"]], names=["text", "text"]), "more than one column 'text'"),
    ],
)
def test_what_is_no_table_of_texts_is_refused(explainer, table, message):
    with pytest.raises(InputError, match=message):
        explain_table(explainer, table)
