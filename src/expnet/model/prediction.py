"""A classifier's outputs for texts: probabilities, or the values of a regression."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import InputError, NonFiniteError
from expnet.text.encoding import Encoding
from expnet.text.labels import OutputKind, output_index


@dataclass(frozen=True, slots=True)
class Prediction:
    """A classifier's outputs for a batch of texts.

    Attributes:
        labels: Names of the outputs.
        outputs: One row per text, in the order of `labels`. Probabilities in [0, 1], whose rows sum to 1 unless
            `multi_label`; or the values of a regression as the model gives them, in its own units.
        multi_label: Whether each class has a probability of its own.
        kind: What the outputs are, "probability" or "value".
    """

    labels: tuple[str, ...]
    outputs: Float[Tensor, "texts classes"]
    multi_label: bool
    kind: OutputKind = "probability"

    @property
    def probabilities(self) -> Float[Tensor, "texts classes"]:
        """The outputs of a classifier.

        Raises:
            InputError: If they are the values of a regression.
        """
        if self.kind == "value":
            raise InputError("These are the values of a regression, not probabilities: read `outputs`.")
        return self.outputs

    @property
    def chosen(self) -> Int[Tensor, " texts"]:
        """Index of the most probable class of each text; 0 for a regression with one output.

        Raises:
            InputError: If it is a regression with several outputs.
        """
        only = output_index(self.labels, None, self.kind)
        return self.outputs.argmax(1) if only is None else torch.full((len(self.outputs),), only)


def mean_of_windows(outputs: Float[Tensor, "batch classes"], encoding: Encoding) -> Float[Tensor, "texts classes"]:
    """Return each text's mean over its windows."""
    if encoding.text_of.tolist() == list(range(len(encoding.texts))):
        return outputs
    places = encoding.text_of[:, None].expand_as(outputs)
    empty = torch.zeros(len(encoding.texts), outputs.shape[1])
    return empty.scatter_reduce(0, places, outputs, "mean", include_self=False)


def refuse_not_finite(logits: Float[Tensor, "batch classes"], encoding: Encoding) -> None:
    """Refuse what a damaged model returns.

    Raises:
        NonFiniteError: If a logit is NaN or infinity; with the number of the first such text.
    """
    if not math.isfinite(logits.abs().amax()):  # NaN is the largest of all
        bad = sorted(set(encoding.text_of[~logits.isfinite().all(1)].tolist()))
        raise NonFiniteError(
            f"The model returned NaN or infinity for {len(bad)} of {len(encoding.texts)} texts, first for number "
            f"{bad[0]}. Its weights are damaged, or its precision is too low."
        )
