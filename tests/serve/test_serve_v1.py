"""What clients of KServe's V1 send beside texts: parameters, a signature, events; and how they ask for life."""

import json

import pytest
from starlette.testclient import TestClient

from expnet.serve import Limits, create_app
from tests.browsers import BROWSER
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.serve.test_serve import EXPLAIN, PREDICT, error

EVENT = {"specversion": "1.0", "id": "a-1", "source": "/shop", "type": "review", "subject": "n 7"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
TEXTS = {"instances": ["a good film", "bäd"]}


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app({"tiny": tiny_explainer(tiny_classifier())}, limits=Limits(body=4000))) as client:
        yield client


def sent(client, event, path=PREDICT):
    return client.post(path, content=json.dumps(event).encode(), headers=STRUCTURED)


def test_parameters_hold_the_same_settings_as_the_request(client):
    settings = {"method": "lime", "options": {"samples": 20}, "seed": 3, "target": 1, "truncate": True}
    beside = client.post(EXPLAIN, json=TEXTS | settings)
    assert beside.status_code == 200
    assert client.post(EXPLAIN, json=TEXTS | {"parameters": settings}).json() == beside.json()
    part = {"method": "lime", "options": {"samples": 20}, "parameters": {"seed": 3, "target": 1, "truncate": True}}
    assert client.post(EXPLAIN, json=TEXTS | part).json() == beside.json()
    other = client.post(EXPLAIN, json=TEXTS | {"parameters": {**settings, "seed": 4}})
    assert other.json() != beside.json()


def test_a_setting_given_twice_or_unknown_is_refused(client):
    twice = client.post(PREDICT, json=TEXTS | {"truncate": True, "parameters": {"truncate": False}})
    said = "parameters: 'truncate' is given beside the instances as well: leave one out; settings: truncate"
    assert said in error(twice, 422)
    unknown = client.post(PREDICT, json=TEXTS | {"parameters": {"method": "lime"}})
    assert "parameters: 'method' is not a setting; settings: truncate" in error(unknown, 422)
    for name in ("instances", "signature_name", "parameters"):
        nested = client.post(PREDICT, json={"instances": ["a"], "parameters": {name: None}})
        assert error(nested, 422)
    wrong = client.post(PREDICT, json=TEXTS | {"parameters": {"truncate": "yes"}})
    assert error(wrong, 422) == "truncate: Input should be a valid boolean"
    assert "parameters" in error(client.post(EXPLAIN, json=TEXTS | {"parameters": 3}), 422)


def test_a_signature_is_the_only_one_there_is(client):
    plain = client.post(PREDICT, json=TEXTS).json()
    assert client.post(PREDICT, json=TEXTS | {"signature_name": "serving_default"}).json() == plain
    refused = client.post(PREDICT, json=TEXTS | {"signature_name": "classify"})
    assert error(refused, 422) == "signature_name: Input should be 'serving_default'"


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_a_structured_event_is_answered_by_one_that_holds_what_the_request_alone_gets(client, path):
    answer = sent(client, EVENT | {"datacontenttype": "application/json", "data": TEXTS}, path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/cloudevents+json"
    event = answer.json()
    assert event.pop("data") == client.post(path, json=TEXTS).json()
    assert len(event.pop("id")) == 36
    assert event.pop("time").endswith("+00:00")
    assert event == {
        "specversion": "1.0",
        "source": "io.kserve.inference.tiny",
        "type": "io.kserve.inference.response",
        "datacontenttype": "application/json",
    }


def test_an_event_in_headers_is_answered_by_one_in_headers(client):
    headers = {f"ce-{name}": value for name, value in EVENT.items()}
    answer = client.post(PREDICT, json=TEXTS, headers=headers)
    assert answer.json() == client.post(PREDICT, json=TEXTS).json()
    assert answer.headers["content-type"] == "application/json"
    told = {name: value for name, value in answer.headers.items() if name.startswith("ce-")}
    assert told.keys() == {"ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time"}
    assert (told["ce-source"], told["ce-specversion"]) == ("io.kserve.inference.tiny", "1.0")
    assert told["ce-id"] != "a-1"
    assert not [name for name in client.post(PREDICT, json=TEXTS).headers if name.startswith("ce-")]


@pytest.mark.parametrize(
    ("event", "status", "message"),
    [
        ("{", 400, "The event is not JSON: EOF while parsing an object at line 1 column 1."),
        ("[" * 3000, 400, "The event is not JSON: recursion limit exceeded"),
        ([], 422, "body: Input should be an object"),
        (EVENT, 422, "data: Field required"),
        (EVENT | {"data": TEXTS, "id": ""}, 422, "id: String should have at least 1 character"),
        (EVENT | {"data": TEXTS, "specversion": "0.3"}, 422, "specversion: Input should be '1.0'"),
        (EVENT | {"data": TEXTS, "datacontenttype": "text/xml"}, 422, "datacontenttype: Input should be"),
        (EVENT | {"data_base64": "e30="}, 422, "data: Field required"),
        (EVENT | {"data": {"instances": []}}, 422, "instances: List should have at least 1 item"),
    ],
)
def test_what_is_wrong_with_an_event_or_its_data_is_said_without_one(client, event, status, message):
    content = event if isinstance(event, str) else json.dumps(event)
    answer = client.post(PREDICT, content=content, headers=STRUCTURED)
    assert error(answer, status).startswith(message)
    assert answer.headers["content-type"] == "application/json"


def test_whoever_asks_for_no_page_is_told_that_the_server_lives(client):
    alive = client.get("/")  # as KServe's client asks
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert client.get("/", headers=BROWSER).headers["content-type"].startswith("text/html")
    assert client.get("/?model=tiny").headers["content-type"].startswith("text/html")
