"""The page shows two of its models side by side."""

import json

import pytest

from expnet.serve import Limits, create_app
from tests.browsers import BROWSER, Browser
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.serve.test_serve_page import TEXT, Page, ask

LABELS = {0: "good", 1: "bad", 2: "neither"}
OTHERS = {0: "bad", 1: "good", 2: "toxic"}


@pytest.fixture(scope="module")
def models():
    return {
        "tiny": tiny_explainer(tiny_classifier(id2label=LABELS)),
        "other": tiny_explainer(tiny_classifier(seed=1, id2label=OTHERS)),
    }


@pytest.fixture(scope="module")
def client(models):
    with Browser(create_app(models, limits=Limits())) as client:
        yield client


def downloaded(client, **fields):
    return json.loads(ask(client, "/download", format="json", **fields))["explanations"]


def test_both_models_explain_the_text_each_what_it_predicts(client, models):
    page = Page(ask(client, beside="other"))
    (_, card) = page.one("section", class_="expnet")
    assert "expnet (tiny)" in card
    assert "expnet (other)" in card
    assert "The models have different classes" in card
    names = [attrs["aria-label"] for attrs, _ in page.all("section", class_="check")]
    assert names == ["Without the top words: tiny", "Without the top words: other"]
    shown = downloaded(client, beside="other")
    alone = [models[name].explain(TEXT) for name in ("tiny", "other")]
    assert [one["label"] for one in shown] == [explanation.label for explanation in alone]
    assert [one["words"][1]["score"] for one in shown] == pytest.approx([one.words[1].score for one in alone], abs=1e-5)


def test_a_class_is_asked_for_by_its_name_and_where_there_is_none_the_predicted_one(client, models):
    asked = downloaded(client, beside="other", target="1", method="saliency")
    assert [one["label"] for one in asked] == ["bad", "bad"]
    lacking = downloaded(client, beside="other", target="2", against="0", method="saliency")
    assert [(one["label"], one.get("against")) for one in lacking] == [
        ("neither", "good"),
        (models["other"].explain(TEXT).label, None),
    ]


def test_a_method_that_one_of_them_refuses_is_named_with_that_model(client, models):
    page = Page(ask(client, beside="other", method=["expnet", "expnet_gradient"]))
    told = [text for _, text in page.all("p", class_="alert")]
    assert [text.split(" is left out")[0] for text in told] == ["expnet_gradient, tiny", "expnet_gradient, other"]


def test_the_choice_comes_back_and_is_not_offered_where_there_is_one_model(client, models):
    page = Page(ask(client, beside="other"))
    assert [attrs["value"] for attrs, _ in page.all("option", value="other") if "selected" in attrs] == ["other"]
    assert page.one("input", type="hidden", name="beside")[0]["value"] == "other"
    with Browser(create_app({"tiny": models["tiny"]}, limits=Limits())) as alone:
        assert Page(alone.get("/", headers=BROWSER).text).all("select", id="beside") == []


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [({"beside": "nobody"}, 404, "There is no model"), ({"beside": "other", "target": "all"}, 422, "of one model")],
)
def test_what_cannot_stand_beside_is_said(client, fields, status, message):
    _, told = Page(ask(client, status=status, **fields)).one("p", role="alert")
    assert message in told


def test_an_example_is_explained_without_a_script(client):
    page = Page(client.get("/", headers=BROWSER).text)
    example = page.all("button", name="example")[0][0]["value"]
    answered = Page(client.post("/", data={"text": "", "method": "expnet", "example": example}).text)
    assert answered.one("textarea", id="text")[1].strip() == example
    assert answered.all("section", class_="expnet")
    assert answered.all("button", name="example") == []


def test_each_method_says_what_it_costs_and_the_page_what_the_model_is(client):
    page = Page(client.get("/", headers=BROWSER).text)
    (_, told) = page.one("p", class_="about")
    assert " ".join(told.split()) == "It is a bert model that chooses between “good”, “bad”, “neither”."
    labels = [" ".join(text.split()) for _, text in page.all("label", class_="choice")]
    assert "saliency 1 + 1 back" in labels
    assert "integrated_gradients steps + steps back" in labels
