"""The two ways to train: in epochs over all texts, or in one cycle of balanced batches."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from expnet.errors import RationaleError
from expnet.network.expnet import ExpNet
from expnet.network.inputs import Features, NetworkInput
from expnet.network.scorer import Scorer
from expnet.runtime.progress import track
from expnet.training.config import FitConfig
from expnet.training.evaluation import AnnotatedText, evaluate
from expnet.training.examples import TrainingWindow, collate
from expnet.training.loss import rationale_loss


def in_epochs(
    network: ExpNet, train: list[TrainingWindow], dev: list[AnnotatedText], config: FitConfig, *, progress: bool
) -> None:
    """Train in place over all texts, until the development texts say stop.

    The network ends in evaluation mode with the best weights, or the last ones without development texts.
    """
    positive_weight = _positive_weight(train)
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    best, best_state, waited = -1.0, network.state_dict(), 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # dropout knows no generator
        for _ in track(range(config.epochs), "training", show=progress):
            network.train()
            for batch in torch.randperm(len(train), generator=generator).split(config.batch_size):
                features, targets = collate([train[i] for i in batch.tolist()], network.config.features)
                if targets.isnan().all():
                    continue
                loss = _loss(network(features), targets, positive_weight, config)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            network.eval()
            if dev:
                reached = evaluate(network, dev)["average_precision"]
                waited += 1
                if reached > best:
                    best, best_state, waited = reached, copy.deepcopy(network.state_dict()), 0
                if waited >= config.patience:
                    break
    if dev:
        network.load_state_dict(best_state)


def in_one_cycle(
    network: ExpNet, families: Sequence[Sequence[Sequence[TrainingWindow]]], config: FitConfig, *, progress: bool
) -> None:
    """Train in place for `config.steps` steps, each on the mean loss of a batch of every family.

    A batch is drawn, with replacement, from one source of the family, so that its texts have the same heads; only
    texts with both marked and unmarked words are drawn. The network ends in evaluation mode.

    Args:
        network: What to train.
        families: The examples of each source of each family.
        config: How.
        progress: Whether to show a bar.

    Raises:
        RationaleError: If a source has no text to draw.
    """
    drawn = [[_ranked(source) for source in family] for family in families]
    weights = [[_positive_weight(source) for source in family] for family in families]

    def loss(generator: torch.Generator) -> Tensor:
        losses = []
        for family, of_family in zip(drawn, weights, strict=True):
            which = int(torch.randint(len(family), (), generator=generator))
            features, targets = draw(family[which], network.config.features, config.batch_size, generator)
            losses.append(_loss(network(features), targets, of_family[which], config))
        return torch.stack(losses).mean()

    one_cycle(network, loss, config, progress=progress)


def one_cycle(network: Scorer, loss: Callable[[torch.Generator], Tensor], config: FitConfig, *, progress: bool) -> None:
    """Train in place for `config.steps` steps; the network ends in evaluation mode.

    Args:
        network: What to train.
        loss: Draws a batch and gives its loss.
        config: Steps, learning rate, weight decay and seed.
        progress: Whether to show a bar.
    """
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    # One step more than are taken, so that the last one still learns something.
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.1
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # dropout knows no generator
        network.train()
        for _ in track(range(config.steps), "training", show=progress):
            optimizer.zero_grad()
            loss(generator).backward()
            optimizer.step()
            cycle.step()
    network.eval()


def draw(
    examples: Sequence[TrainingWindow], features: NetworkInput[Any], size: int, generator: torch.Generator
) -> tuple[Features, Tensor]:
    """Draw a batch, with replacement, of at most as many windows as there are."""
    places = torch.randint(len(examples), (min(size, len(examples)),), generator=generator).tolist()
    return collate([examples[place] for place in places], features)


def _loss(logits: Tensor, targets: Tensor, positive_weight: float, config: FitConfig) -> Tensor:
    return rationale_loss(
        logits, targets, positive_weight=positive_weight, ranking=config.ranking, entropy=config.entropy
    )


def _ranked(source: Sequence[TrainingWindow]) -> list[TrainingWindow]:
    ranked = [window for window in source if (window.targets == 1).any() and (window.targets == 0).any()]
    if not ranked:
        raise RationaleError(
            f"None of the {len(source)} windows of a source has both marked and unmarked words, so there is no order "
            "to learn: leave the source out, or train in epochs (steps=0)."
        )
    return ranked


def _positive_weight(examples: Sequence[TrainingWindow]) -> float:
    targets = torch.cat([window.targets for window in examples])
    positives = float((targets == 1).sum())
    return min(float((targets == 0).sum()) / max(positives, 1.0), 10.0)
