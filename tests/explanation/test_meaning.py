"""One sentence says what a score is: it follows from the method and the network, and every front shows it as it is."""

from dataclasses import replace
from html import unescape

import pytest

import expnet
from expnet.audit import record_decision
from expnet.audit.pages import decision_page
from expnet.checking import with_check
from expnet.explainer import Explainer
from expnet.explanation import html, terminal
from expnet.explanation.meaning import MARKED, OTHER_OUTPUT, UNCHECKED, meaning
from expnet.explanation.result import Explanation
from expnet.methods.registry import find_method
from expnet.network.trust import measured_by
from expnet.serve import create_app
from tests.browsers import Browser
from tests.classifiers import tiny_classifier, tiny_explainer, tiny_network

TEXT = "the good film"
ON_ATTENTION = "How likely people would mark the word as the reason; no sign; the same for every class."


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return tiny_explainer(tiny_classifier())


def test_the_sentence_follows_from_what_is_declared():
    assert meaning(MARKED, signed=False, uses_target=False, kind="probability", classes=2) == ON_ATTENTION
    assert meaning("How much", signed=True, uses_target=True, kind="probability", classes=3) == (
        "How much; + speaks for the class, - against it; depends on the class."
    )
    assert meaning("How much", signed=True, uses_target=False, kind="value", classes=2) == (
        "How much; + raises the output, - lowers it; the same for every output."
    )
    assert meaning("How much", signed=False, uses_target=True, kind="value", classes=1) == "How much; no sign."
    assert meaning("", signed=True, uses_target=True, kind="value", classes=2) == ""


@pytest.mark.parametrize("method", expnet.list_methods(), ids=lambda method: method.name)
def test_every_method_says_what_it_measures_in_the_first_words_of_a_sentence(method):
    assert method.measures[:1].isupper()
    assert not method.measures.endswith(".")
    assert ";" not in method.measures
    assert "token" not in method.measures.replace("the token that the classifier decides by", ""), "readers see words"


@pytest.mark.parametrize("method", ["expnet", "saliency", "leave_one_out", "uniform", "rollout"])
def test_an_explanation_says_what_its_method_declares(explainer, method):
    declared = expnet.find_method(method)
    told = explainer.explain(TEXT, method=method).meaning
    assert told.startswith(declared.measures)
    assert ("no sign" in told) is not declared.signed
    assert ("depends on the class" in told) is declared.uses_target


@pytest.mark.parametrize(
    ("provenance", "told"),
    [
        ({}, MARKED),
        ({"teacher": {"sources": ["a"]}}, MARKED),
        ({"target_method": "lime"}, "How high the method lime would score the word, as learned from it"),
        ({"toward": "lime"}, "How high the method lime would score the word, as learned from it"),
        ({"teacher": {}, "target_method": "lime"}, f"{MARKED}, mixed with how high the method lime would score it"),
        ({"teacher": {}, "removals": 16}, f"{MARKED}, mixed with how much the classifier depends on it"),
        ({"removals": 16}, "How much the classifier depends on the word, as learned from its answers"),
    ],
)
def test_an_expnet_measures_what_it_has_learned(provenance, told):
    assert measured_by(provenance).startswith(told)


def test_an_explanation_by_a_distilled_network_does_not_speak_of_people():
    explainer = tiny_explainer(tiny_classifier())
    explainer.network.config = replace(explainer.network.config, provenance={"target_method": "lime"})
    assert explainer.explain(TEXT).meaning.startswith("How high the method lime would score the word")


def test_where_an_explainer_has_two_outputs_the_first_names_the_second_on_every_front():
    classifier = tiny_classifier()
    both = Explainer(classifier, tiny_network(classifier, find_method("expnet_used")))
    for name, shown in fronts(both, "expnet_gradient"):
        assert shown.count(OTHER_OUTPUT) == 1, name
    assert OTHER_OUTPUT not in both.explain(TEXT, method="expnet_used").meaning
    assert OTHER_OUTPUT not in tiny_explainer(classifier).explain(TEXT).meaning


def fronts(explainer, method):
    """Yield what each front shows of an explanation, by its name."""
    explanation = explainer.explain(TEXT, method=method)
    yield "terminal", terminal.plain(explanation)
    yield "terminal in colour", terminal.render(explanation).plain
    yield "HTML", unescape(explanation.to_html())
    yield "notebook", unescape(explanation._repr_html_())
    yield "JSON", explanation.to_json()
    yield "audit page", unescape(decision_page(record_decision(explainer, TEXT, asked=asked(method))))
    yield "every class, terminal", terminal.plain_ranked(explainer.explain(TEXT, method=method, target="all"))
    yield "every class, HTML", unescape(html.ranked(explainer.explain(TEXT, method=method, target="all")))
    both = [explainer.explain(TEXT, method=name) for name in (method, "random")]
    yield "side by side, terminal", terminal.plain_side_by_side(both)
    yield "side by side, HTML", unescape(html.side_by_side(both))
    with Browser(create_app({"m": explainer}), base_url="http://127.0.0.1:8000") as client:
        yield "page", unescape(client.post("/", data={"text": TEXT, "method": method}).text)
        yield "endpoint", client.post("/v1/models/m:explain", json={"instances": [TEXT], "method": method}).text


def asked(method):
    from expnet.audit import Asked

    return Asked(method=method)


@pytest.mark.parametrize("method", ["expnet", "saliency", "deeplift"])
def test_every_front_shows_the_same_sentence_once(explainer, method):
    told = explainer.explain(TEXT, method=method).meaning
    assert {name: shown.count(told) for name, shown in fronts(explainer, method) if shown.count(told) != 1} == {}


def test_the_verdict_of_a_check_or_that_there_is_none_stands_beside_the_scores_of_an_expnet_only():
    explainer = tiny_explainer(tiny_classifier())
    for name, shown in fronts(explainer, "expnet"):
        assert shown.count(UNCHECKED) == 1, name
    assert UNCHECKED not in terminal.plain(explainer.explain(TEXT, method="saliency"))
    check = explainer.check([TEXT, "bad text"])
    verdict = f"Checked on this classifier with 2 texts: {check.verdict}"
    for name, shown in fronts(explainer, "expnet"):
        assert verdict in shown, name
        assert UNCHECKED not in shown, name
    elsewhere = tiny_explainer(tiny_classifier(seed=1))
    with_check(elsewhere.network, check)
    assert "It was checked on another classifier" in Explainer(elsewhere.classifier, elsewhere.network).checked


def test_json_brings_the_sentence_back_and_older_json_has_none(explainer):
    explanation = explainer.explain(TEXT)
    assert Explanation.from_json(explanation.to_json()) == explanation
    older = {name: value for name, value in explanation.to_dict().items() if name not in ("meaning", "checked")}
    read = Explanation.from_dict(older)
    assert (read.meaning, read.checked, read.words) == ("", "", explanation.words)
    assert "do not depend on the class" in terminal.plain(read), "what is known is said all the same"
