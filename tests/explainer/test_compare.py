"""Several methods in one call: the explanations that each gives alone, for the passes that they need together."""

import pytest
import torch
from torch.testing import assert_close

from expnet.errors import InputError, OptionError
from expnet.explainer import Explainer
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.methods.test_traced import LONG, TEXTS, counted

METHODS = {
    "expnet": {},
    "raw_attention": {"layers": "all"},
    "rollout": {},
    "grad_sam": {},
    "saliency": {},
    "cat": {},
    "uniform": {},
    "alti": {},
    "occlusion": {"window": 2},
}


@pytest.fixture(scope="module")
def explainers():
    classifier = tiny_classifier(max_length=20)
    classifier.support  # noqa: B018  # found once for a classifier, not for a call
    return {"attention": tiny_explainer(classifier), "gradient": Explainer(classifier, random_network(HEAD_SET))}


@pytest.mark.parametrize("kind", ["attention", "gradient"])
@pytest.mark.parametrize(
    "asked",
    [{}, {"target": 1}, {"target": 0, "against": 2}, {"target": "all"}, {"target": "all", "classes": 2}],
    ids=str,
)
def test_each_method_says_what_it_says_alone(explainers, kind, asked):
    explainer, texts = explainers[kind], [*TEXTS, "", LONG]
    compared = explainer.compare(texts, methods=METHODS, **asked)
    assert list(compared) == list(METHODS)
    for name, options in METHODS.items():
        alone = explainer.explain(texts, method=name, options=options, **asked)
        alone = alone if asked.get("target") == "all" else [[one] for one in alone]
        for of_text, expected in zip(compared[name], alone, strict=True):
            assert [one.label for one in of_text] == [one.label for one in expected]
            for one, other in zip(of_text, expected, strict=True):
                same = (
                    "method",
                    "signed",
                    "provenance",
                    "threshold",
                    "uses_target",
                    "against",
                    "windows",
                    "calibrated",
                )
                assert {field: getattr(one, field) for field in same} == {
                    field: getattr(other, field) for field in same
                }
                scores = (torch.tensor([word.score for word in each.words]) for each in (one, other))
                assert_close(*scores, rtol=1e-3, atol=1e-5)  # fused and open attention are different sums
                assert one.output == pytest.approx(other.output, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "methods", "passes"),
    [
        ("attention", ["expnet", "raw_attention", "rollout", "value_norm_attention"], (1, 0)),
        ("attention", ["expnet", "raw_attention", "grad_sam", "generic_relevance", "saliency", "cat"], (1, 1)),
        ("gradient", ["expnet", "grad_sam", "attcat", "attention_flow", "uniform"], (1, 1)),
        ("attention", ["alti", "globenc", "raw_attention"], (2, 0)),  # decompositions have a pass of their own
        ("attention", ["uniform", "length"], (1, 0)),
    ],
)
def test_methods_share_their_passes(explainers, kind, methods, passes):
    with counted(explainers[kind].classifier) as counts:
        explainers[kind].compare(TEXTS[:1], methods={name: {} for name in methods})
    assert (counts["forward"], counts["backward"]) == passes


def test_what_cannot_run_is_named_and_the_others_go_on(explainers):
    told = {}
    methods = {
        "raw_attention": {"layers": "first"},
        "expnet_gradient": {},
        "attribution_with_attention": {"weights": [1.0]},  # known only once it runs, with the others
        "rollout": {},
        "grad_sam": {},
    }
    with pytest.raises(OptionError, match="layers is 'first'"):
        explainers["attention"].compare(TEXTS, methods=methods)
    compared = explainers["attention"].compare(
        TEXTS, methods=methods, left_out=lambda name, error: told.update({name: str(error)})
    )
    assert list(compared) == ["rollout", "grad_sam"]
    assert list(told) == ["raw_attention", "expnet_gradient", "attribution_with_attention"]
    assert "weights has 1 numbers" in told["attribution_with_attention"]
    assert [one.label for (one,) in compared["rollout"]] == [one.label for (one,) in compared["grad_sam"]]


def test_no_method_is_an_error(explainers):
    with pytest.raises(InputError, match="one method or more"):
        explainers["attention"].compare(TEXTS, methods={})
