"""The table of what works where is what happens when it is tried."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from expnet.errors import UnsupportedModelError
from expnet.methods.registry import TABLE
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_network
from tests.support import MODELS, options_for

RECORDED = json.loads((Path(__file__).parents[2] / "docs" / "methods.json").read_text())["support"]["methods"]


def test_the_table_has_methods_in_their_order_and_every_architecture():
    assert list(RECORDED) == [method.name for method in TABLE if method.name in RECORDED]
    assert all(tuple(row) == MODELS for row in RECORDED.values())


@pytest.mark.parametrize("architecture", MODELS)
@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
def test_a_method_works_where_the_table_says_so_and_is_refused_elsewhere(method, architecture):
    """The core of the contract, which the script that makes the table tries in full: one text, alone and in a batch."""
    classifier = tiny_classifier(architecture)
    network = tiny_network(classifier, method)
    options = options_for(method, classifier) | {name: 8 for name in ("steps", "samples") if name in method.options}

    def scores(texts, target):
        encoding = classifier.encode([Text.of(text) for text in texts])
        return method.attribute(classifier, encoding, torch.tensor(target), options=options, network=network)

    if method.name not in RECORDED:
        pytest.skip("not measured yet")  # the contract has tried it on one architecture
    if why := RECORDED[method.name][architecture]:
        with pytest.raises(UnsupportedModelError, match=re.escape(why.split(" by ")[0])):  # figures may differ
            scores(["one bad film!"], [1])
        return
    alone, among = (
        scores(["one bad film!"], [1])[0],
        scores(["A good film, and a long one.", "one bad film!"], [0, 1])[1],
    )
    scale = float(among.abs().max())
    assert scale > 0
    assert_close(alone, among[: len(alone)], atol=2e-3 * scale, rtol=0)
