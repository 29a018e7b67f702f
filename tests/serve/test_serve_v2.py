"""The Open Inference Protocol answers what V1 answers, as tensors, and says what is wrong with a request."""

import json

import pytest
from starlette.testclient import TestClient

import expnet
from expnet import Explanation
from expnet.serve import Limits, create_app
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_explainer

INFER, EXPLAIN = "/v2/models/tiny/infer", "/v2/models/tiny/explain"
TEXTS = ["a good film", "one bad text"]


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def client(explainer):
    with TestClient(create_app({"tiny": explainer}, limits=Limits(texts=3, tokens=5000))) as client:
        yield client


def tensor(*texts, name="text", **more):
    return {"name": name, "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)} | more


def outputs(answer):
    """Return the data of each output by name; every tensor must hold as many elements as its shape says."""
    assert answer.status_code == 200, answer.text
    found = {}
    for output in answer.json()["outputs"]:
        size = 1
        for length in output["shape"]:
            size *= length
        assert len(output["data"]) == size
        found[output["name"]] = output["data"]
    return found


# What is answered


def test_health_and_metadata_are_as_the_protocol_defines_them(client):
    assert client.get("/v2").json() == {"name": "expnet", "version": expnet.__version__, "extensions": ["explain"]}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/tiny/ready").json() == {"name": "tiny", "ready": True}
    assert client.get("/v2/models/tiny").json() == {
        "name": "tiny",
        "platform": "pytorch",
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in ("text", "pair")],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "classes", "datatype": "BYTES", "shape": [3]},
        ],
    }


def test_what_is_not_ready_says_so(explainer):
    client = TestClient(create_app({"tiny": explainer}))  # which was never started
    for path, told in (("/v2/health/ready", {"ready": False}), ("/v2/models/tiny/ready", {"name": "tiny"})):
        answer = client.get(path)
        assert answer.status_code == 503
        assert answer.json() == told | {"ready": False}
    assert client.get("/v2/health/live").json() == {"live": True}


def test_inference_gives_the_predictions_of_v1(client):
    pairs = ["a short one", "long"]
    asked = {"id": "42", "inputs": [tensor(*TEXTS), tensor(*pairs, name="pair")]}
    answer = client.post(INFER, json=asked)
    instances = [{"text": text, "pair": pair} for text, pair in zip(TEXTS, pairs, strict=True)]
    direct = client.post("/v1/models/tiny:predict", json={"instances": instances}).json()["predictions"]
    got = outputs(answer)
    assert (answer.json()["model_name"], answer.json()["id"]) == ("tiny", "42")
    assert got["label"] == [prediction["label"] for prediction in direct]
    assert got["classes"] == list(direct[0]["probabilities"])
    assert got["probabilities"] == pytest.approx([p for each in direct for p in each["probabilities"].values()])


def test_metadata_names_the_outputs_that_come(client):
    described = client.get("/v2/models/tiny").json()["outputs"]
    came = client.post(INFER, json={"inputs": [tensor(*TEXTS)]}).json()["outputs"]
    assert [(output["name"], output["datatype"]) for output in came] == [
        (output["name"], output["datatype"]) for output in described
    ]
    for output, kind in zip(came, described, strict=True):
        assert output["shape"] == [2 if length == -1 else length for length in kind["shape"]]


def test_a_column_may_come_in_rows_and_a_request_without_an_id_gets_none(client):
    flat = client.post(INFER, json={"inputs": [tensor(*TEXTS)]})
    rows = client.post(INFER, json={"inputs": [tensor(shape=[2, 1], data=[[text] for text in TEXTS])]})
    column = client.post(INFER, json={"inputs": [tensor(*TEXTS, shape=[2, 1], parameters={"content_type": "str"})]})
    assert outputs(flat) == outputs(rows) == outputs(column)
    assert "id" not in flat.json()


def test_the_outputs_asked_for_come_in_that_order(client):
    asked = {"inputs": [tensor(*TEXTS)], "outputs": [{"name": "classes"}, {"name": "label"}]}
    assert list(outputs(client.post(INFER, json=asked))) == ["classes", "label"]


def test_explaining_gives_the_words_of_all_texts_and_says_whose_they_are(client, explainer):
    parameters = {"method": "leave_one_out", "option.replacement": "pad", "target": "LABEL_1", "seed": 1}
    got = outputs(client.post(EXPLAIN, json={"inputs": [tensor(*TEXTS)], "parameters": parameters}))
    options = {"replacement": "pad"}
    direct = explainer.explain(
        list(map(Text.of, TEXTS)), method="leave_one_out", options=options, target="LABEL_1", seed=1
    )
    words = [(place, word) for place, explanation in enumerate(direct) for word in explanation.words]
    assert got["words"] == [word.text for _, word in words]
    assert got["scores"] == pytest.approx([word.score for _, word in words], abs=1e-6)
    assert got["instances"] == [place for place, _ in words]
    places = zip(got["instances"], got["starts"], got["ends"], strict=True)
    assert [TEXTS[at][start:end] for at, start, end in places] == got["words"]
    assert set(got["segments"]) == {0}
    assert got["label"] == ["LABEL_1"] * 2
    assert [Explanation.from_json(one).text for one in got["explanations"]] == TEXTS


def test_explaining_every_class_gives_a_column_for_each(explainer):
    asked = {"method": "saliency", "target": "all", "classes": 2}
    with TestClient(create_app({"tiny": explainer})) as client:  # with room for two classes of two texts
        answer = client.post(EXPLAIN, json={"inputs": [tensor(*TEXTS)], "parameters": asked})
    got, shapes = outputs(answer), {output["name"]: output["shape"] for output in answer.json()["outputs"]}
    direct = explainer.explain(list(map(Text.of, TEXTS)), method="saliency", target="all", classes=2)
    words = sum(len(ranked[0].words) for ranked in direct)
    assert (shapes["label"], shapes["explanations"], shapes["scores"]) == ([2, 2], [2, 2], [words, 2])
    assert shapes["words"] == shapes["instances"] == [words]
    assert got["label"] == [one.label for ranked in direct for one in ranked]
    of_second = [word.score for ranked in direct for word in ranked[1].words]
    assert got["scores"][1::2] == pytest.approx(of_second, abs=1e-6)
    assert got["scores"][::2] != pytest.approx(of_second, abs=1e-3)


def test_a_regression_gives_values(explainer):
    regression = tiny_explainer(tiny_classifier(num_labels=1, problem_type="regression"))
    with TestClient(create_app({"tiny": regression})) as client:
        described = client.get("/v2/models/tiny").json()["outputs"]
        got = outputs(client.post(INFER, json={"inputs": [tensor(*TEXTS)]}))
    assert [output["name"] for output in described] == list(got) == ["values", "names"]
    assert got["names"] == ["LABEL_0"]
    assert len(got["values"]) == 2


def test_long_texts_are_cut_only_if_asked(client):
    long = " ".join(["good"] * 400)
    whole = outputs(client.post(EXPLAIN, json={"inputs": [tensor(long)]}))
    cut = outputs(client.post(EXPLAIN, json={"inputs": [tensor(long)], "parameters": {"truncate": True}}))
    assert len(cut["scores"]) == len(whole["scores"]) == 400
    assert not any(cut["scores"][-10:])
    assert any(whole["scores"][-10:])


# What is refused


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, "inputs: Field required"),
        ({"inputs": []}, "inputs: List should have at least 1 item"),
        ({"inputs": [tensor("a")], "more": 1}, "more: Extra inputs are not permitted"),
        (
            {"inputs": [tensor("a", name="input-0")]},
            'inputs: Expected the tensor "text", and perhaps "pair", got \'input-0\'.',
        ),
        ({"inputs": [tensor("a", name="pair")]}, "got 'pair'"),
        ({"inputs": [tensor("a"), tensor("b")]}, "got 'text', 'text'"),
        ({"inputs": [tensor("a"), tensor("b", "c", name="pair")]}, "There are 1 texts, but 2 second texts"),
        ({"inputs": [tensor("a", datatype="FP32")]}, "inputs.0.datatype: Input should be 'BYTES'"),
        ({"inputs": [tensor("a", shape=[2])]}, "inputs.0.data: The shape [2] holds 2 strings, got 1."),
        ({"inputs": [tensor("a", shape=[-1])]}, "inputs.0.shape: Expected [n] or [n, 1], got [-1]"),
        ({"inputs": [tensor("a", "b", shape=[1, 2])]}, "inputs.0.shape: Expected [n] or [n, 1], got [1, 2]"),
        ({"inputs": [tensor("a", shape=[1, 1, 1])]}, "inputs.0.shape: List should have at most 2 items"),
        ({"inputs": [tensor(shape=[1], data=[["a"]])]}, "got rows of others than 1"),
        ({"inputs": [tensor(shape=[2, 1], data=[["a", "b"]])]}, "got rows of others than 1"),
        ({"inputs": [tensor(shape=[1], data=[1])]}, "inputs.0.data.0.string: Input should be a valid string"),
        ({"inputs": [tensor()]}, "inputs.0.data: Expected a text at least, got none"),
        ({"inputs": [tensor(*"abcd")]}, "4 texts"),
        (
            {"inputs": [tensor("a", parameters={"binary_data_size": 3})]},
            "inputs.0.parameters: 'binary_data_size' is not",
        ),
        (
            {"inputs": [tensor("a")], "outputs": [{"name": "labels"}]},
            "There is no output 'labels'. Did you mean 'label'?",
        ),
        ({"inputs": [tensor("a")], "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}, "binary_data"),
        (
            {"inputs": [tensor("a")], "parameters": {"truncated": True}},
            "parameters: 'truncated' is not known; there are",
        ),
        (
            {"inputs": [tensor("a")], "parameters": {"truncate": "yes"}},
            "parameters.truncate: Input should be a valid bool",
        ),
        ({"inputs": [tensor("a")], "parameters": {"truncate": {"a": 1}}}, "parameters.truncate"),
        ({"inputs": [tensor("\ud800")]}, "Instance 0"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_and_where(client, path, asked, reason):
    answer = client.post(path, content=json.dumps(asked), headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert answer.json().keys() == {"error"}
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"method": "none"}, "none"),
        ({"seed": "1"}, "parameters.seed: Input should be a valid integer"),
        ({"seed": -1}, "parameters.seed: Input should be greater than or equal to 0"),
        ({"target": "all", "against": "LABEL_0"}, "each class by itself"),
        ({"target": "all", "classes": 0}, "parameters.classes: Input should be greater than or equal to 1"),
        ({"target": "LABEL_9"}, "LABEL_9"),
        ({"target": 1.5}, "parameters.target"),
        ({"classes": 2}, "classes=2 says how many classes target='all' explains"),
        (
            {"class": 2},
            "parameters: 'class' is not known; there are method, target, against, classes, seed, truncate, tokens",
        ),
        ({"instances": "a"}, "parameters: 'instances' is not known"),
        ({"options": "a"}, "parameters: 'options' is not known"),
        ({"method": "lime", "option.sample": 3}, "samples"),
        ({"method": "lime", "option.samples": 10**9}, "would cost as much as"),
    ],
)
def test_what_is_wrong_with_the_parameters_of_an_explanation_is_said(client, parameters, reason):
    answer = client.post(EXPLAIN, json={"inputs": [tensor("a good film")], "parameters": parameters})
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
def test_what_is_no_json_is_refused_with_the_place(client, path):
    typed = {"content-type": "application/json"}
    answer = client.post(path, content='{"inputs": [', headers=typed)
    assert answer.status_code == 422
    assert answer.json()["error"] == "The body is not JSON: Expecting value (character 12)"
    assert client.post(path, content=b"\xff", headers=typed).status_code == 400
    assert client.post(path, content="{}", headers={"content-type": "text/plain"}).status_code == 415


def test_models_and_versions_that_there_are_not_are_not_found(client):
    for path in ("", "/ready"):
        answer = client.get(f"/v2/models/tini{path}")
        assert answer.status_code == 404
        assert "Did you mean 'tiny'?" in answer.json()["error"]
    assert client.post("/v2/models/tini/infer", json={"inputs": [tensor("a")]}).status_code == 404
    assert client.get("/v2/models/tiny/versions/1").status_code == 404


# HEAD


@pytest.mark.parametrize(
    "path",
    [
        *("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny", "/v2/models/tiny/ready", "/v2/models/none"),
        *("/healthz", "/readyz", "/v1/models", "/v1/models/tiny", "/", "/static/page.js", "/openapi.json", "/nothing"),
    ],
)
def test_head_gives_the_head_of_what_get_gives(client, path):
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    for name in ("content-type", "content-length", "content-security-policy"):
        assert head.headers.get(name) == got.headers.get(name)


def test_head_of_what_only_takes_posts_is_refused_as_get_is(client):
    for path in (INFER, "/v1/models/tiny:explain", "/download"):
        assert client.head(path).status_code == client.get(path).status_code == 405
