"""What tokens say to the target's logit through the anchor's own stream: a backward pass over one token of each text.

Each layer adds to the anchor's residual stream what its heads read, `sum over tokens of attention * value`. With
attention and values as constants, the logit leads back to these sums along the anchor alone, through its norms, output
projections and feed-forward blocks. So the model runs once more over the anchor's token alone, in which each head is
given what it read in the text; that the logits are those of the text proves that nothing else reaches them.
"""

import inspect
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.anchor import POOLINGS, Anchor, AnchorReading, PooledTokens
from expnet.attention.capture import Backend, each_layer
from expnet.attention.fused_layer import FusedLayer
from expnet.attention.gradients import check_one_pass, no_gradient
from expnet.attention.intercept import Layer, run
from expnet.attention.stack import require_one_stack
from expnet.attention.targets import logit_of
from expnet.errors import UnsupportedModelError


class StreamPass:
    """A forward pass over texts, one over their anchors, and what heads say to any number of targets.

    A caller may be in inference mode.
    """

    def __init__(
        self, model: PreTrainedModel, inputs: Mapping[str, Tensor], *, anchor: Anchor, backend: Backend
    ) -> None:
        """Run the forward passes.

        Args:
            model: A sequence classifier. It comes back as it was.
            inputs: Its keyword arguments, each [batch, tokens].
            anchor: What the model pools.
            backend: As for `capture`.

        Raises:
            UnsupportedModelError: If the model pools several tokens, is an encoder-decoder or a language model with a
                label of several tokens, or if more than what its heads read reaches the anchor.
            NoGradientError: If part of what the model computes keeps no gradient.
        """
        _check_kind(model, anchor)
        self._values = list[Tensor]()
        with torch.inference_mode(False), torch.no_grad():
            plain = {name: tensor.clone() for name, tensor in inputs.items()}  # see `GradientPass`
            pooled = PooledTokens.of(model, plain, anchor)
            reading = AnchorReading(pooled, received=False)

            def see(layer: FusedLayer | Layer) -> None:
                reading.add(layer)
                self._values.append(layer.value)

            self.logits: Float[Tensor, "batch classes"] = each_layer(model, plain, see, backend=backend)
            self._rows = reading.attention().log_row.exp()
        self._name = type(model).__name__
        with torch.inference_mode(False), torch.enable_grad():
            self._read = [
                torch.einsum("bht,bhtd->bhd", row.to(value), value)[:, :, None].requires_grad_()
                for row, value in zip(self._rows.unbind(1), self._values, strict=True)
            ]
            self._again = run(model, _of_anchor(model, plain, pooled.index), attend=self._given, keep=False).logits
        _check_same(self._again.detach(), self.logits, self._name)

    def products(
        self, target: Int[Tensor, " batch"], *, keep: bool = False
    ) -> Float[Tensor, "batch layers heads tokens"]:
        """Return the anchor's attention to each token times how far its value speaks for the target; signed.

        Args:
            target: A class, or a contrast of two, for each text.
            keep: Whether another target may follow.

        Raises:
            NoGradientError: If the logits do not lead back to what the heads of each layer read.
        """
        with torch.inference_mode(False), torch.enable_grad():
            explained = logit_of(self._again.float(), target.clone().to(self._again.device)).sum()
            kept = explained.requires_grad
            slopes = torch.autograd.grad(explained, self._read, retain_graph=keep, allow_unused=True) if kept else ()
        known = [slope[:, :, 0] for slope in slopes if slope is not None]
        if len(known) < len(self._read):  # zeros in their place would be wrong: it always reaches the logits
            raise no_gradient(self._name)
        said = [torch.einsum("bhtd,bhd->bht", value, of) for value, of in zip(self._values, known, strict=True)]
        return self._rows * torch.stack(said, 1).float()

    def _given(self, index: int, layer: Layer) -> Layer:
        """Let the heads of a layer give what they read in the text."""
        return Layer(torch.ones_like(layer.probabilities), self._read[index].to(layer.value))


def _of_anchor(model: PreTrainedModel, inputs: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """Return the arguments of a run over the anchor's token alone."""
    alone = {name: tensor.gather(1, index[:, None]) for name, tensor in inputs.items()}
    if index.any() and "position_ids" in inspect.signature(model.forward).parameters:
        alone["position_ids"] = index[:, None]
    return alone


def _check_kind(model: PreTrainedModel, anchor: Anchor) -> None:
    require_one_stack(model)
    check_one_pass(model, "The anchor's stream")
    if POOLINGS[anchor].extent != "one":
        raise UnsupportedModelError(
            f"{type(model).__name__} pools {POOLINGS[anchor].words}; the anchor's stream is followed back along one "
            "token. Along all it would take as long as other gradients: choose grad_sam or generic_relevance."
        )


def _check_same(ours: Tensor, theirs: Tensor, name: str) -> None:
    """Raise if the run over the anchors gave other logits than that over the texts."""
    gap, scale = float((ours - theirs).abs().max()), float(theirs.abs().max())
    if not gap <= 3 * torch.finfo(theirs.dtype).eps ** 0.5 * max(scale, 1.0):
        raise UnsupportedModelError(
            f"More than what its heads read reaches the token that {name} pools: given that alone, its logits differ "
            f"by {gap:.3g}. Choose grad_sam or generic_relevance."
        )
