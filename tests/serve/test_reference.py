"""The page of requests and answers names everything that the description does, and loads nothing from elsewhere."""

import re

import pytest
from starlette.testclient import TestClient

from expnet.serve import create_app
from expnet.serve.reference import endpoints, types
from tests.classifiers import tiny_classifier, tiny_explainer


@pytest.fixture(scope="module")
def client():
    with TestClient(create_app({"tiny": tiny_explainer(tiny_classifier())})) as client:
        yield client


def test_every_endpoint_and_field_is_on_the_page(client):
    page, described = client.get("/docs").text, client.get("/openapi.json").json()
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    for name, schema in described["components"]["schemas"].items():
        if "ValidationError" not in name:
            _, _, section = page.partition(f'<section id="{name}">')
            section, _, _ = section.partition("</section>")
            for field in schema.get("properties", {}):
                assert f"<dt><code>{field}</code>" in section, (name, field)


def test_the_page_loads_nothing_from_elsewhere_and_its_links_lead_somewhere(client):
    page = client.get("/docs").text
    assert "<script" not in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    for link in links:
        assert "//" not in link
        assert f'id="{link[1:]}"' in page if link.startswith("#") else client.get(f"/{link}").status_code == 200
    assert "#ExplainRequest" in links
    assert 'href="docs"' in client.get("/", headers={"accept": "text/html"}).text


def test_types_are_said_in_words():
    of = {
        "count": {"type": "integer", "default": 3, "description": "How many <b>."},
        "texts": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"$ref": "#/components/schemas/Pair"}]}},
        "kind": {"anyOf": [{"const": "a"}, {"type": "null"}]},
    }
    schemas = {"Ask": {"properties": of, "required": ["texts"], "examples": [{"count": 1}]}}
    (told,) = types({"components": {"schemas": schemas}})
    assert [(row.name, row.kind, row.types, row.default) for row in told.fields] == [
        ("count", "integer", (), "3"),
        ("texts", "list of string or Pair", ("Pair",), "required"),
        ("kind", '"a" or null', (), "null"),
    ]
    assert told.examples == ('{"count": 1}',)
    asked = {"post": {"summary": "Ask", "responses": {"200": {"description": "ok"}, "422": {"description": "no"}}}}
    (told,) = endpoints({"paths": {"/ask": asked}})
    assert (told.method, told.path, told.gives, told.refusals) == ("POST", "/ask", (), {"422": "no"})
