"""Networks to train: new ones, and copies of trained ones."""

from dataclasses import replace

import torch

from expnet.model.classifier import Classifier
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.scorer import Scorer
from expnet.training.config import FitConfig


def new_network(classifier: Classifier, config: FitConfig) -> ExpNet:
    """Return an untrained network for a classifier, or for any if its input is that of any."""
    with torch.random.fork_rng(devices=[]):  # leave the caller's random state alone
        torch.manual_seed(config.seed)
        return ExpNet(_network_config(classifier, config))


def new_scorer(classifier: Classifier, config: FitConfig) -> Scorer:
    """Return the untrained part of such a network, to be its second output."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Scorer(_network_config(classifier, config))


def continued(start: ExpNet, config: FitConfig) -> ExpNet:
    """Return a copy of a network to train further, with as much dropped in training as `config` says."""
    network = ExpNet(replace(start.config, dropout=config.dropout, feature_dropout=config.feature_dropout))
    network.load_state_dict(start.state_dict())
    return network


def with_used(network: ExpNet, used: Scorer) -> ExpNet:
    """Return a copy of a network, in evaluation mode, whose second output is `used`, of the same input and layers."""
    joined = ExpNet(replace(network.config, used=True))
    second = {f"used.{name}": weights for name, weights in used.state_dict().items()}
    joined.load_state_dict({**without_used(network), **second})
    return joined.eval()


def without_used(network: ExpNet) -> dict[str, torch.Tensor]:
    """Return the weights of a network less those of its second output."""
    return {name: weights for name, weights in network.state_dict().items() if not name.startswith("used.")}


def _network_config(classifier: Classifier, config: FitConfig) -> ExpNetConfig:
    anything = config.features.any_classifier
    return ExpNetConfig(
        architecture="any" if anything else classifier.architecture,
        layers=0 if anything else classifier.support.layers,
        heads=0 if anything else classifier.support.heads,
        features=config.features,
        context=config.context,
        hidden=config.hidden,
        dropout=config.dropout,
        feature_dropout=config.feature_dropout,
    )
