"""What heads say to the target's logit along the anchor's stream, added up."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.stream import StreamPass
from expnet.methods.method import Method
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding


def _run(classifier: Classifier, part: Encoding) -> tuple[Tensor, StreamPass]:
    model, support = classifier.model, classifier.support
    done = StreamPass(model, part.inputs(model.device), anchor=support.anchor, backend=support.backend)
    return done.logits, done


def _needs(_options: Mapping[str, Any]) -> PassNeeds:
    return PassNeeds(own=_run)


@by_trace(_needs)
def anchor_stream(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Add up, over layers and heads, what each carries from the token to the pooled one in favour of the target.

    What a head carries is attention times value; how far it counts is the gradient of the logit along the pooled
    token's residual stream, with attention and values as constants. What speaks against the target is left out, as in
    Grad-SAM. The backward pass is over one token of each text.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        trace: The pass.

    Raises:
        UnsupportedModelError: If the classifier pools several tokens, or is an encoder-decoder; see `StreamPass`.
    """
    total: Tensor = trace.own.products(target, keep=trace.keep).clamp(min=0).sum((1, 2))
    return total


ANCHOR_STREAM = Method(
    name="anchor_stream",
    family="attention-gradient",
    measures="What heads carry from the word to the token that the classifier decides by, in favour of the class",
    function=anchor_stream,
    paper="after Barkan et al. 2021, arXiv:2204.11073",  # its own rule: Grad-SAM along one stream
    forward="2",  # the second over one token of each text, as is the backward pass
    backward="1",
    shares_forward=True,
    signed=False,
    uses_target=True,
)
