"""Learn what a classifier depends on from its answers to texts with words removed at random, without marks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expnet.errors import InputError
from expnet.methods.coalitions import Game, Output, draw, players, values
from expnet.methods.replacement import replacement_for_words
from expnet.model.batches import encoded
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.network.inputs import read_features
from expnet.network.scorer import Scorer
from expnet.network.sets import HeadFeatures
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.progress import track
from expnet.text.texts import Text
from expnet.training.build import new_scorer
from expnet.training.config import FitConfig
from expnet.training.examples import TOGETHER
from expnet.training.loops import one_cycle
from expnet.training.loss import correlation


@dataclass(frozen=True, slots=True)
class Removals:
    """One window: its features (half precision), which word each token is, which words stayed, and the target's logit.

    Tokens of no word are -1.
    """

    features: Tensor | HeadFeatures
    word_of: Int[Tensor, " tokens"]
    kept: Bool[Tensor, "removals words"]
    logits: Float[Tensor, " removals"]


@torch_defaults()
def learn_removals(
    sources: Sequence[tuple[Classifier, Sequence[Text]]],
    *,
    config: FitConfig,
    removals: int,
    target: int | None = None,
    progress: bool = False,
) -> Scorer:
    """Train a network so that the numbers of the words that stay add up to what the classifier says of them.

    The sums need only correlate with the target's logit over the removals of a text, as in AT2 (Cohen-Wang et al. 2025,
    arXiv:2504.13752): one answer to each removal is enough, where a Shapley value, which FastSHAP's networks predict
    (Jethani et al. 2022, arXiv:2107.07436), takes hundreds. At the end the numbers are scaled by one factor, to the
    units of the logit. Nothing is learned from labels or marks.

    Args:
        sources: Classifiers, and texts like those to explain; of one architecture, layers and heads unless the features
            are those of sets of heads. At each step all weigh the same.
        config: Of the new network; it must train by steps.
        removals: Random removals of each text: the first leaves the fewest words, the last the most.
        target: A class for all texts; by default each text's predicted class.
        progress: Show progress bars.

    Raises:
        InputError: If no text of a source has two words.
    """
    network, answered = new_scorer(sources[0][0], config), list[list[Removals]]()
    for classifier, texts in sources:
        answered.append(list(answers(classifier, texts, network, removals, config.seed, target, progress=progress)))
        if not answered[-1]:
            raise InputError(
                f"None of the {len(texts)} texts has two words, so there is nothing to learn from removing some of "
                "them."
            )
    learn_answers(network, answered, config, progress=progress)
    return network


def learn_answers(
    network: Scorer, answered: Sequence[Sequence[Removals]], config: FitConfig, *, progress: bool = False
) -> None:
    """Train a network in place on the answers of classifiers, as `learn_removals` does; it ends in evaluation mode."""

    def loss(generator: torch.Generator) -> Tensor:
        losses = []
        for windows in answered:
            places = torch.randint(len(windows), (min(config.batch_size, len(windows)),), generator=generator)
            losses.append(removal_loss(network, [windows[place] for place in places.tolist()]))
        return torch.stack(losses).mean()

    one_cycle(network, loss, config, progress=progress)
    _scale(network, [window for windows in answered for window in windows])


def removal_loss(network: Scorer, windows: Sequence[Removals]) -> Float[Tensor, ""]:
    """Return 1 less the correlation of summed numbers and logits over the removals of each window, on average."""
    lost = [1 - correlation(said, window.logits) for said, window in zip(sums(network, windows), windows, strict=True)]
    return torch.stack(lost).mean()


def sums(network: Scorer, windows: Sequence[Removals]) -> list[Float[Tensor, " removals"]]:
    """Return what the numbers of the words that stay add up to, for each removal of each window."""
    numbers = network(network.config.features.collate([window.features for window in windows]))
    added = []
    for window, of_tokens in zip(windows, numbers, strict=True):
        real = window.word_of >= 0
        of_words = numbers.new_zeros(window.kept.shape[1])
        of_words = of_words.index_add(0, window.word_of[real], of_tokens[: len(real)][real])
        added.append(window.kept.to(of_words.dtype) @ of_words)
    return added


@torch.no_grad()
def _scale(network: Scorer, windows: Sequence[Removals]) -> None:
    """Bring a network's numbers to the units of the logit: by least squares, over the removals of all windows."""
    together, alone = 0.0, 0.0
    for window in windows:
        (said,) = sums(network, [window])
        said, logits = said - said.mean(), window.logits - window.logits.mean()
        together, alone = together + float(said @ logits), alone + float(said @ said)
    if together > 0:  # where nothing was learned, there is no scale
        last = network.rest[-1]
        for parameter in last.parameters():
            parameter.mul_(together / alone)


def answers(
    classifier: Classifier,
    texts: Sequence[Text],
    network: Scorer,
    removals: int,
    seed: int,
    target: int | None,
    *,
    progress: bool = False,
) -> Iterator[Removals]:
    """Yield each window of two words or more; what exceeds the classifier's limit is cut off."""
    config, shares = network.config.features, (torch.arange(removals) + 0.5) / removals
    for game in games(classifier, texts, "logit", target=target, progress=progress):
        kept = game.everyone[:, None] & (draw(game, removals, seed) < shares[:, None])
        logits = values(game, kept)
        asked, of_class = classifier.about(game.part, game.target)  # a hypothesis stands behind the text
        word_of = F.pad(game.player_of, (0, asked.ids.shape[1] - game.part.ids.shape[1]), value=-1)
        _, features = read_features(classifier, asked, config, target=of_class)
        for row, words in enumerate(game.count.tolist()):
            if words > 1:
                length = int(asked.mask[row].sum())
                window = config.window(features, row, length).half()
                yield Removals(window, word_of[row, :length], kept[row, :, :words], logits[row])


def games(
    classifier: Classifier, texts: Sequence[Text], output: Output, *, target: int | None = None, progress: bool
) -> Iterator[Game]:
    """Yield the windows of texts, some at a time, as games of their words; what exceeds the limit is cut off.

    Args:
        classifier: The classifier.
        texts: Texts.
        output: What a coalition is worth.
        target: A class for all texts; by default each text's predicted class.
        progress: Show a progress bar.
    """
    replacement = replacement_for_words(classifier)
    read = encoded(classifier, texts, size=TOGETHER, truncate=True)
    for _, encoding in track(read, "removing words", show=progress, total=len(texts), size=lambda batch: len(batch[0])):
        explained = torch.full_like(encoding.text_of, target or 0)
        if target is None:
            explained = classifier.predict(encoding).chosen[encoding.text_of]
        start = 0
        for part in batches(encoding):
            chosen = explained[start : start + len(part)]
            start += len(part)
            if part.real.any():
                yield Game(classifier, part, chosen, players(part, "word"), replacement, output)
