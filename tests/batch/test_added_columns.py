"""What a row of explain-file gets: names, types and values, which readers of written files rely on."""

import pyarrow as pa
import pytest

from expnet.batch.added_columns import Outcome, added_fields, added_table
from tests.classifiers import tiny_classifier, tiny_explainer

NUMBERS = pa.list_(pa.int32())
COLUMNS = {
    "label": pa.string(),
    "probability": pa.float32(),
    "words": pa.list_(pa.string()),
    "starts": NUMBERS,
    "ends": NUMBERS,
    "segments": NUMBERS,
    "scores": pa.list_(pa.float32()),
    "uses_target": pa.bool_(),
    "truncated": pa.bool_(),
    "status": pa.string(),
    "error": pa.string(),
}


def test_names_and_types_are_those_that_files_were_written_with():
    assert {field.name: field.type for field in added_fields("", "probability")} == COLUMNS
    assert [field.name for field in added_fields("x_", "value")][:2] == ["x_label", "x_value"]


def test_values_come_from_the_explanation_or_are_null():
    explanation = tiny_explainer(tiny_classifier()).explain("a good film")
    outcomes = [Outcome("ok", explanation=explanation), Outcome("missing", "The column 'text' is null.")]
    one, other = added_table(outcomes, "", "probability").to_pylist()
    assert one.pop("probability") == pytest.approx(explanation.probability, abs=1e-6)
    assert one.pop("scores") == pytest.approx([word.score for word in explanation.words], abs=1e-6)
    assert one == {
        "label": explanation.label,
        "words": ["a", "good", "film"],
        "starts": [0, 2, 7],
        "ends": [1, 6, 11],
        "segments": [0, 0, 0],
        "uses_target": False,
        "truncated": False,
        "status": "ok",
        "error": None,
    }
    assert other == dict.fromkeys(COLUMNS) | {"status": "missing", "error": "The column 'text' is null."}
