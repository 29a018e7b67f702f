"""Why one class rather than another: what is linear in the logits is a difference, and the rest is by hand."""

import numpy as np
import pytest

import expnet
from expnet.errors import InputError, OptionError, UnsupportedModelError
from expnet.explainer import Explainer
from expnet.explanation.result import Explanation
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.support import options_for

TEXTS = ["A good film, bad", "the first one"]
LINEAR = {
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 8},
    "deeplift": {},
    "decompx": {},
    "leave_one_out": {"output": "logit"},
    "shapley_sampling": {"output": "logit", "permutations": 4},
}
PROBABILITY = {"output": "probability"}


@pytest.fixture(scope="module")
def explainer():
    return Explainer(tiny_classifier(), random_network(HEAD_SET), name="random")


def scores(explanations):
    return np.concatenate([[word.score for word in explanation.words] for explanation in explanations])


@pytest.mark.parametrize("method", LINEAR)
def test_what_is_linear_in_the_logits_is_the_difference_of_both_classes(explainer, method):
    def of(**asked):
        return scores(explainer.explain(TEXTS, method=method, options=LINEAR[method], **asked))

    labels = explainer.classifier.labels
    both = of(target=labels[0], against=labels[2])
    assert abs(both).max() > 1e-4
    np.testing.assert_allclose(both, of(target=labels[0]) - of(target=labels[2]), rtol=0, atol=2e-5)
    np.testing.assert_allclose(both, -of(target=2, against=0), rtol=0, atol=2e-5)


def test_a_probability_is_that_of_the_class_if_only_both_could_be(explainer):
    (explanation,) = explainer.explain(TEXTS[:1], method="leave_one_out", options=PROBABILITY, target=0, against=1)
    words, lost = [word.text for word in explanation.words], []
    for place in [None, *range(len(words))]:
        text = TEXTS[0] if place is None else masked(explanation.words[place])
        outputs = list(explainer.explain(text, target=0).outputs.values())
        lost.append(outputs[0] / (outputs[0] + outputs[1]))
    np.testing.assert_allclose(scores([explanation]), lost[0] - np.array(lost[1:]), rtol=0, atol=1e-5)


def masked(word):
    return TEXTS[0][: word.start] + "[MASK]" + TEXTS[0][word.end :]


def test_of_two_classes_a_contrast_is_the_class_itself():
    explainer = tiny_explainer(tiny_classifier(num_labels=2))
    contrasted, plain = (
        scores(explainer.explain(TEXTS, method="occlusion", options=PROBABILITY, target=0, against=against))
        for against in (1, None)
    )
    np.testing.assert_allclose(contrasted, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [method for method in expnet.list_methods() if "network" not in method.supplied])
def test_every_method_takes_a_contrast_and_depends_on_it_as_it_does_on_the_class(explainer, method):
    options = options_for(method, explainer.classifier)
    try:
        first, other, plain = (
            scores(explainer.explain(TEXTS, method=method.name, options=options, target=0, **against))
            for against in ({"against": 1}, {"against": 2}, {})
        )
    except (OptionError, UnsupportedModelError) as error:
        pytest.skip(str(error))
    assert np.isfinite(first).all()
    assert np.array_equal(first, other) == np.array_equal(first, plain) == (not method.uses_target)


def test_an_expnet_with_gradients_takes_a_contrast(explainer):
    contrasted, plain = (explainer.explain(TEXTS, target=0, **against) for against in ({"against": 1}, {}))
    assert not np.array_equal(scores(contrasted), scores(plain))
    assert contrasted[0].output == plain[0].output  # the probability of the class


def test_the_question_is_shown_and_survives_json(explainer):
    labels = explainer.classifier.labels
    explanation = explainer.explain(TEXTS[0], method="saliency", target=0, against=1)
    assert (explanation.label, explanation.against) == labels[:2]
    question = f"{labels[0]} rather than {labels[1]}"
    assert explanation.question == question
    assert question in str(explanation)
    assert question in explanation.to_html()
    assert Explanation.from_json(explanation.to_json()) == explanation
    assert "against" not in explainer.explain(TEXTS[0]).to_dict()


@pytest.mark.parametrize("asked", [{"against": 0}, {"target": 0, "against": 0}, {"target": 0, "against": "no class"}])
def test_what_is_no_contrast_is_refused(explainer, asked):
    with pytest.raises(InputError, match=r"two classes to contrast|no class"):
        explainer.explain(TEXTS, **asked)


def test_a_regression_has_no_classes_to_contrast():
    explainer = tiny_explainer(tiny_classifier(num_labels=2, problem_type="regression"))
    with pytest.raises(InputError, match="A contrast of two classes needs"):
        explainer.explain(TEXTS, target=0, against=1)
