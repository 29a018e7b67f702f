"""A tiny random classifier with its tokenizer, and an explainer for it."""

from dataclasses import replace

import torch

from expnet.explainer import Explainer
from expnet.methods.method import Method
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.heads import HeadSetConfig
from tests.models import DECODERS, build, tokenizer


def tiny_classifier(
    architecture: str = "bert", *, seed: int = 0, max_length: int | None = None, **changes
) -> Classifier:
    model = build(architecture, seed=seed, **changes)
    settings = {"mask_token": None} if architecture in (*DECODERS, "t5") else {}  # as the real ones
    return Classifier(model, tokenizer(typed=architecture == "bert", **settings), name="tiny", max_length=max_length)


def tiny_explainer(classifier: Classifier, *, seed: int = 0) -> Explainer:
    support = classifier.support
    config = ExpNetConfig(architecture=classifier.architecture, layers=support.layers, heads=support.heads)
    return Explainer(classifier, random_network(config, seed=seed), name="random")


def tiny_network(classifier: Classifier, method: Method) -> ExpNet | None:
    """A random network of the kind that a method takes; None if it takes none."""
    if "network" not in method.supplied:
        return None
    if not method.uses_target:
        return tiny_explainer(classifier).network
    tier: Tier = "difference" if method.name == "expnet_difference" else "gradient"
    return random_network(replace(HEAD_SET, features=HeadSetConfig(tier=tier), used=True))


HEAD_SET = ExpNetConfig(architecture="any", layers=0, heads=0, features=HeadSetConfig(tier="gradient"))


def random_network(config: ExpNetConfig, *, seed: int = 0) -> ExpNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ExpNet(config).eval()
