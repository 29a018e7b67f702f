"""Simple models of the classifier around one text: additive in its tokens, fitted to what remainders are worth."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expnet.methods.coalitions import Game, Output, Unit, draw, play, ranks, values
from expnet.methods.method import Method, at_least
from expnet.methods.passes import seed_of
from expnet.methods.replacement import Replacement
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

# The constants of the `lime` package for texts.
_KERNEL_WIDTH = 25.0
_DISTANCE_SCALE = 100.0
_PENALTY = 1.0


def lime(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    generator: torch.Generator,
    samples: int = 500,
    replacement: Replacement = "mask",
    output: Output = "logit",
    unit: Unit = "token",
) -> Float[Tensor, "batch tokens"]:
    """Fit a ridge regression to random remainders of the text, near ones first; a token scores its coefficient.

    Sampling, distance, kernel and penalty are those of the `lime` package for texts; that explains probabilities of
    words and deletes them, which `output`, `unit` and `replacement` bring back.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        generator: Source of the samples.
        samples: Remainders of each text, the whole text among them.
        replacement: What stands for the tokens; "delete" closes the gap.
        output: Whether logits or probabilities are explained.
        unit: With "word", the tokens of a word go at once and share the score equally.

    Raises:
        OptionError: If there are fewer than 2 samples, or the tokenizer has no mask token and `replacement` is "mask".
    """
    at_least(2, samples=samples)
    seed = seed_of(generator)

    def solve(game: Game) -> Tensor:
        count = game.count[:, None]
        removed = (draw(game, samples - 1, seed + 1)[:, :, 0] * count).floor() + 1
        kept = game.everyone[:, None] & (ranks(draw(game, samples - 1, seed)) >= removed[:, :, None])
        kept = torch.cat([game.everyone[:, None], kept], dim=1)
        # Cosine distance to the whole text; nothing is at distance 1 from everything.
        distance = _DISTANCE_SCALE * (1 - (kept.sum(2) / count.clamp(min=1)).sqrt())
        weight = (-((distance / _KERNEL_WIDTH) ** 2) / 2).exp()
        return weighted_ridge(kept, values(game, kept), weight, penalty=_PENALTY)

    return play(classifier, encoding, target, solve, replacement=replacement, output=output, unit=unit)


LIME = Method(
    name="lime",
    family="surrogate",
    measures="How much the word adds to the output in random parts of the text",
    function=lime,
    paper="Ribeiro et al. 2016, arXiv:1602.04938",
    forward="samples",
    signed=True,
    uses_target=True,
    shares_forward=True,
    deterministic=False,
)


def kernel_shap(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    generator: torch.Generator,
    samples: int = 200,
    replacement: Replacement = "mask",
    output: Output = "logit",
    unit: Unit = "token",
) -> Float[Tensor, "batch tokens"]:
    """Estimate Shapley values by the weighted regression whose solution they are; signed, complete.

    A text with so few tokens that all its 2ⁿ - 2 remainders fit into `samples` gets its exact Shapley values. With
    fewer samples than tokens, the smallest scores that fit.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        generator: Source of the samples.
        samples: Remainders of each text, drawn as pairs of opposites; the whole and the empty text come on top.
        replacement: What stands for the tokens; "delete" closes the gap.
        output: Whether logits or probabilities are explained.
        unit: With "word", the tokens of a word go at once and share the score equally.

    Raises:
        OptionError: If there is no sample, or the tokenizer has no mask token and `replacement` is "mask".
    """
    at_least(1, samples=samples)
    seed = seed_of(generator)

    def solve(game: Game) -> Tensor:
        kept, weight = _kernel_samples(game, samples, seed)
        ends = torch.stack([torch.zeros_like(game.everyone), game.everyone], dim=1)
        worth = values(game, torch.cat([ends, kept], dim=1)).double()
        return _constrained_fit(kept, worth[:, 2:], weight, worth[:, :2], game.everyone)

    return play(classifier, encoding, target, solve, replacement=replacement, output=output, unit=unit)


KERNEL_SHAP = Method(
    name="kernel_shap",
    family="surrogate",
    measures="How much the word adds to the output, averaged over what else of the text is there",
    function=kernel_shap,
    paper="Lundberg and Lee 2017, arXiv:1705.07874",
    forward="samples + 2",
    signed=True,
    uses_target=True,
    shares_forward=True,
    complete=True,
    deterministic=False,
)


def shapley_sampling(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    generator: torch.Generator,
    permutations: int = 25,
    replacement: Replacement = "mask",
    output: Output = "logit",
    unit: Unit = "token",
) -> Float[Tensor, "batch tokens"]:
    """Estimate Shapley values: what each token adds when the text is built up in random orders; signed, complete.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        generator: Source of the orders.
        permutations: Orders, every second one the reverse of the one before.
        replacement: What stands for the tokens; "delete" closes the gap.
        output: Whether logits or probabilities are explained.
        unit: With "word", the tokens of a word come at once and share the score equally.

    Raises:
        OptionError: If there is no order, or the tokenizer has no mask token and `replacement` is "mask".
    """
    at_least(1, permutations=permutations)
    seed = seed_of(generator)

    def solve(game: Game) -> Tensor:
        everyone, count = game.everyone, game.count[:, None, None]
        forth = ranks(draw(game, (permutations + 1) // 2, seed))
        back = count - 1 - forth  # of players who do not exist: negative
        rank = torch.stack([forth, back], dim=2).flatten(1, 2)[:, :permutations]
        steps = torch.arange(everyone.shape[1] + 1)
        kept = (rank[:, :, None] < steps[:, None]) & everyone[:, None, None]
        gain = values(game, kept.flatten(1, 2)).double().unflatten(1, (permutations, -1)).diff(dim=2)
        scores: Tensor = gain.gather(2, rank.clamp(min=0)).mean(1) * everyone
        return scores

    return play(classifier, encoding, target, solve, replacement=replacement, output=output, unit=unit)


SHAPLEY_SAMPLING = Method(
    name="shapley_sampling",
    family="surrogate",
    measures="How much the word adds to the output, averaged over what else of the text is there",
    function=shapley_sampling,
    paper="Castro et al. 2009, doi:10.1016/j.cor.2008.04.004",
    forward="permutations * (tokens - 1) + 2",
    signed=True,
    uses_target=True,
    shares_forward=True,
    complete=True,
    deterministic=False,
)


def weighted_ridge(
    features: Bool[Tensor, "batch samples players"],
    wanted: Float[Tensor, "batch samples"],
    weight: Float[Tensor, "batch samples"],
    *,
    penalty: float,
) -> Float[Tensor, "batch players"]:
    """Return the coefficients of a weighted ridge regression with an intercept that is not penalised."""
    share = (weight / weight.sum(1, keepdim=True)).double()[:, :, None]
    x, y = features.double(), wanted.double()[:, :, None]
    x, y = x - (share * x).sum(1, keepdim=True), y - (share * y).sum(1, keepdim=True)
    weighted = (x * weight[:, :, None]).mT
    normal = weighted @ x + penalty * torch.eye(x.shape[2], dtype=x.dtype)
    coefficients: Tensor = torch.linalg.solve(normal, weighted @ y).squeeze(2)
    return coefficients


def _constrained_fit(kept: Tensor, worth: Tensor, weight: Tensor, ends: Tensor, everyone: Tensor) -> Tensor:
    """Fit worths by sums over players, exact for the empty and the full coalition; what is left open is even."""
    features, count = kept.double(), everyone.sum(1, keepdim=True).clamp(min=1)
    size = features.sum(2)
    even = (ends[:, 1:] - ends[:, :1]) / count
    # What deviates from an even share sums to 0: centred columns leave no other direction.
    centred = (features - (size / count)[:, :, None]) * everyone[:, None]
    weighted = (centred * weight[:, :, None]).mT
    inverse = torch.linalg.pinv(weighted @ centred, rtol=1e-9, hermitian=True)
    residual = worth - ends[:, :1] - size * even
    scores: Tensor = (even + (inverse @ weighted @ residual[:, :, None]).squeeze(2)) * everyone
    return scores


def _kernel_samples(game: Game, samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return coalitions and their weights: all there are, weighted by the Shapley kernel, or some drawn from it."""
    count = game.count[:, None]
    few = 2.0**count - 2 <= samples
    code = torch.arange(1, samples + 1)
    every = (code[:, None] >> torch.arange(game.everyone.shape[1]).clamp(max=62) & 1).bool() & game.everyone[:, None]
    size = every.sum(2)
    ways = (torch.lgamma(count + 1.0) - torch.lgamma(size + 1.0) - torch.lgamma(count - size + 1.0)).exp()
    kernel = (code < 2.0**count - 1) / (ways * size * (count - size)).clamp(min=1)
    pairs, weight = _kernel_pairs(game, (samples + 1) // 2, seed)
    kept = torch.stack([pairs, game.everyone[:, None] & ~pairs], dim=2).flatten(1, 2)[:, :samples]
    weight = weight.repeat_interleave(2, dim=1)[:, :samples]
    return torch.where(few[:, :, None], every, kept), torch.where(few, kernel, weight).double()


def _kernel_pairs(game: Game, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw coalitions from the Shapley kernel, and weights; single players come first, none of them twice.

    Singles and their opposites hold so much of the kernel that a free draw would repeat them: they get their share of
    the pairs, and where that is more than there are players, weight instead.
    """
    count, place = game.count[:, None], torch.arange(pairs)
    size = torch.arange(1, max(2, game.everyone.shape[1]))
    kernel = (size < count) / (size * (count - size)).clamp(min=1)
    of_singles = kernel * ((size == 1) | (size == count - 1))
    share = (pairs * of_singles.sum(1) / kernel.sum(1).clamp(min=1e-9))[:, None].round()
    singles = torch.minimum(share, count)
    others = (kernel - of_singles).cumsum(1)
    chance = draw(game, pairs, seed + 1)[:, :, 0] * others[:, -1:]
    drawn = (torch.searchsorted(others, chance.contiguous()) + 1).clamp(max=count - 1)
    rank = ranks(draw(game, pairs, seed))
    first = place < singles
    kept = torch.where(first[:, :, None], rank[:, :1] == place[:, None], rank < drawn[:, :, None])
    weight = torch.where(first, share / singles.clamp(min=1), (pairs - share) / (pairs - singles).clamp(min=1))
    return kept & game.everyone[:, None], weight
