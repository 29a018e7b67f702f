"""An MLflow model says what the explainer says, from a folder without a pickle."""

import json
import shutil
import warnings
from datetime import date, datetime
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.models import infer_signature
from mlflow.types.schema import AnyType, Array, DataType
from pandas.testing import assert_frame_equal

import expnet.integrations.mlflow
from expnet import Explainer, explain_frame
from expnet.batch import Settings
from expnet.batch.added_columns import AddedColumn, added_columns
from expnet.errors import InputError, UnsafeModelError
from expnet.integrations.mlflow import column_type, log_model, save_model
from tests.classifiers import tiny_classifier, tiny_explainer

TEXTS = pd.DataFrame({"text": ["a good film", "bad!", None], "other": [1, 2, 3]}, index=[5, 6, 7])
ADDED = [column.name for column in added_columns("probability")]
BEFORE = Path(__file__).parents[1] / "before" / "mlflow"
SAFE = {"MLmodel", ".json", ".safetensors", ".md", ".txt", ".yaml", ".jinja"}


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def saved(explainer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow") / "model"
    save_model(explainer, folder)
    return folder


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield
    mlflow.set_tracking_uri(None)


def test_a_saved_model_answers_frames_with_the_columns_of_explain_frame(explainer, saved):
    predicted = mlflow.pyfunc.load_model(str(saved)).predict(TEXTS)
    assert_frame_equal(predicted, explain_frame(explainer, TEXTS)[ADDED])
    assert predicted.status.tolist() == ["ok", "ok", "missing"]


def test_a_folder_that_was_changed_to_name_a_pickle_is_refused(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "model")
    (config,) = (tmp_path / "model").rglob("classifier/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"transformers_weights": "adapter_model.bin"}))
    with pytest.raises(UnsafeModelError, match=r"names adapter_model\.bin, which may be a pickle"):
        mlflow.pyfunc.load_model(str(tmp_path / "model"))


def test_nothing_that_is_saved_is_a_pickle_or_code(saved):
    files = [path for path in saved.rglob("*") if path.is_file()]
    assert {path.suffix or path.name for path in files} <= SAFE
    assert {path.suffix for path in files} >= {".safetensors", ".json"}


def test_a_logged_model_comes_back_by_its_address(explainer, store):
    predicted = mlflow.pyfunc.load_model(log_model(explainer, "tiny").model_uri).predict(TEXTS)
    assert_frame_equal(predicted, explain_frame(explainer, TEXTS)[ADDED])


def test_the_signature_names_columns_and_types(explainer, tmp_path):
    save_model(explainer, tmp_path / "model", settings=Settings(text="a", pair="b", prefix="x_"))
    signature = mlflow.models.get_model_info(str(tmp_path / "model")).signature
    assert [(column.name, column.required) for column in signature.inputs] == [("a", True), ("b", False)]
    kinds = {column.name: json.dumps(column.to_dict()["type"]) for column in signature.outputs}
    assert list(kinds) == [f"x_{name}" for name in ADDED]
    assert [kinds[f"x_{name}"] for name in ("label", "probability", "scores")] == ['"string"', '"float"', '"array"']


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.string(), "a"),
        (pa.large_string(), "a"),
        (pa.dictionary(pa.int32(), pa.string()), "a"),
        (pa.binary(), b"a"),
        (pa.bool_(), True),
        *((kind(), 1) for kind in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32)),
        *((kind(), 0.5) for kind in (pa.float16, pa.float32, pa.float64)),
        (pa.timestamp("us"), datetime(2026, 1, 2)),
        (pa.date32(), date(2026, 1, 2)),
        (pa.list_(pa.int64()), [1]),
        (pa.large_list(pa.list_(pa.float64())), [[0.5]]),
        (pa.struct([pa.field("a", pa.int64(), nullable=False)]), {"a": 1}),
    ],
    ids=str,
)
def test_a_column_of_any_arrow_type_has_the_type_that_mlflow_infers_from_its_values(kind, value):
    frame = pa.table({"a": pa.array([value, value], kind)}).to_pandas()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that whole numbers cannot be missing
        (inferred,) = infer_signature(frame).inputs
    assert column_type(kind) == inferred.type


@pytest.mark.parametrize("kind", [pa.decimal128(5, 2), pa.duration("s"), pa.uint64(), pa.time32("s"), pa.null()])
def test_what_mlflow_has_no_type_for_may_be_anything(kind):
    assert column_type(kind) == AnyType()
    assert column_type(pa.list_(kind)) == Array(AnyType())


def test_a_column_that_is_declared_comes_with_every_answer(explainer, tmp_path, monkeypatch):
    def with_length(kind):
        length = AddedColumn("length", pa.int64(), lambda row: row.explanation and len(row.explanation.words))
        return (*added_columns(kind), length)

    monkeypatch.setattr("expnet.batch.added_columns.added_columns", with_length)
    save_model(explainer, tmp_path / "model")
    signature = mlflow.models.get_model_info(str(tmp_path / "model")).signature
    assert (signature.outputs.inputs[-1].name, signature.outputs.inputs[-1].type) == ("length", DataType.long)
    predicted = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(TEXTS)
    assert list(predicted) == [*ADDED, "length"]
    assert predicted.length.tolist()[:2] == [3, 2]
    assert pd.isna(predicted.length.tolist()[2])


def test_pairs_are_optional_and_another_method_can_be_asked_for_while_loading(explainer, tmp_path):
    save_model(explainer, tmp_path / "model", settings=Settings(text="a", pair="b", prefix="x_"))
    frame = pd.DataFrame({"a": ["a good film", "bad"], "b": ["one text", None]})
    model = mlflow.pyfunc.load_model(str(tmp_path / "model"), model_config={"method": "saliency"})
    for given, pair in ((frame, "b"), (frame[["a"]], None)):
        expected = explain_frame(explainer, given, text="a", pair=pair, method="saliency", prefix="x_")
        assert_frame_equal(model.predict(given), expected[[f"x_{name}" for name in ADDED]])


def test_a_frame_without_its_text_column_is_refused(saved):
    with pytest.raises(mlflow.MlflowException, match=r"missing inputs \['text'\]"):
        mlflow.pyfunc.load_model(str(saved)).predict(pd.DataFrame({"texts": ["bad"]}))


def test_an_explainer_without_an_expnet_is_refused(tmp_path):
    with pytest.raises(InputError, match="no ExpNet to save"):
        save_model(Explainer(tiny_classifier()), tmp_path / "model")
    assert expnet.integrations.mlflow.__name__ == "expnet.integrations.mlflow"


def test_a_column_without_a_string_for_a_name_is_refused_as_mlflow_knows_no_other(explainer, tmp_path):
    with pytest.raises(InputError, match="MLflow needs names of columns that are strings, got 0: rename the column"):
        save_model(explainer, tmp_path / "model", settings=Settings(text=0))
    assert not (tmp_path / "model").exists()


def test_a_folder_saved_before_the_modules_moved_still_answers():
    """Its MLmodel names the module `expnet.mlflow`; the figures are those that it gave on the day it was saved."""
    predicted = mlflow.pyfunc.load_model(str(BEFORE)).predict(pd.DataFrame({"text": ["a good film", "bad!"]}))
    assert predicted.words.map(list).tolist() == [["a", "good", "film"], ["bad", "!"]]
    expected = [0.50154924, 0.45151263, 0.44112667, 0.5404473, 0.4664233]
    assert np.concatenate(predicted.scores.tolist()).tolist() == pytest.approx(expected, abs=1e-6)
