"""Targets as numbers: a class, or one class against another."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from expnet.attention.targets import contrast, logit_of, probability_of


@given(st.integers(2, 5), st.data())
def test_every_target_gives_its_logit_or_the_difference_of_two(classes, data):
    index = st.integers(0, classes - 1)
    rows = data.draw(st.lists(st.tuples(index, index, st.booleans()), min_size=1, max_size=6))
    logits = torch.randn(len(rows), classes, generator=torch.Generator().manual_seed(classes))
    target = torch.tensor([contrast(a, b, classes) if both else a for a, b, both in rows])
    expected = [logits[row, a] - logits[row, b] if both else logits[row, a] for row, (a, b, both) in enumerate(rows)]
    assert torch.equal(logit_of(logits, target), torch.stack(expected))


@given(st.integers(2, 5), st.data())
def test_the_probability_of_a_contrast_is_that_of_the_class_among_the_two(classes, data):
    a, b = data.draw(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)))
    logits = torch.randn(3, classes, generator=torch.Generator().manual_seed(classes))
    outputs = logits.softmax(-1)
    both = probability_of(outputs, logits, torch.full((3,), contrast(a, b, classes)))
    torch.testing.assert_close(both, outputs[:, a] / (outputs[:, a] + outputs[:, b]))
    assert torch.equal(probability_of(outputs, logits, torch.full((3,), a)), outputs[:, a])
