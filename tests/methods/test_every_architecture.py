"""On an unusual architecture a method works, or says why it does not: no error of torch or of a model's code comes out.

The usual ones are tested in `test_support.py`.
"""

import pytest
import torch
from torch.testing import assert_close

from expnet.errors import UnsupportedModelError
from expnet.methods.registry import TABLE, find_method
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_network
from tests.support import options_for

# Shared layers, layers that return pairs, tokens that hold their neighbours, attention written out, 1 x 1 convolutions.
UNUSUAL = ("albert", "ibert", "mobilebert", "deberta-v2", "bloom", "squeezebert")
# What has no attention matrices over its tokens, or pools in a way of its own: rules over attention refuse it.
OPAQUE = ("xlnet", "longformer", "funnel", "fnet")
SHORT, LONG = "one bad film!", "A good film, and a long one."


def scores(method, classifier, network, texts, targets, **changes):
    few = {name: 8 for name in ("steps", "samples") if name in method.options}
    options = options_for(method, classifier) | few | changes
    encoding = classifier.encode([Text.of(text) for text in texts])
    return method.attribute(classifier, encoding, torch.tensor(targets), options=options, network=network)


def alone_and_among(method, classifier):
    """The scores of a text alone and in a batch, or None if the method says that the model is not for it."""
    try:
        network = tiny_network(classifier, method)
        alone = scores(method, classifier, network, [SHORT], [1])[0]
        return alone, scores(method, classifier, network, [LONG, SHORT], [0, 1])[1, : len(alone)]
    except UnsupportedModelError:
        return None


@pytest.mark.parametrize("architecture", [*UNUSUAL, *OPAQUE])
def test_every_method_works_alone_and_in_a_batch_or_says_why_not(architecture):
    classifier, refused = tiny_classifier(architecture), set()
    for method in TABLE:
        pair = alone_and_among(method, classifier)
        if pair is None:
            refused.add(method.name if method.name == "expnet_difference" else method.family)
            continue
        alone, among = pair
        assert among.any()
        # Rounding, which some of these models magnify; a wrong mask or target differs far more.
        assert_close(alone, among, atol=2e-2 * float(among.abs().max()), rtol=0)
    # What only needs predictions always works; and attention is read wherever there is some.
    assert not refused & {"control", "perturbation", "surrogate"}
    assert ("learned" in refused) == (architecture in OPAQUE)
    by_deeplift = alone_and_among(find_method("deeplift"), classifier) is None
    assert ("expnet_difference" in refused) == (architecture in OPAQUE or by_deeplift), "it reads what DeepLIFT reads"


def test_of_a_quantised_model_only_what_needs_no_embeddings_works():
    """Its table of embeddings is quantised anew in each pass, and its attention has no softmax of torch's."""
    classifier = tiny_classifier("ibert", quant_mode=True)
    for method in TABLE:
        pair = alone_and_among(method, classifier)
        assert (pair is not None) == (method.family == "control")
    assert scores(find_method("leave_one_out"), classifier, None, [SHORT], [1], replacement="delete").any()
