"""Scores of tokens instead of words: the endpoint, and the page with its check, its heads and its refusals."""

import json

import pytest

import expnet
from expnet.serve import Limits, create_app
from tests.browsers import Browser
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.serve.test_serve_page import Page, ask

TEXT = "a good zebra, bad"  # the tiny tokenizer spells what it does not know


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def client(explainer):
    models = {"tiny": explainer, "other": tiny_explainer(tiny_classifier(seed=1))}
    with Browser(create_app(models, limits=Limits())) as client:
        yield client


@pytest.mark.parametrize("method", ["expnet", "saliency", "leave_one_out"])
def test_the_endpoint_gives_each_token_its_score(client, explainer, method):
    asked = {"instances": [TEXT], "method": method, "tokens": True}
    (told,) = client.post("/v1/models/tiny:explain", json=asked).json()["explanations"]
    direct = explainer.explain(expnet.as_tokens(explainer, TEXT), method=method)
    assert [word["text"] for word in told["words"]] == [word.text for word in direct.words]
    assert [word["score"] for word in told["words"]] == pytest.approx([word.score for word in direct.words], abs=1e-5)
    assert len(direct.words) > len(expnet.Text.of(TEXT).words)


def test_the_page_shows_tokens_removes_tokens_and_shows_the_heads_of_one(client, explainer):
    shown = [word.text for word in explainer.explain(expnet.as_tokens(explainer, TEXT)).words]
    asked = {"text": TEXT, "unit": "tokens", "method": ["expnet", "saliency"], "count": "1", "word": "3"}
    page = Page(ask(client, **asked))
    options = [attrs for attrs, _ in page.all("option") if attrs["value"] == "tokens"]
    assert "selected" in options[0]
    (buttons, sent) = (
        [text for _, text in page.all("button", class_="word")],
        page.one("input", name="unit")[0]["value"],
    )
    assert (buttons, sent) == (shown, "tokens")
    downloaded = json.loads(ask(client, "/download", format="json", **asked))
    for explanation, check in zip(downloaded["explanations"], downloaded["checks"], strict=False):
        assert [word["text"] for word in explanation["words"]] == shown
        best = max(explanation["words"], key=lambda word: word["score"])
        assert check["words"] == [best["text"]]


def test_what_cannot_be_shown_is_refused_with_the_reason(client):
    refused = Page(ask(client, status=422, text=TEXT, unit="tokens", beside="other")).one("p", class_="alert")[1]
    assert "Two models may read other tokens" in refused
    assert "got 'letters'" in Page(ask(client, status=422, text=TEXT, unit="letters")).one("p", class_="alert")[1]
