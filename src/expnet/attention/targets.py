"""Which output a pass is about: a class, or one class against another.

Both are whole numbers, so that every method takes either: below the number of classes an index, beyond it a contrast.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def contrast(label: int, against: int, classes: int) -> int:
    """Return the target that stands for one class rather than another: its logit is the difference of both.

    Args:
        label: Index of the class.
        against: Index of the other.
        classes: How many classes there are.
    """
    return classes + label * classes + against


def logit_of(logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return each row's logit of its target; of a contrast, how far the one logit is above the other."""
    classes = logits.shape[1]
    if not (target >= classes).any():
        return logits.gather(1, target[:, None]).squeeze(1)
    contrasted = target >= classes
    label = torch.where(contrasted, (target - classes) // classes, target)
    against = logits.gather(1, torch.where(contrasted, (target - classes) % classes, 0)[:, None]).squeeze(1)
    return logits.gather(1, label[:, None]).squeeze(1) - against.masked_fill(~contrasted, 0)


def probability_of(
    outputs: Float[Tensor, "batch classes"], logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return each row's probability of its target; of a contrast, that of the class if only both could be.

    Args:
        outputs: Probabilities, or the values of a regression.
        logits: What they were computed from.
        target: As `logit_of` takes it.
    """
    classes = outputs.shape[1]
    plain = outputs.gather(1, target.clamp(max=classes - 1)[:, None]).squeeze(1)
    return torch.where(target >= classes, logit_of(logits, target).sigmoid(), plain)
