"""What a score means, in one sentence: made here, and shown as it is by every rendering, page and file."""

from expnet.explanation import colour
from expnet.text.labels import OutputKind

# What an ExpNet measures that learned from people, or from another one that did.
MARKED = "How likely people would mark the word as the reason"
# What the second output of an ExpNet measures.
USED = "How much the classifier depends on the word, as learned from its answers without random words"
# What follows the sentence on the first output of an ExpNet that has both.
OTHER_OUTPUT = "What the classifier itself depends on is this explainer's second output, the method expnet_used."
UNCHECKED = "The explainer was not checked on this classifier."


def meaning(measures: str, *, signed: bool, uses_target: bool, kind: OutputKind, classes: int) -> str:
    """Return what the scores measure, whether they have a sign, and whether they depend on the class.

    Args:
        measures: As `Method.measures`; "" gives no sentence.
        signed: Whether scores may be negative.
        uses_target: Whether they depend on the class.
        kind: What the model's outputs are.
        classes: How many outputs there are; of a single one there is nothing to choose.
    """
    if not measures:
        return ""
    what = "class" if kind == "probability" else "output"
    up, down = colour.directions(kind, plural=False)
    sign = f"+ {up} the {what}, - {down}" if signed else "no sign"
    chosen = f"depends on the {what}" if uses_target else f"the same for every {what}"
    return "; ".join([measures, sign, chosen][: 3 if classes > 1 else 2]) + "."
