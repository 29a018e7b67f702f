"""All that one forward pass says of each head and token, and what a backward pass from the target's logit adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.anchor import Anchor, PooledTokens
from expnet.attention.capture import Backend, each_layer
from expnet.attention.fused_layer import FusedLayer, FusedScores, Together
from expnet.attention.gradients import gradients
from expnet.attention.intercept import Layer, run
from expnet.attention.stack import Stack
from expnet.attention.targets import logit_of
from expnet.errors import UnsupportedModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one backward pass from the target's logit says.

    Attributes:
        gradients: Slope of the logit along the anchor's attention to each token; signed.
        products: The same times that attention; signed.
        received: Positive part of attention times slope that each token receives, averaged over the real tokens.
        relevance: The anchor's row of generic relevance (Chefer et al. 2021); see `methods.attention_gradient`.
        slopes: Length of the gradient with respect to each token's embedding.
        differences: What each token adds to the logit, compared with a text of which nothing is left; only of a
            `DifferencePass`, whose multipliers stand for gradients in all of the above.
    """

    gradients: Float[Tensor, "batch layers heads tokens"]
    products: Float[Tensor, "batch layers heads tokens"]
    received: Float[Tensor, "batch layers heads tokens"]
    relevance: Float[Tensor, "batch tokens"]
    slopes: Float[Tensor, "batch tokens"]
    differences: Float[Tensor, "batch tokens"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What one forward pass says of each head and token, in natural logarithms; without meaning on padding.

    Attributes:
        logits: As the model gives them.
        rows: What the anchor pays to the token.
        columns: What the token pays to the anchor.
        received: What the real tokens pay to it on average.
        own: What it pays to itself.
        norms: Length of the head's value vector as the layer's output projection passes it on, or of the vector
            itself where no projection was seen.
        carried: Length of the vector that all heads together carry from the token to the anchor.
        evidence: The gradients, if they were asked for.
    """

    logits: Float[Tensor, "batch classes"]
    rows: Float[Tensor, "batch layers heads tokens"]
    columns: Float[Tensor, "batch layers heads tokens"]
    received: Float[Tensor, "batch layers heads tokens"]
    own: Float[Tensor, "batch layers heads tokens"]
    norms: Float[Tensor, "batch layers heads tokens"]
    carried: Float[Tensor, "batch layers tokens"]
    evidence: Evidence | None = None


def attention_signals(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], *, anchor: Anchor, backend: Backend
) -> Signals:
    """Run one forward pass; the arguments and errors are those of `capture`.

    The fused backend builds no tokens × tokens matrix; the eager one holds those of all layers at once.
    """
    layers: list[FusedLayer | Layer] = []
    logits = each_layer(model, inputs, layers.append, backend=backend, project=True, inference=True)
    return signals_of(logits, layers, PooledTokens.of(model, inputs, anchor))


def gradient_signals(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], target: Int[Tensor, " batch"] | None, *, anchor: Anchor
) -> Signals:
    """Run one forward pass with attention in the open, and one backward pass from each text's target logit.

    Without a target, from its largest logit. A caller may be in inference mode.

    Raises:
        UnsupportedModelError: If the model's embeddings or attention cannot be reached.
        NoGradientError: If the logits do not lead back to the tokens.
    """
    done = GradientPass(model, inputs)
    return done.signals(done.slopes(target), anchor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """The gradient of each text's target logit.

    Attributes:
        matrices: Along each attention matrix of the model, if they are in the open.
        embeddings: With respect to the tokens' embeddings.
        others: At further points of the graph, as they were asked for.
    """

    matrices: list[Float[Tensor, "batch heads tokens tokens"]]
    embeddings: Float[Tensor, "batch tokens width"]
    others: list[Tensor]


class GradientPass:
    """One forward pass whose graph takes a backward pass from any number of targets.

    A caller may be in inference mode.
    """

    def __init__(self, model: PreTrainedModel, inputs: Mapping[str, Tensor], *, matrices: bool = True) -> None:
        """Run the forward pass; the errors are those of `gradient_signals`.

        Args:
            model: A sequence classifier. It comes back as it was.
            inputs: Its keyword arguments; `attention_mask` is needed.
            matrices: Whether attention runs in the open, or fused.
        """
        leaves: list[Tensor] = []

        def embed(raw: Tensor) -> Tensor:
            leaves.append(raw.detach().requires_grad_())  # the weights are constants: the embeddings carry the graph
            return leaves[-1]

        with torch.inference_mode(False), torch.enable_grad():
            # No graph can hold tensors made in inference mode; their copies are plain ones.
            self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}
            self._pass = run(model, self._inputs, embed=embed, attend=(lambda _, layer: layer) if matrices else None)
        self._model, self._embeddings = model, leaves[-1]
        self._without: Signals | None = None

    @property
    def logits(self) -> Float[Tensor, "batch classes"]:
        """As the model gives them."""
        return self._pass.logits.detach()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """What each attention computed, out of the graph; none unless matrices are in the open."""
        with torch.inference_mode(False):
            return tuple(
                replace(layer, probabilities=layer.probabilities.detach(), value=layer.value.detach())
                for layer in self._pass.layers
            )

    def slopes(
        self,
        target: Int[Tensor, " batch"] | None,
        *,
        embeddings: bool = True,
        others: Sequence[Tensor] = (),
        keep: bool = False,
    ) -> Slopes:
        """Run a backward pass from each text's target logit, or its largest.

        Args:
            target: A class, or a contrast of two, for each text.
            embeddings: Whether to go down to the embeddings; without, theirs are zeros.
            others: Further points of the graph.
            keep: Whether another backward pass may follow.

        Raises:
            NoGradientError: If the logits do not lead back to the tokens.
        """
        maps = [layer.probabilities for layer in self._pass.layers]
        last = [self._embeddings] if embeddings else []
        with torch.inference_mode(False), torch.enable_grad():
            logits = self._pass.logits.float()
            explained = (logits.amax(1) if target is None else logit_of(logits, target.clone())).sum()
            slopes = gradients(self._model, explained, [*maps, *others, *last], keep=keep)
            zeros = slopes[-1] if embeddings else torch.zeros_like(self._embeddings)
        stop = len(maps) + len(others)
        return Slopes(matrices=slopes[: len(maps)], embeddings=zeros, others=slopes[len(maps) : stop])

    def signals(self, slopes: Slopes, anchor: Anchor) -> Signals:
        """Return what the pass and a backward pass down to the embeddings say."""
        with torch.inference_mode(False), torch.no_grad():
            pooled, stack, layers = (
                PooledTokens.of(self._model, self._inputs, anchor),
                Stack.of(self._model),
                self.layers,
            )
            if self._without is None:  # what the forward pass alone says is the same for every target
                self._without = signals_of(self.logits, stack.reading(layers), pooled)
            maps = [layer.probabilities for layer in layers]
            return replace(self._without, evidence=evidence_of(maps, slopes.matrices, slopes.embeddings, pooled, stack))


@torch.no_grad()
def signals_of(logits: Tensor, layers: Sequence[FusedLayer | Layer], pooled: PooledTokens) -> Signals:
    """Return what the attention layers in which the anchor reads the text say, without evidence."""
    parts: list[tuple[Tensor, ...]] = []

    def read(scores: FusedScores | Layer, of: Sequence[FusedLayer | Layer]) -> None:
        row, column, received = pooled.attention(scores, received=True)
        assert received is not None
        norms, carried = _values(of, row)
        heads = (row, column, received.log(), scores.log_own().float(), norms.log())
        parts.append((*(some.unflatten(1, (len(of), -1)) for some in heads), carried.log()))

    together = Together(read)
    for layer in layers:
        together.add(layer)
    together.done()
    rows, columns, received, own, norms, carried = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    return Signals(logits=logits, rows=rows, columns=columns, received=received, own=own, norms=norms, carried=carried)


def _values(layers: Sequence[FusedLayer | Layer], log_row: Tensor) -> tuple[Tensor, Tensor]:
    """Return how long each head's value vectors are, and what each of the layers carries.

    Args:
        layers: Those with projections of one shape, or a single one.
        log_row: Of the heads of all, one layer after the other, [batch heads tokens].
    """
    value = layers[0].value.float() if len(layers) == 1 else torch.cat([layer.value.float() for layer in layers], 1)
    joined = (log_row.exp()[..., None] * value).unflatten(1, (len(layers), -1)).transpose(2, 3).flatten(3)
    try:
        projections = [layer.output_projection().float() for layer in layers]
    except UnsupportedModelError:
        return value.norm(dim=-1), joined.norm(dim=-1)
    # |W v|² = v' (W'W) v, which never builds a vector of the model's width for each head and token.
    grams = torch.cat([_gram(projection, layers[0].value) for projection in projections])
    flat = value.transpose(0, 1).flatten(1, 2)  # one product a head: spread over texts, the matrices were copied
    squares = torch.linalg.vecdot(flat @ grams, flat)
    squares = squares.unflatten(1, (value.shape[0], value.shape[2])).transpose(0, 1)
    carried = [of @ projection.T for of, projection in zip(joined.unbind(1), projections, strict=True)]
    return squares.clamp(min=0).sqrt(), torch.stack(carried, 1).norm(dim=-1)


def _gram(projection: Tensor, value: Tensor) -> Tensor:
    by_head = projection.unflatten(1, (value.shape[1], value.shape[3]))
    return torch.einsum("ehi,ehj->hij", by_head, by_head)


def evidence_of(
    maps: Sequence[Tensor], slopes_of_maps: Sequence[Tensor], slopes: Tensor, pooled: PooledTokens, stack: Stack
) -> Evidence:
    """Return what slopes along attention matrices and at the tokens say of the tokens that the anchor reads."""
    row, shares = pooled.weights.to(slopes), pooled.shares.to(slopes)
    all_products = [a * g for a, g in zip(maps, slopes_of_maps, strict=True)]
    products = stack.reading(all_products)

    def pass_on(product: Tensor, below: Tensor) -> Tensor:
        return (below[:, None] @ product.clamp(min=0).mean(1))[:, 0]

    def mixed(weights: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        return torch.stack([torch.einsum("bi,bhij->bhj", weights, matrix) for matrix in matrices], 1).float()

    return Evidence(
        gradients=mixed(row, stack.reading(slopes_of_maps)),
        products=mixed(row, products),
        received=mixed(shares, [product.clamp(min=0) for product in products]),
        relevance=stack.roll(row, all_products, pass_on).float(),
        slopes=slopes.float().norm(dim=-1),
    )
