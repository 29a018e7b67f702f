"""Explaining runs no more operators of torch than it did, and allocates no more: a guard against slowdowns.

Nothing is timed, so that a busy machine changes nothing. The table holds what an explanation takes beyond the
prediction of the same texts. Where a change saves operators, or its result is worth more of them, write the new numbers
there; `python -m tests.explainer.test_operators` prints them.
"""

import math
import sys
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from expnet.attention.kernels import fused_attention
from expnet.explainer import Explainer
from expnet.network.expnet import ExpNetConfig
from expnet.network.heads import HeadSetConfig
from tests.classifiers import random_network, tiny_classifier, tiny_explainer

TEXTS = {1: ["A good film, but another one is long."], 3: ["A good film", "one", "The first one is long, but short!"]}
RELEASE = "2.13"
# Other releases of torch make some operators of others than this one does. A pass more, which is a whole prediction, is
# still too much.
SLACK = 0.0 if torch.__version__.startswith(f"{RELEASE}.") else 0.25
# Beyond the prediction, for one text and for three: operators, and kilobytes (1,024 bytes) that they allocate.
LIMITS = {
    "expnet": {1: (92, 39), 3: (79, 118)},
    "universal on attention": {1: (385, 210), 3: (380, 609)},
    "universal with gradients": {1: (1063, 452), 3: (1084, 1357)},
    "raw_attention": {1: (74, 18), 3: (60, 47)},
    "grad_sam": {1: (363, 170), 3: (382, 570)},
}


class Operators(TorchDispatchMode):
    """Counts the operators that run, and the bytes of what they return, unless it lies in what they were given."""

    def __init__(self):
        super().__init__()
        self.count = self.allocated = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        with self:  # in inference mode operators come here whole that otherwise are taken apart before
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        given = {tensor.untyped_storage().data_ptr() for tensor in tree_leaves((args, kwargs)) if is_tensor(tensor)}
        made = {tensor.untyped_storage() for tensor in tree_leaves(result) if is_tensor(tensor)}
        self.count += 1
        self.allocated += sum(storage.nbytes() for storage in made if storage.data_ptr() not in given)
        return result


def is_tensor(value):
    return isinstance(value, Tensor)


def measured(run):
    """Return operators and kilobytes of a call that has run before."""
    run()
    with Operators() as operators:
        run()
    return operators.count, operators.allocated / 1024


def universal(classifier, tier):
    config = ExpNetConfig(architecture="any", layers=0, heads=0, features=HeadSetConfig(tier=tier))
    return Explainer(classifier, random_network(config), name="universal")


def explanations():
    """Return an explainer and a method for each row of the table."""
    own = tiny_explainer(tiny_classifier())
    return {
        "expnet": (own, "expnet"),
        "universal on attention": (universal(own.classifier, "attention"), "expnet"),
        "universal with gradients": (universal(own.classifier, "gradient"), "expnet"),
        "raw_attention": (own, "raw_attention"),
        "grad_sam": (own, "grad_sam"),
    }


def beyond_prediction(explainer, method, texts, *, slack=0.0):
    """Return operators and kilobytes beyond those of the prediction, or so many predictions."""
    classifier = explainer.classifier
    explained = measured(lambda: explainer.explain(texts, method=method))
    predicted = measured(lambda: classifier.predict(classifier.encode(texts)))
    return tuple(more - (1 + slack) * of for more, of in zip(explained, predicted, strict=True))


@pytest.fixture(scope="module")
def explained():
    return explanations()


@pytest.mark.parametrize("count", TEXTS)
@pytest.mark.parametrize("name", LIMITS)
def test_an_explanation_runs_no_more_operators_than_it_did(explained, name, count):
    operators, kilobytes = beyond_prediction(*explained[name], TEXTS[count], slack=SLACK)
    most_operators, most_kilobytes = LIMITS[name][count]
    assert operators <= most_operators
    assert kilobytes <= most_kilobytes


def test_one_operator_more_in_each_layer_is_noticed(explained):
    explainer, method = explained["expnet"]

    def slower(*args):
        attended, lse = fused_attention(*args)
        return attended, lse + 0

    before = beyond_prediction(explainer, method, TEXTS[1])
    with patch("expnet.attention.fused.fused_attention", slower):
        after = beyond_prediction(explainer, method, TEXTS[1])
    assert after[0] == before[0] + explainer.classifier.support.layers
    assert after[1] > before[1]


if __name__ == "__main__":
    for name, (explainer, method) in explanations().items():
        rows = {count: beyond_prediction(explainer, method, texts) for count, texts in TEXTS.items()}
        written = ", ".join(f"{count}: ({more:.0f}, {math.ceil(size)})" for count, (more, size) in rows.items())
        sys.stdout.write(f'    "{name}": {{{written}}},\n')
