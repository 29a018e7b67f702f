"""How an encoding is cut changes no score, chance included."""

import pytest
import torch
from torch.testing import assert_close

from expnet.methods import passes
from expnet.methods.families import controls, gradient
from expnet.methods.passes import by_part
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier

TEXTS = [Text.of("a good film"), Text.of("bad"), Text.of("the first one is long, but another is short")]


@pytest.fixture
def rows_alone(monkeypatch):
    """Let every part be one row, as for texts so long that no two fit."""

    def one_by_one(encoding, **_):
        for row, length in enumerate(encoding.mask.sum(1).tolist()):
            yield encoding.rows(row, row + 1, length)

    monkeypatch.setattr(passes, "batches", one_by_one)


@pytest.mark.parametrize(
    "method", [controls.RANDOM, gradient.SMOOTH_GRAD, gradient.GRADIENT_SHAP], ids=lambda m: m.name
)
def test_what_is_drawn_for_a_text_does_not_depend_on_the_texts_before_it(method, request):
    classifier = tiny_classifier()
    encoding = classifier.encode(TEXTS)
    target = torch.zeros(len(encoding), dtype=torch.long)
    together = method.attribute(classifier, encoding, target, seed=3)
    request.getfixturevalue("rows_alone")
    alone = method.attribute(classifier, encoding, target, seed=3)
    assert_close(alone, together, atol=1e-5, rtol=1e-4)  # float32, sums in another order


def test_a_caller_s_generator_moves_on_as_after_one_part(rows_alone):
    classifier = tiny_classifier()
    encoding = classifier.encode(TEXTS)
    generator, once = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    controls.random(classifier, encoding, torch.zeros(3, dtype=torch.long), generator=generator)
    passes.seed_of(once)
    assert torch.equal(generator.get_state(), once.get_state())


def test_copies_may_follow_from_the_longest_window(monkeypatch):
    asked = []
    classifier = tiny_classifier()
    encoding = classifier.encode(TEXTS)
    cut = passes.batches
    monkeypatch.setattr(
        passes, "batches", lambda given, *, repeats: asked.append(repeats) or cut(given, repeats=repeats)
    )

    def ones(_classifier, part, _target):
        return torch.ones(part.ids.shape)

    for repeats in (3, lambda tokens: tokens + 2):
        scores = by_part(repeats=repeats)(ones)(classifier, encoding, torch.zeros(3, dtype=torch.long))
        assert torch.equal(scores, encoding.real.float())
    assert asked == [3, encoding.ids.shape[1] + 2]
