"""Which attention layers a model runs, in order, and in which of them the anchor reads the text.

An encoder-decoder reads a text twice: its encoder whole, its decoder the same tokens one place later. A decoder layer
attends to the decoder's own positions, then to the encoder's tokens (cross-attention). The classifier pools one decoder
position, and counts position t as token t; so do we. The anchor reads the text in the cross-attention: that is what
counts as a layer of such a model, and what token t pays is what position t pays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from expnet.errors import UnsupportedModelError

Item = TypeVar("Item")
# How the configs of BART and its kin, and those of T5 and its kin, name the depth of encoder and decoder.
_DEPTHS = (("encoder_layers", "decoder_layers"), ("num_layers", "num_decoder_layers"))


@dataclass(frozen=True, slots=True)
class Stack:
    """The attention layers of a model.

    Attributes:
        encoder: Layers of self-attention over the tokens, all of a plain model; None if its config does not say.
        decoder: Decoder layers, of two attentions each; 0 in a plain model.
    """

    encoder: int | None
    decoder: int = 0

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Stack":
        """Read the depths from a model's config.

        Raises:
            UnsupportedModelError: If an encoder-decoder's config has none of the known names for them.
        """
        config = model.config
        if not config.is_encoder_decoder:
            return cls(getattr(config, "num_hidden_layers", None))
        for encoder, decoder in _DEPTHS:
            if hasattr(config, encoder) and hasattr(config, decoder):
                return cls(getattr(config, encoder), getattr(config, decoder))
        raise UnsupportedModelError(
            f"The config of {type(model).__name__} does not say how many layers its encoder and its decoder have; "
            f"expected {' or '.join(' and '.join(names) for names in _DEPTHS)}."
        )

    @property
    def attentions(self) -> int | None:
        """How many attentions one pass computes."""
        return None if self.encoder is None else self.encoder + 2 * self.decoder

    @property
    def depth(self) -> int | None:
        """In how many layers the anchor reads the text."""
        return self.decoder or self.encoder

    def kind(self, index: int) -> Literal["encoder", "decoder", "cross"]:
        """Return whose attention the one with this number is: the encoder's, the decoder's own, or the one between."""
        if not self.decoder or self.encoder is None or index < self.encoder:
            return "encoder"
        return "cross" if (index - self.encoder) % 2 else "decoder"

    def reads(self, index: int) -> bool:
        """Whether the anchor reads the text in the attention with this number."""
        return not self.decoder or self.kind(index) == "cross"

    def reading(self, layers: Sequence[Item]) -> tuple[Item, ...]:
        """Return what belongs to the layers in which the anchor reads the text, of what belongs to all."""
        return tuple(layer for index, layer in enumerate(layers) if self.reads(index))

    def roll(
        self,
        row: Float[Tensor, "batch tokens"],
        layers: Sequence[Item],
        pass_on: Callable[[Item, Tensor], Tensor],
        *,
        keep: float = 1.0,
    ) -> Float[Tensor, "batch tokens"]:
        """Follow weights from the anchor down through all layers to the tokens that the encoder, or plain model, read.

        What the decoder's own input holds is left out, as in Chefer et al. 2021: the anchor's position there holds the
        text's last word, whatever it is.

        Args:
            row: Weights of the anchor.
            layers: What belongs to all attentions, in order.
            pass_on: From a layer and weights to what attention passes on, [batch tokens].
            keep: What the residual connection keeps of the weights in place.
        """
        below, above = (row * 0, row) if self.decoder else (row, row)
        for index in reversed(range(len(layers))):
            kind = self.kind(index)
            if kind == "encoder":
                below = keep * below + pass_on(layers[index], below)
                continue
            passed = pass_on(layers[index], above)
            below, above = (below + passed, keep * above) if kind == "cross" else (below, keep * above + passed)
        return below


def require_one_stack(model: PreTrainedModel) -> None:
    """Refuse an encoder-decoder.

    Raises:
        UnsupportedModelError: If the model is one.
    """
    if model.config.is_encoder_decoder:
        raise UnsupportedModelError(
            "This method follows tokens through one stack of layers, and an encoder-decoder has two, of which the "
            "second reads the tokens again. Gradient and perturbation methods work, and rules over the cross-attention."
        )
