"""What a method declares to cost is what it costs: passes over a text are counted."""

from unittest.mock import patch

import pytest
import torch

from expnet.errors import MethodError
from expnet.methods.cost import passes
from expnet.methods.registry import TABLE
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_network
from tests.support import options_for

TEXTS = [Text.of("The first one is long, but another is short and good!"), Text.of("Not bad at all?")]


def counted(method, classifier, options):
    """Return forward and backward passes for each text, counted in rows of batches."""
    encoding = classifier.encode(TEXTS)
    target = torch.zeros(len(encoding), dtype=torch.long)
    network = tiny_network(classifier, method)
    rows, graphs = [], []
    grad = torch.autograd.grad

    def forward(_module, _args, kwargs):
        rows.append(len(kwargs["input_ids"]))

    def backward(outputs, *args, **kwargs):
        graphs.append(rows[-1])
        with patch("torch.autograd.grad", grad):  # rules take derivatives of their own on the way
            return grad(outputs, *args, **kwargs)

    hook = classifier.model.register_forward_pre_hook(forward, with_kwargs=True)
    try:
        with patch("torch.autograd.grad", backward):
            method.attribute(classifier, encoding, target, options=options, network=network)
    finally:
        hook.remove()
    return sum(rows) / len(encoding), sum(graphs) / len(encoding), encoding


@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
def test_the_passes_are_those_declared(method):
    assert_passes(method, options_for(method, tiny_classifier()))


def assert_passes(method, options):
    """Count a method's passes over two texts, and compare them with what it declares."""
    classifier = tiny_classifier()
    classifier.support  # noqa: B018  # found once for a classifier, not for a text
    forward, backward, encoding = counted(method, classifier, options)
    settings = {name: parameter.default for name, parameter in method.options.items()} | options
    lengths = encoding.real.sum(1).float()
    declared = [
        sum(passes(expression, settings | {"tokens": float(length), "layers": 3}) for length in lengths) / len(lengths)
        for expression in (method.forward, method.backward)
    ]
    # Padding is run along with the longest text; what was seen before is not evaluated again.
    longest = float(lengths.max() / lengths.mean())
    assert declared[0] * 0.5 <= forward <= declared[0] * longest + 1e-6
    assert backward == pytest.approx(declared[1])


class TestDeclaredPasses:
    def test_arithmetic_by_hand(self):
        assert passes("permutations * (tokens - 1) + 2", {"permutations": 3, "tokens": 5}) == 14
        assert passes("(tokens + 1) // 2 + (0)", {"tokens": 6}) == 3

    @pytest.mark.parametrize(
        "declared",
        [
            "__import__('os')",
            "tokens.real",
            "9 ** 9 ** 9",
            "unknown",
            "tokens +",
            "'a' * 9",
            "name",
            "1 // 0",
            "tokens[0]",
        ],
    )
    def test_nothing_but_arithmetic_is_read(self, declared):
        with pytest.raises(MethodError, match="cannot be counted"):
            passes(declared, {"tokens": 3, "name": "x"})
