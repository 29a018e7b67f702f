"""Sums of two methods, one that says what people mark and one that says what the model depends on."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.methods.coalitions import players
from expnet.methods.families.attention_gradient import grad_sam
from expnet.methods.families.deeplift import deeplift
from expnet.methods.method import Method
from expnet.methods.passes import by_part
from expnet.methods.replacement import Baseline
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


@by_part()
def grad_sam_deeplift(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, replacement: Baseline = "mask"
) -> Float[Tensor, "batch tokens"]:
    """Add up the scores of `grad_sam` and `deeplift` for each word, both standardised within the window; signed.

    Grad-SAM is plausible, DeepLIFT is faithful, and the sum is nearly as good as either at its own. It is no published
    method: a rule for others to beat.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        replacement: What stands for each token in DeepLIFT's baseline.

    Raises:
        UnsupportedModelError: If one of the two does not suit the model.
        OptionError: If the tokenizer has no mask token.
    """
    word_of = players(part, "word")
    plausible = _words(grad_sam(classifier, part, target), word_of, "amax")
    faithful = _words(deeplift(classifier, part, target, replacement=replacement), word_of, "sum")
    tokens = _words(part.real.float(), word_of, "sum")
    shares = sum(_standardised(scores, tokens > 0) for scores in (plausible, faithful)) / tokens.clamp(min=1)
    return shares.gather(1, word_of.clamp(min=0)).masked_fill(word_of < 0, 0.0)


GRAD_SAM_DEEPLIFT = Method(
    name="grad_sam_deeplift",
    family="attention-gradient",
    measures="How far the word stands out by two methods together, grad_sam and deeplift",
    function=grad_sam_deeplift,
    paper="Barkan et al. 2021, arXiv:2204.11073, and Shrikumar et al. 2017, arXiv:1704.02685",
    forward="3",
    backward="2",
    signed=True,
    uses_target=True,
)


def _words(scores: Tensor, word_of: Tensor, how: str) -> Float[Tensor, "batch words"]:
    """Return the sum or the largest of the scores of each word's tokens; 0 where a window has no such word."""
    wide = scores.new_zeros(len(scores), int(word_of.max()) + 2)  # the last is for tokens that belong to none
    place = torch.where(word_of < 0, wide.shape[1] - 1, word_of)
    return wide.scatter_reduce(1, place, scores, how, include_self=False)[:, :-1]


def _standardised(scores: Tensor, real: Tensor) -> Tensor:
    """Take off the mean of a window's words and divide by their standard deviation; 0 where all are equal."""
    count = real.sum(1, keepdim=True).clamp(min=1)
    centred = (scores - (scores * real).sum(1, keepdim=True) / count) * real
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    return torch.where(deviation > 1e-6 * scores.abs().amax(1, keepdim=True), centred / deviation, 0.0)
