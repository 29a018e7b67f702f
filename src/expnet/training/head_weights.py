"""Learn a weight for each head of one classifier from its answers to texts with words removed at random (AT2)."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from expnet.errors import InputError
from expnet.methods.coalitions import draw, values
from expnet.methods.families.head_weights import anchor_attention
from expnet.methods.method import at_least
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.texts import Text, as_texts
from expnet.training.loss import correlation
from expnet.training.removals import games

_KEPT = 0.5
_RATE = 1e-3
_EPSILON = 1e-7  # float32 knows no probability closer to 1


@torch_defaults()
def learn_head_weights(
    classifier: Classifier,
    texts: Iterable[str | Text],
    *,
    masks: int = 32,
    steps: int = 1000,
    batch_size: int = 512,
    seed: int = 0,
    progress: bool = False,
) -> list[float]:
    """Learn the option `weights` of `attribution_with_attention`, as Cohen-Wang et al. 2025 (arXiv:2504.13752) do.

    Of each text, random halves of the words are removed. The weights are those with which the sum of the scores of the
    words that stay, less that of the others, correlates best with the log odds of the class predicted for the text: the
    mean over texts of Pearson's correlation over a text's masks. Nothing is learned from labels or marks.

    Args:
        classifier: The classifier.
        texts: Texts like those to explain, some hundred. What exceeds the classifier's limit is cut.
        masks: Random removals of each text.
        steps: Of Adam, with a learning rate that falls from 0.001 to 0 along a cosine.
        batch_size: Texts in a step.
        seed: Of removals and batches.
        progress: Show a progress bar on standard error.

    Returns:
        One weight for each head, the heads of the first layer first; their absolute values sum to 1.

    Raises:
        InputError: If no text has two words, or the classifier is a regression.
        OptionError: If there are fewer than 2 masks, or no step or batch.
        UnsupportedModelError: If the classifier's attention cannot be captured.
    """
    at_least(2, masks=masks)
    at_least(1, steps=steps, batch_size=batch_size)
    classifier.check_probabilities("learn_head_weights")
    examples = list(_examples(classifier, as_texts(texts), masks, seed, progress))
    if not examples:
        raise InputError("Expected texts of two words or more to remove words from, got none.")
    evidence, effect = (torch.stack(parts) for parts in zip(*examples, strict=True))
    with torch.inference_mode(False), torch.enable_grad():
        return _fitted(evidence.clone(), effect.clone(), steps, batch_size, seed)


def _examples(
    classifier: Classifier, texts: list[Text], masks: int, seed: int, progress: bool
) -> Iterator[tuple[Float[Tensor, "masks heads"], Float[Tensor, " masks"]]]:
    """Yield for each text how much attention each head pays to what stays, less what goes, and the log odds."""
    for game in games(classifier, texts, "probability", progress=progress):
        kept = game.everyone[:, None] & (draw(game, masks, seed) < _KEPT)
        chance = values(game, kept).double().clamp(_EPSILON, 1 - _EPSILON)
        attention = anchor_attention(classifier, game.part)
        place = game.player_of.clamp(min=0)[:, None].expand_as(attention)
        of_players = attention.new_zeros(*attention.shape[:2], kept.shape[2])
        of_players.scatter_add_(2, place, attention.masked_fill(~game.part.real[:, None], 0))
        evidence = torch.einsum("bmp,bhp->bmh", 2 * kept.float() - 1, of_players)
        for row in (game.count > 1).nonzero().flatten().tolist():
            yield evidence[row], chance[row].logit().float()


def _fitted(evidence: Tensor, effect: Tensor, steps: int, batch_size: int, seed: int) -> list[float]:
    heads = evidence.shape[2]
    weight = torch.full((heads,), 1 / heads, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        drawn = torch.randperm(len(evidence), generator=generator)[:batch_size]
        loss = -correlation(evidence[drawn] @ weight, effect[drawn]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        optimizer.step()
        schedule.step()
    learned: list[float] = (weight.detach() / weight.detach().abs().sum()).tolist()
    return learned
