"""Every class ranked, and one class rather than another: the endpoint, its limits, and the page."""

import json

import pytest

from expnet.errors import RefusedError
from expnet.explainer import Explainer
from expnet.serve import Limits, create_app
from expnet.serve.tasks import Explain
from tests.browsers import Browser
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer

TEXT = "the good film, another bad one"
URL = "/v1/models/m:explain"


@pytest.fixture(scope="module")
def explainer():
    return Explainer(tiny_classifier(), random_network(HEAD_SET), name="random")


@pytest.fixture(scope="module")
def client(explainer):
    with Browser(create_app({"m": explainer}, limits=Limits(texts=7)), base_url="http://127.0.0.1:8000") as client:
        yield client


def scores(explanation):
    return [word["score"] for word in explanation["words"]]


@pytest.mark.parametrize("method", ["expnet", "saliency", "rollout"])
def test_all_gives_each_instance_its_classes_ranked_as_in_python(client, explainer, method):
    answer = client.post(URL, json={"instances": [TEXT, "bad"], "target": "all", "method": method}).json()
    direct = explainer.explain([TEXT, "bad"], target="all", method=method)
    for told, expected in zip(answer["explanations"], direct, strict=True):
        assert [one["label"] for one in told] == [one.label for one in expected]
        for one, other in zip(told, expected, strict=True):
            assert scores(one) == pytest.approx([word.score for word in other.words], abs=1e-5)
    assert [one["label"] for one in answer["predictions"]] == [ranked[0].label for ranked in direct]


def test_so_many_classes_and_a_contrast_are_asked_for_by_fields_of_their_own(client, explainer):
    (ranked,) = client.post(URL, json={"instances": [TEXT], "target": "all", "classes": 2}).json()["explanations"]
    assert len(ranked) == 2
    asked = {"target": "LABEL_0", "against": 2, "method": "saliency"}
    (explanation,) = client.post(URL, json={"instances": [TEXT], **asked}).json()["explanations"]
    assert (explanation["label"], explanation["against"]) == ("LABEL_0", "LABEL_2")
    direct = explainer.explain(TEXT, **asked)
    assert scores(explanation) == pytest.approx([word.score for word in direct.words], abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"target": "all", "against": 0}, "each class by itself"),
        ({"classes": 2}, "the target is None"),
        ({"target": "all", "classes": 0}, "classes"),
        ({"target": 1, "against": 1}, "two classes to contrast"),
        ({"against": 1}, "two classes to contrast"),
    ],
)
def test_what_does_not_go_together_is_refused(client, asked, message):
    answer = client.post(URL, json={"instances": [TEXT], **asked})
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_each_class_counts_as_a_text(client):
    assert client.post(URL, json={"instances": [TEXT] * 2, "target": "all"}).status_code == 200
    refused = client.post(URL, json={"instances": [TEXT] * 3, "target": "all"})
    assert refused.status_code == 422
    assert "3 classes of 3 texts" in refused.json()["error"]
    assert client.post(URL, json={"instances": [TEXT] * 3, "target": "all", "classes": 2}).status_code == 200


@pytest.mark.parametrize(
    ("method", "one", "every"),
    [
        # Passes over 7 tokens and 2 special ones; those of one class are free where they are few.
        ("expnet", 0, 2 * 1),
        ("saliency", 0, 2 * 1),  # the forward pass is shared, too
        ("rollout", 0, 0),
        ("leave_one_out", 8, 8),
        ("integrated_gradients", 100, 300),
    ],
)
def test_the_cost_counts_what_more_classes_take(explainer, method, one, every):
    width = int(explainer.classifier.encode([TEXT]).mask.sum())
    assert width - 2 == 7

    def prepare(target, tokens):
        Explain(method, target=target).prepare(explainer, [(TEXT, None)], Limits(tokens=tokens))

    for target, passes in ((0, one), ("all", every)):
        prepare(target, max(1, width * passes))
        if passes:
            with pytest.raises(RefusedError, match="would cost as much"):
                prepare(target, width * passes - 1)


def ask(client, path="/", **fields):
    answer = client.post(path, data={"text": TEXT, "method": "expnet"} | fields)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_the_page_ranks_the_classes_with_their_words_and_offers_them_as_json(client, explainer):
    ranked = explainer.explain(TEXT, target="all")
    page = ask(client, target="all")
    result = page[page.index('id="result"') :]
    places = [result.index(f">{explanation.label}</th>") for explanation in ranked]
    assert places == sorted(places)
    assert "3 classes" in result
    assert '<option value="all" selected>every class, ranked</option>' in page
    (told,) = json.loads(ask(client, "/download", target="all", format="json"))["explanations"]
    assert [one["label"] for one in told] == [explanation.label for explanation in ranked]
    assert "What happened" in result or "removed" in result  # the check is of the most probable class


def test_the_page_explains_one_class_rather_than_another(client):
    page = ask(client, target="0", against="2", method="saliency")
    assert "LABEL_0 rather than LABEL_2" in page
    assert 'name="against" value="2"' in page  # a download asks for the same
    refused = client.post("/", data={"text": TEXT, "method": "expnet", "target": "all", "against": "1"})
    assert refused.status_code == 422
    assert "each class by itself" in refused.text


def test_the_page_offers_what_the_model_has():
    regression = tiny_explainer(tiny_classifier(num_labels=2, problem_type="regression"))
    named = tiny_explainer(tiny_classifier(num_labels=2))
    named.classifier.labels = ("all", "some")
    app = create_app({"value": regression, "named": named})
    with Browser(app, base_url="http://127.0.0.1:8000") as client:
        value = client.get("/?model=value").text
        assert 'value="all"' not in value
        assert 'name="against"' not in value
        assert 'value="all"' not in client.get("/?model=named").text
