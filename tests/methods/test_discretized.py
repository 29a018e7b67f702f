"""Discretized integrated gradients: the path by a naive second implementation, and its laws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from expnet.errors import OptionError
from expnet.methods.families.discretized import _path, discretized_integrated_gradients
from expnet.methods.replacement import baseline_embedding
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.linear import contributions, linear_classifier

TEXTS = ("A good film.", "bad", "The first one is long, but another is short and good!")


def monotone(base, point, anchor, steps):
    moved = anchor.copy()
    for i in range(len(anchor)):
        low, high = min(base[i], point[i]), max(base[i], point[i])
        if not low <= anchor[i] <= high:
            moved[i] = point[i] - (point[i] - base[i]) / steps
    return moved


def naive(table, word, base, steps, neighbours):
    """Sanyal and Ren's greedy path, as their paper and code describe it, one number after the other."""
    ends = [i for i, row in enumerate(table) if (row == base).all()]
    passed, here = [word], word
    for _ in range(steps):
        if here is None:
            passed.append(None)
            continue
        order = sorted(
            (i for i in range(len(table)) if i != here), key=lambda i: np.linalg.norm(table[i] - table[here])
        )
        near = [i for i in order[:neighbours] if i not in ends and i not in passed]
        moves = [np.linalg.norm(monotone(base, table[here], table[i], steps) - table[i]) for i in near]
        here = near[int(np.argmin(moves))] if near else None
        passed.append(here)
    points = [table[word]]
    for anchor in passed[1:]:
        points.append(monotone(base, points[-1], base if anchor is None else table[anchor], steps))
    return np.stack([*points, base][::-1])


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), steps=st.integers(1, 6), neighbours=st.integers(1, 12), own=st.booleans())
def test_the_path_is_the_papers_and_goes_one_way(seed, steps, neighbours, own):
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(9, 4))
    base = table[3] if own else np.zeros(4)
    path = _path(torch.tensor(table), 5, torch.tensor(base), steps, neighbours).numpy()
    np.testing.assert_allclose(path, naive(table, 5, base, steps, neighbours), atol=1e-12)
    np.testing.assert_array_equal(path[0], base)
    np.testing.assert_array_equal(path[-1], table[5])
    assert (np.diff(path, axis=0) * np.sign(table[5] - base) >= -1e-12).all()


def test_scores_are_the_sum_of_gradient_times_step_at_each_point():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of(TEXTS[0])])
    target = torch.tensor([1])
    scores = discretized_integrated_gradients(classifier, encoding, target, steps=3, neighbours=5)
    model, inputs = classifier.model, encoding.inputs()
    ids = inputs.pop("input_ids")[0]
    table = model.get_input_embeddings().weight.detach()
    base = baseline_embedding(classifier, "mask").detach()
    stays = [table[i].repeat(5, 1) for i in ids]
    paths = torch.stack(
        [
            _path(table, int(i), base, 3, 5) if real else stay
            for i, real, stay in zip(ids, encoding.real[0], stays, strict=True)
        ],
        dim=1,
    )
    expected = torch.zeros(len(ids))
    for here, there in pairwise(paths):
        point = here[None].clone().requires_grad_()
        logit = model(inputs_embeds=point, **inputs).logits[0, 1]
        (gradient,) = torch.autograd.grad(logit, point)
        expected += (gradient[0] * (there - here)).sum(-1)
    assert_close(scores[0], expected, atol=1e-5, rtol=1e-4)


def test_on_a_linear_classifier_they_are_each_token_s_contribution():
    classifier = linear_classifier()
    encoding = classifier.encode([Text.of(text) for text in TEXTS])
    target = torch.tensor([0, 1, 2])
    scores = discretized_integrated_gradients(classifier, encoding, target, steps=4, neighbours=6)
    nothing = contributions(classifier, torch.full_like(encoding.ids, classifier.mask_id), target)
    expected = (contributions(classifier, encoding.ids, target) - nothing) * encoding.real
    assert_close(scores, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("option", ["steps", "neighbours"])
def test_no_path_without_steps_and_neighbours(option):
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of("good")])
    with pytest.raises(OptionError, match=f"{option} is 0, expected 1"):
        discretized_integrated_gradients(classifier, encoding, torch.tensor([0]), **{option: 0})
