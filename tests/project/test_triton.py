"""The recipe for Triton runs behind a stand-in for Triton's own module: no Triton is here."""

import importlib.util
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import expnet
from tests.models import build, save

FOLDER = Path(__file__).parents[2] / "docs" / "triton" / "expnet"
CONFIG = (FOLDER / "config.pbtxt").read_text(encoding="utf-8")


@dataclass
class Tensor:
    name: str
    content: np.ndarray

    def as_numpy(self):
        return self.content


@dataclass
class InferenceResponse:
    output_tensors: list
    error: object = None


@dataclass
class TritonError:
    message: str


@dataclass
class Request:
    inputs: list = field(default_factory=list)


def request(*texts):
    return Request([Tensor("text", np.array([[text] for text in texts], dtype=np.object_))])


@pytest.fixture
def recipe(monkeypatch):
    """The module as Triton imports it."""
    stand_in = SimpleNamespace(
        Tensor=Tensor,
        InferenceResponse=InferenceResponse,
        TritonError=TritonError,
        get_input_tensor_by_name=lambda request, name: next(one for one in request.inputs if one.name == name),
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stand_in)
    spec = importlib.util.spec_from_file_location("triton_recipe", FOLDER / "1" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def model(recipe, tmp_path):
    folder = save(tmp_path, build("bert"))
    parameters = {"model": {"string_value": str(folder)}, "method": {"string_value": "saliency"}}
    made = recipe.TritonPythonModel()
    made.initialize(
        {
            "model_config": json.dumps({"parameters": parameters}),
            "model_instance_kind": "CPU",
            "model_instance_device_id": "0",
        }
    )
    made.folder = folder
    return made


def answers(response):
    return {tensor.name: [value.decode() for value in tensor.content[:, 0]] for tensor in response.output_tensors}


def test_requests_are_answered_in_their_order_as_the_explainer_does(model):
    first, second = model.execute([request(b"a good film", b"bad"), request("naïve 😀".encode())])
    explainer = expnet.load(model.folder, device="cpu")
    for response, texts in ((first, ["a good film", "bad"]), (second, ["naïve 😀"])):
        assert response.error is None
        made, expected = answers(response), explainer.explain(texts, method="saliency")
        assert made["label"] == [explanation.label for explanation in expected]
        read = [expnet.Explanation.from_json(one) for one in made["explanation"]]
        assert [one.text for one in read] == texts
        for one, other in zip(read, expected, strict=True):
            scores = [word.score for word in other.words]
            # A batch is padded to its longest text, which changes rounding.
            assert [word.score for word in one.words] == pytest.approx(scores, abs=1e-5)


def test_an_error_is_that_of_its_request_alone(model):
    bad, good = model.execute([request(b"caf\xe9"), request(b"a good film")])
    assert bad.output_tensors == []
    assert "surrogate" in bad.error.message
    assert good.error is None
    assert answers(good)["explanation"][0].startswith('{"schema"')


def test_the_configuration_names_what_the_model_takes_and_gives(model, recipe):
    (response,) = model.execute([request(b"a good film")])
    names = re.findall(r'name: "(\w+)" data_type: TYPE_STRING dims: \[ 1 \]', CONFIG)
    assert names == ["text", *(tensor.name for tensor in response.output_tensors)]
    assert all(tensor.content.shape == (1, 1) for tensor in response.output_tensors)
    assert 'backend: "python"' in CONFIG
    parameters = dict(re.findall(r'parameters \{ key: "(\w+)" value \{ string_value: "([^"]*)" \} \}', CONFIG))
    assert parameters["method"] in {method.name for method in expnet.list_methods()} | {"expnet"}
    assert parameters["model"] == "demo/sentiment"
