"""DeepLIFT: what each token adds to the output, compared with a text of which nothing is left."""

from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.differences import DifferencePass
from expnet.methods.method import Method
from expnet.methods.passes import by_part
from expnet.methods.replacement import Baseline, baseline_embedding
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


@by_part(repeats=2)
def deeplift(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, replacement: Baseline = "mask"
) -> Float[Tensor, "batch tokens"]:
    """Share out the difference that the tokens make to the target's logit, by the rescale rule; signed, complete.

    Products of two things that both depend on the text, such as attention and values, give each factor its change
    times the mean of the other.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        replacement: What stands for each token in the baseline; special tokens stay.

    Raises:
        UnsupportedModelError: If the scores do not add up, as the model computes something without a rule.
        OptionError: If the tokenizer has no mask token.
    """
    model, blank = classifier.model, baseline_embedding(classifier, replacement)
    return DifferencePass(model, part.inputs(model.device), part.real, blank).scores(target)


DEEPLIFT = Method(
    name="deeplift",
    family="gradient",
    measures="How much the word adds to the output compared with an empty text",
    function=deeplift,
    paper="Shrikumar et al. 2017, arXiv:1704.02685",
    forward="2",
    backward="1",
    signed=True,
    uses_target=True,
    complete=True,
)
