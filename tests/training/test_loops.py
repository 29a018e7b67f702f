"""How training ends: with the weights of the best epoch, and with what weight decay leaves of each."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig
from expnet.training import loops
from expnet.training.config import FitConfig
from expnet.training.evaluation import AnnotatedText
from expnet.training.examples import TrainingWindow
from expnet.training.loops import in_epochs, one_cycle


@pytest.fixture
def network() -> ExpNet:
    features = FeatureConfig(patterns=("rows",))
    return ExpNet(ExpNetConfig(architecture="bert", layers=1, heads=2, features=features, hidden=(4,)))


@pytest.fixture
def example() -> TrainingWindow:
    return TrainingWindow(torch.tensor([[1.0, 2.0], [0.5, -1.0]]), torch.tensor([1.0, 0.0]), torch.tensor([0, 1]), 0)


def text(example: TrainingWindow) -> AnnotatedText:
    return AnnotatedText((example,), np.array([True, False]), np.array([True, True]))


def state(network: ExpNet) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


@pytest.mark.parametrize(("reached", "best", "epochs"), [([0.2, 0.6, 0.5, 0.4, 0.9], 1, 4), ([0.2, 0.5, 0.4], 1, 3)])
def test_training_ends_with_the_weights_of_its_best_epoch(reached, best, epochs, network, example, monkeypatch):
    """Whether it ran out of patience (two epochs) or of epochs."""
    after: list[dict[str, torch.Tensor]] = []

    def evaluate(network, _texts):
        after.append(state(network))
        return {"average_precision": reached[len(after) - 1]}

    monkeypatch.setattr(loops, "evaluate", evaluate)
    config = FitConfig(epochs=len(reached), patience=2)
    in_epochs(network, [example], [text(example)], config, progress=False)
    assert len(after) == epochs
    assert not torch.equal(after[best]["first.weight"], after[-1]["first.weight"])
    assert_close(state(network), after[best], atol=0, rtol=0)
    assert not network.training


def test_without_development_texts_the_last_weights_stay(network, example, monkeypatch):
    begun = state(network)
    in_epochs(network, [example], [], FitConfig(epochs=2), progress=False)
    assert not torch.equal(begun["first.weight"], network.first.weight)


def zero(network: ExpNet) -> torch.Tensor:
    """A loss that teaches nothing: what a step still changes is weight decay."""
    return 0 * torch.cat([parameter.flatten() for parameter in network.parameters()]).sum()


def test_one_cycle_shrinks_each_weight_by_weight_decay_times_learning_rate(network):
    before = state(network)
    one_cycle(
        network, lambda _: zero(network), FitConfig(steps=19, learning_rate=0.1, weight_decay=0.5), progress=False
    )
    # A tenth of the cycle up from a 25th of the rate, and down a half cosine of which the last step is not taken.
    first, last = 0.1 / 25, 0.1 / 25 / 1e4
    rates = [first, *(last + (0.1 - last) * (1 + math.cos(math.pi * step / 18)) / 2 for step in range(18))]
    left = math.prod(1 - rate * 0.5 for rate in rates)
    assert left < 0.7
    for name, parameter in network.named_parameters():
        assert_close(parameter.detach(), left * before[name], atol=1e-6, rtol=0)


def test_each_epoch_shrinks_each_weight_by_weight_decay_times_learning_rate(network, example, monkeypatch):
    before = state(network)
    monkeypatch.setattr(loops, "_loss", lambda *_: zero(network))
    config = FitConfig(epochs=2, learning_rate=0.01, weight_decay=10.0)
    in_epochs(network, [example], [], config, progress=False)
    for name, parameter in network.named_parameters():
        assert_close(parameter.detach(), 0.9**2 * before[name], atol=1e-6, rtol=0)
