"""What the prediction loses when tokens are taken away."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import OptionError
from expnet.methods.coalitions import Game, Output, Unit, draw, play, values
from expnet.methods.method import Method, at_least
from expnet.methods.passes import seed_of
from expnet.methods.replacement import Replacement
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


def leave_one_out(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    replacement: Replacement = "mask",
    output: Output = "logit",
    unit: Unit = "token",
) -> Float[Tensor, "batch tokens"]:
    """Score each token by what the output loses when it alone is taken away; negative where it gains.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        replacement: What stands for the token; "delete" closes the gap.
        output: Whether logits or probabilities are compared.
        unit: With "word", all tokens of a word go at once and share the loss equally.

    Raises:
        OptionError: If the tokenizer has no mask token and `replacement` is "mask".
    """
    return occlusion(classifier, encoding, target, window=1, replacement=replacement, output=output, unit=unit)


LEAVE_ONE_OUT = Method(
    name="leave_one_out",
    family="perturbation",
    measures="How much the output loses without the word",
    function=leave_one_out,
    paper="Li et al. 2016, arXiv:1612.08220",
    forward="tokens + 1",
    signed=True,
    uses_target=True,
    shares_forward=True,
)


def occlusion(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    window: int = 3,
    replacement: Replacement = "mask",
    output: Output = "logit",
    unit: Unit = "token",
) -> Float[Tensor, "batch tokens"]:
    """Take each run of neighbouring tokens away; a token scores the mean loss of the runs that hold it.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        window: Tokens (or words) in a run; a shorter text is one run.
        replacement: What stands for the tokens; "delete" closes the gap.
        output: Whether logits or probabilities are compared.
        unit: With "word", runs are of words, whose tokens share the score equally.

    Raises:
        OptionError: If the window is empty, or the tokenizer has no mask token and `replacement` is "mask".
    """
    at_least(1, window=window)

    def solve(game: Game) -> Tensor:
        everyone = game.everyone
        place = torch.arange(everyone.shape[1])
        starts = place <= (game.count[:, None] - window).clamp(min=0)
        ahead = place - place[:, None]
        run = starts[:, :, None] & everyone[:, None] & (ahead >= 0) & (ahead < window)
        # A run that does not exist removes nothing, and so costs no pass.
        worth = values(game, torch.cat([everyone[:, None], everyone[:, None] & ~run], dim=1))
        loss = worth[:, :1] - worth[:, 1:]
        return (loss[:, :, None] * run).sum(1) / run.sum(1).clamp(min=1)

    return play(classifier, encoding, target, solve, replacement=replacement, output=output, unit=unit)


OCCLUSION = Method(
    name="occlusion",
    family="perturbation",
    measures="How much the output loses without the word and its neighbours",
    function=occlusion,
    paper="Zeiler and Fergus 2013, arXiv:1311.2901",
    forward="tokens - window + 2",
    signed=True,
    uses_target=True,
    shares_forward=True,
)


def rise(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    generator: torch.Generator,
    samples: int = 500,
    keep: float = 0.5,
    replacement: Replacement = "mask",
    unit: Unit = "token",
) -> Float[Tensor, "batch tokens"]:
    """Score each token by the target's mean probability over those random remainders of the text that hold it.

    Scores lie in [0, 1]; what counts are differences between tokens. A token that no sample holds scores 0.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        generator: Source of the samples.
        samples: Remainders of each text.
        keep: Probability with which each token stays.
        replacement: What stands for the tokens; "delete" closes the gap.
        unit: With "word", the tokens of a word stay or go at once and share the score equally.

    Raises:
        OptionError: If there is no sample, `keep` is not between 0 and 1, or the tokenizer has no mask token and
            `replacement` is "mask".
    """
    at_least(1, samples=samples)
    if not 0 < keep < 1:
        raise OptionError(f"keep is {keep}, expected a probability above 0 and below 1.")
    classifier.check_probabilities("rise")  # a mean of values could be negative, which its scores are not
    seed = seed_of(generator)

    def solve(game: Game) -> Tensor:
        kept = draw(game, samples, seed) < keep
        return (values(game, kept)[:, :, None] * kept).sum(1) / kept.sum(1).clamp(min=1)

    return play(classifier, encoding, target, solve, replacement=replacement, output="probability", unit=unit)


RISE = Method(
    name="rise",
    family="perturbation",
    measures="How probable the output is in random parts of the text that keep the word",
    function=rise,
    paper="Petsiuk et al. 2018, arXiv:1806.07421",
    forward="samples",
    signed=False,
    uses_target=True,
    shares_forward=True,
    deterministic=False,
)
