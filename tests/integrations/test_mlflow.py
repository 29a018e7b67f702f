"""An MLflow model says what the explainer says, from a folder without a pickle."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import expnet.integrations.mlflow
from expnet import Explainer, explain_frame
from expnet.batch import Settings
from expnet.errors import InputError, UnsafeModelError
from expnet.integrations.mlflow import log_model, save_model
from tests.classifiers import tiny_classifier, tiny_explainer

TEXTS = pd.DataFrame({"text": ["a good film", "bad!", None], "other": [1, 2, 3]}, index=[5, 6, 7])
ADDED = [
    "label",
    "probability",
    "words",
    "starts",
    "ends",
    "segments",
    "scores",
    "uses_target",
    "truncated",
    "status",
    "error",
]
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
    found = mlflow.pyfunc.load_model(str(saved)).predict(TEXTS)
    assert_frame_equal(found, explain_frame(explainer, TEXTS)[ADDED])
    assert found.status.tolist() == ["ok", "ok", "missing"]


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
    found = mlflow.pyfunc.load_model(log_model(explainer, "tiny").model_uri).predict(TEXTS)
    assert_frame_equal(found, explain_frame(explainer, TEXTS)[ADDED])


def test_the_signature_names_columns_and_types(explainer, tmp_path):
    save_model(explainer, tmp_path / "model", settings=Settings(text="a", pair="b", prefix="x_"))
    signature = mlflow.models.get_model_info(str(tmp_path / "model")).signature
    assert [(column.name, column.required) for column in signature.inputs] == [("a", True), ("b", False)]
    kinds = {column.name: json.dumps(column.to_dict()["type"]) for column in signature.outputs}
    assert list(kinds) == [f"x_{name}" for name in ADDED]
    assert [kinds[f"x_{name}"] for name in ("label", "probability", "scores")] == ['"string"', '"float"', '"array"']


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
    with pytest.raises(InputError, match="MLflow knows columns by strings, got 0: rename the column"):
        save_model(explainer, tmp_path / "model", settings=Settings(text=0))
    assert not (tmp_path / "model").exists()


def test_a_folder_saved_before_the_modules_moved_still_answers():
    """Its MLmodel names the module `expnet.mlflow`; the figures are those that it gave on the day it was saved."""
    found = mlflow.pyfunc.load_model(str(BEFORE)).predict(pd.DataFrame({"text": ["a good film", "bad!"]}))
    assert found.words.map(list).tolist() == [["a", "good", "film"], ["bad", "!"]]
    expected = [0.50154924, 0.45151263, 0.44112667, 0.5404473, 0.4664233]
    assert np.concatenate(found.scores.tolist()).tolist() == pytest.approx(expected, abs=1e-6)
