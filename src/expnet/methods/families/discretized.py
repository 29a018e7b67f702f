"""Gradients on a path that leads from word to word instead of through points that stand for no word."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expnet.methods.families.gradient import weighted_gradient
from expnet.methods.method import Method, at_least
from expnet.methods.passes import by_part
from expnet.methods.replacement import Baseline, baseline_embedding
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


@by_part()
def discretized_integrated_gradients(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    replacement: Baseline = "mask",
    steps: int = 30,
    neighbours: int = 500,
) -> Float[Tensor, "batch tokens"]:
    """Add up gradients on a path near embeddings of the vocabulary, from a text without its tokens to the text; signed.

    This is the paper's greedy strategy: from each token on, the next word of the path is that of the nearest neighbours
    of the word before which needs to be moved least to lie between it and the end. Scores sum to the difference of the
    logits as far as the path is fine enough.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        replacement: What stands for each token at the start; special tokens stay.
        steps: Words on each path.
        neighbours: Nearest words among which the next one is chosen.

    Raises:
        OptionError: If there is no step or neighbour, or the tokenizer has no mask token.
    """
    at_least(1, steps=steps, neighbours=neighbours)
    table, base = classifier.embeddings.detach().float(), baseline_embedding(classifier, replacement).detach().float()
    words, place_of = part.ids[part.real].unique(return_inverse=True)
    paths = torch.stack([_path(table, word, base, steps, neighbours) for word in words.tolist()])
    points = torch.zeros(*part.ids.shape, *paths.shape[1:])
    points[part.real] = paths.cpu()[place_of]
    points = points.transpose(1, 2)  # batch, points, tokens, width

    def place(raw: Tensor, copies: range) -> tuple[Tensor, Tensor]:
        here, there = (points[:, copies.start + ahead : copies.stop + ahead].to(raw) for ahead in (0, 1))
        real = part.real.to(raw.device)[:, None, :, None]
        return torch.where(real, here, raw), there - here

    return weighted_gradient(classifier, part, target, [1.0] * (steps + 1), place).sum(-1)


DISCRETIZED_INTEGRATED_GRADIENTS = Method(
    name="discretized_integrated_gradients",
    family="gradient",
    measures="How much the word adds to the output on a way of real words from an empty text",
    function=discretized_integrated_gradients,
    paper="Sanyal and Ren 2021, arXiv:2108.13654",
    forward="steps + 1",
    backward="steps + 1",
    signed=True,
    uses_target=True,
)


def _path(
    table: Float[Tensor, "vocabulary width"], word: int, base: Float[Tensor, " width"], steps: int, neighbours: int
) -> Float[Tensor, "points width"]:
    """Return the points from `base` to a word's embedding; each dimension goes one way only."""
    left = ~(table == base).all(1)
    here: int | None = word
    point = table[word]
    points = [point]
    for _ in range(steps):
        if here is not None:
            left[here] = False
            here = _next(table, here, base, left, steps, neighbours)
        point = _between(base, point, base if here is None else table[here], steps)
        points.append(point)
    return torch.stack([*points, base]).flip(0)


def _next(
    table: Tensor, word: int, base: Tensor, left: Bool[Tensor, " vocabulary"], steps: int, neighbours: int
) -> int | None:
    """Return the neighbour to go on to; None if all were passed, and the path ends at `base`."""
    distance = (table - table[word]).square().sum(1)
    distance[word] = torch.inf
    near = distance.topk(min(neighbours, len(table) - 1), largest=False).indices
    near = near[left[near]]
    if not len(near):
        return None
    moved = _between(base, table[word], table[near], steps)
    return int(near[(moved - table[near]).square().sum(1).argmin()])


def _between(base: Tensor, point: Tensor, anchor: Tensor, steps: int) -> Tensor:
    """Move an anchor where it does not lie between the point and the base: one step from the point to the base."""
    inside = (anchor >= torch.minimum(base, point)) & (anchor <= torch.maximum(base, point))
    return torch.where(inside, anchor, point - (point - base) / steps)
