"""Strings in binary, as KServe's and Triton's clients send them, are read as the same strings in JSON are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from expnet.errors import RefusedError
from expnet.serve import create_app
from expnet.serve.binary import unpack
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.serve.test_serve import error
from tests.serve.test_serve_v2 import EXPLAIN, INFER, TEXTS, tensor

HEADER = "inference-header-content-length"


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app({"tiny": tiny_explainer(tiny_classifier())})) as client:
        yield client


def column(*texts, name="text", **more):
    """Return the description of an input in binary, and its bytes."""
    content = b"".join(len(text.encode()).to_bytes(4, "little") + text.encode() for text in texts)
    described = tensor(*texts, name=name, parameters={"binary_data_size": len(content)}) | more
    del described["data"]
    return described, content


def packed(*columns, **more):
    described = json.dumps({"inputs": [described for described, _ in columns], **more}).encode()
    return described + b"".join(content for _, content in columns), len(described)


def send(client, body, size, path=INFER, **headers):
    return client.post(path, content=body, headers={HEADER: str(size), **headers})


@pytest.mark.parametrize("path", [INFER, EXPLAIN])
@pytest.mark.parametrize("headers", [{}, {"content-type": "application/octet-stream"}])
def test_binary_inputs_are_answered_as_those_in_json(client, path, headers):
    pairs = ("bäd", "")
    body, size = packed(column(*TEXTS), column(*pairs, name="pair"), id="42", parameters={"binary_data_output": True})
    answer = send(client, body, size, path, **headers)
    asked = {"id": "42", "inputs": [tensor(*TEXTS), tensor(*pairs, name="pair")]}
    assert answer.status_code == 200, answer.text
    assert answer.json() == client.post(path, json=asked).json()


def test_binary_inputs_and_others_may_be_mixed(client):
    described, content = column(*TEXTS)
    asked = {"inputs": [tensor("a", "b", name="pair"), described], "outputs": [{"name": "label"}], "model_name": "tiny"}
    asked["outputs"][0]["parameters"] = {"binary_data": False}
    head = json.dumps(asked).encode()
    answer = send(client, head + content, len(head)).json()
    plain = {"inputs": [tensor(*TEXTS), tensor("a", "b", name="pair")], "outputs": [{"name": "label"}]}
    assert answer == client.post(INFER, json=plain).json()


def test_a_request_for_another_model_than_that_of_the_path_is_refused(client):
    for path in (INFER, EXPLAIN):
        asked = {"inputs": [tensor(*TEXTS)], "model_name": "other"}
        message = "model_name: Expected 'tiny' as in the path, or nothing, got 'other'."
        assert error(client.post(path, json=asked), 422) == message


BODY, SIZE = packed(column("ab"))


@pytest.mark.parametrize(
    ("body", "size", "message"),
    [
        (BODY, "x", f"{HEADER}: Expected at most the {len(BODY)} bytes of the body, got 'x'."),
        (BODY, len(BODY) + 1, f"{HEADER}: Expected at most the {len(BODY)} bytes"),
        (BODY, SIZE - 1, f"The first {SIZE - 1} bytes of the body cannot be read as JSON."),
        (BODY[:-1], SIZE, "inputs: 5 bytes are left for the binary input 0."),
        (BODY + b"z", SIZE, "The body has 1 bytes more than its inputs say."),
        (BODY[:SIZE] + b"\x09\0\0\0ab", SIZE, "The binary input 0 ends within a string."),
        (BODY[:SIZE] + b"\x02\0\0\0\xff\xff", SIZE, "String 0 of the binary input 0 is not UTF-8."),
    ],
)
def test_bytes_that_are_not_what_was_said_are_refused_with_the_reason(client, body, size, message):
    assert error(send(client, body, size), 400).startswith(message)


def test_what_else_is_wrong_is_said_as_in_json(client):
    body, size = packed(column("ab", datatype="FP32"))
    assert "datatype" in error(send(client, body, size), 422)
    body, size = packed(column("ab", shape=[2]))
    assert error(send(client, body, size), 422) == "inputs.0.data: The shape [2] holds 2 strings, got 1."
    head = b'["not a request"]'
    assert send(client, head, len(head)).status_code == 422


def test_the_header_alone_opens_nothing_to_pages_of_other_sites(client):
    body, size = packed(column("ab"))
    assert send(client, body, size, origin="http://evil.example").status_code == 403
    assert send(client, body, size, **{"sec-fetch-site": "cross-site"}).status_code == 403


@given(st.binary(max_size=60), st.text("0123456789x-", max_size=4))
def test_no_body_breaks_the_reading(body, size):
    try:
        json.loads(unpack(body, size))
    except RefusedError as refused:
        status = refused.status
    else:
        return
    assert status == 400
