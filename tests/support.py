"""Which method works on which architecture: found by trying, for the tests and for the table in the docs."""

from typing import Any

from expnet.errors import UnsupportedModelError
from expnet.methods.contract.contract import check_method
from expnet.methods.method import Method
from expnet.model.classifier import Classifier
from tests.classifiers import tiny_classifier, tiny_network
from tests.models import ARCHITECTURES

MODELS = (*ARCHITECTURES, "gemma2", "bart", "t5")
# Enough to see what the contract is about; the defaults are for real texts.
_ENOUGH = {"steps": 100, "samples": 40, "permutations": 4}
# Where a network has kinks (DistilBERT's ReLU) the error of a quadrature shrinks but slowly with its steps.
_QUADRATURE = 0.05


def options_for(method: Method, classifier: Classifier) -> dict[str, Any]:
    """Return what a method needs on a tiny model."""
    options: dict[str, Any] = {name: enough for name, enough in _ENOUGH.items() if name in method.options}
    if "documents" in method.options:
        options["documents"] = ["a good film", "bad"]
    if "weights" in method.options:
        heads = classifier.support.layers * classifier.support.heads
        options["weights"] = [0.5 - head / heads for head in range(heads)]
    if "replacement" in method.options and classifier.mask_id is None:
        options["replacement"] = "pad"
    return options


def outcome(method: Method, architecture: str) -> str:
    """Hold a method to its contract on a tiny model; return "" if it works there, else why it does not."""
    classifier = tiny_classifier(architecture)
    try:
        network = tiny_network(classifier, method)
        tolerance = _QUADRATURE if "steps" in method.options else 0.01
        options = options_for(method, classifier)
        check_method(method, classifier, options=options, network=network, tolerance=tolerance)
    except UnsupportedModelError as error:
        return str(error)
    return ""
