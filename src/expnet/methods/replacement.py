"""What replaces a token that is removed."""

from collections.abc import Container
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from expnet.errors import OptionError
from expnet.model.classifier import Classifier

Replacement = Literal["mask", "pad", "zero", "delete"]
# Those that keep the token's place, and so can be approached step by step.
Baseline = Literal["mask", "pad", "zero"]


def baseline_embedding(classifier: Classifier, replacement: Baseline) -> Float[Tensor, " width"]:
    """Return the embedding that replaces a token's: that of [MASK], of [PAD], or zeros.

    The ids stay as they are, and so do positions, padding and the token that a decoder pools.

    Raises:
        OptionError: If there is no such token.
    """
    embeddings = classifier.embeddings
    if replacement == "zero":
        return torch.zeros_like(embeddings[0])
    token = classifier.mask_id if replacement == "mask" else pad_id(classifier)
    if token is None:
        others = "'zero'" if classifier.pad_id is None else "'pad' or 'zero'"
        raise OptionError(f"This model has no mask token, so that replacement='mask' means nothing; use {others}.")
    return embeddings[token]


def replacement_for_words(classifier: Classifier) -> Replacement:
    """Return what stands for removed words by default: [MASK], or nothing where the tokenizer has none."""
    return "delete" if classifier.mask_id is None else "mask"


def without_mask(classifier: Classifier, options: Container[str]) -> dict[str, Replacement]:
    """Return what lets a method with these options run where the tokenizer has no mask token: [PAD], or zeros, instead.

    Empty for a method that replaces nothing, and where there is a mask token.
    """
    if classifier.mask_id is not None or "replacement" not in options:
        return {}
    return {"replacement": "zero" if classifier.pad_id is None else "pad"}


def pad_id(classifier: Classifier) -> int:
    """Return the id of the padding token.

    Raises:
        OptionError: If there is none.
    """
    if classifier.pad_id is None:
        others = "'zero'" if classifier.mask_id is None else "'mask' or 'zero'"
        raise OptionError(
            "This model has no padding token to stand for one that is taken away, or for a text of which nothing is "
            f"left; use replacement={others}."
        )
    return classifier.pad_id
