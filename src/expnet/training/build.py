"""Networks to train: new ones, and copies of trained ones."""

from dataclasses import replace

import torch

from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet, ExpNetConfig
from expnet.training.config import FitConfig


def new_network(classifier: Classifier, config: FitConfig) -> ExpNet:
    """Return an untrained network for a classifier, or for any if its input is that of any."""
    anything = config.features.any_classifier
    with torch.random.fork_rng(devices=[]):  # leave the caller's random state alone
        torch.manual_seed(config.seed)
        return ExpNet(
            ExpNetConfig(
                architecture="any" if anything else classifier.architecture,
                layers=0 if anything else classifier.support.layers,
                heads=0 if anything else classifier.support.heads,
                features=config.features,
                context=config.context,
                hidden=config.hidden,
                dropout=config.dropout,
                feature_dropout=config.feature_dropout,
            )
        )


def continued(start: ExpNet, config: FitConfig) -> ExpNet:
    """Return a copy of a network to train further, with as much dropped in training as `config` says."""
    network = ExpNet(replace(start.config, dropout=config.dropout, feature_dropout=config.feature_dropout))
    network.load_state_dict(start.state_dict())
    return network
