"""Gradients of the target's logit with respect to the embeddings of the tokens."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.gradients import gradients
from expnet.attention.intercept import run
from expnet.errors import UnsupportedModelError
from expnet.methods.method import Method, at_least
from expnet.methods.passes import by_part, differentiable, generator_of, inputs_of, of_target, seed_of
from expnet.methods.replacement import Baseline, baseline_embedding
from expnet.methods.shared_pass import PassNeeds, PassTrace
from expnet.methods.traced import by_trace
from expnet.model.capacity import budget
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

# From the embeddings of some copies of each window and which copies they are, to where the gradient is taken and
# what it is multiplied with, both [batch, copies, tokens, width].
Place = Callable[[Tensor, range], tuple[Tensor, Tensor]]


def _embeddings(_options: Mapping[str, Any]) -> PassNeeds:
    return PassNeeds(embeddings=True, slopes=True)


@by_trace(_embeddings)
def saliency(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    trace: PassTrace,
    norm: Literal["l2", "l1"] = "l2",
) -> Float[Tensor, "batch tokens"]:
    """Score each token by the length of its gradient: how much a small change of it would matter.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        trace: The pass.
        norm: Length as the root of squares, or as the sum of absolute values.
    """
    gradient = trace.slopes.embeddings
    length: Tensor = torch.linalg.vector_norm(gradient, ord=2 if norm == "l2" else 1, dim=-1)
    return length


SALIENCY = Method(
    name="saliency",
    family="gradient",
    measures="How fast the output changes with a small change of the word",
    function=saliency,
    paper="Simonyan et al. 2013, arXiv:1312.6034",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=False,
    uses_target=True,
)


@by_trace(_embeddings)
def input_x_gradient(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, trace: PassTrace
) -> Float[Tensor, "batch tokens"]:
    """Score each token by its embedding times its gradient; signed.

    Raises:
        UnsupportedModelError: If the model normalises embeddings at once, so that the product is 0 for every text.
    """
    raw = classifier.embeddings[part.ids].float().cpu()
    gradient = trace.slopes.embeddings.cpu()
    products = (gradient * raw).sum(-1)
    lengths = torch.linalg.vector_norm(gradient, dim=-1) * torch.linalg.vector_norm(raw, dim=-1)
    if (products.abs() <= 1e-3 * lengths).all() and _ignores_scale(classifier, part):
        raise UnsupportedModelError(
            f"{type(classifier.model).__name__} normalises word embeddings before it adds anything to them: their "
            "scale changes nothing, so that gradient times embedding is 0 for every text. Saliency and integrated "
            "gradients work."
        )
    return products


INPUT_X_GRADIENT = Method(
    name="input_x_gradient",
    family="gradient",
    measures="How much the word adds to the output, if the output were a straight line",
    function=input_x_gradient,
    paper="Shrikumar et al. 2016, arXiv:1605.01713",
    forward="1",
    backward="1",
    shares_forward=True,
    signed=True,
    uses_target=True,
)


@by_part()
def integrated_gradients(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    replacement: Baseline = "mask",
    steps: int = 50,
) -> Float[Tensor, "batch tokens"]:
    """Add up gradients on the straight line from a text without its tokens to the text; signed, complete.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        replacement: What stands for each token at the start; special tokens stay.
        steps: Points of the Gauss–Legendre quadrature.

    Raises:
        OptionError: If there is no step, or the tokenizer has no mask token.
    """
    at_least(1, steps=steps)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alphas = torch.tensor((nodes + 1) / 2, dtype=torch.float32)
    base = baseline_embedding(classifier, replacement)

    def place(raw: Tensor, copies: range) -> tuple[Tensor, Tensor]:
        way = (raw - base) * part.real.to(raw.device)[:, None, :, None]
        return raw - way * (1 - alphas[copies.start : copies.stop, None, None].to(raw)), way

    return weighted_gradient(classifier, part, target, (weights / 2).tolist(), place).sum(-1)


INTEGRATED_GRADIENTS = Method(
    name="integrated_gradients",
    family="gradient",
    measures="How much the word adds to the output on the way from an empty text",
    function=integrated_gradients,
    paper="Sundararajan et al. 2017, arXiv:1703.01365",
    forward="steps",
    backward="steps",
    signed=True,
    uses_target=True,
    complete=True,
)


@by_part()
def smooth_grad(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    generator: torch.Generator,
    samples: int = 25,
    noise: float = 0.15,
) -> Float[Tensor, "batch tokens"]:
    """Score each token by the L2 norm of its gradient, averaged over noisy copies of the text.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        generator: Source of the noise.
        samples: Noisy copies.
        noise: Standard deviation of the noise, as a share of the range of the text's embeddings.

    Raises:
        OptionError: If there is no sample, or the noise is negative.
    """
    at_least(1, samples=samples)
    at_least(0, noise=noise)
    seed, weights = seed_of(generator), [1 / samples] * samples
    draw = _noise(part, seed)

    def place(raw: Tensor, copies: range) -> tuple[Tensor, Tensor]:
        return raw + noise * _range(raw, part) * draw(raw, copies), torch.ones_like(raw)

    length: Tensor = torch.linalg.vector_norm(weighted_gradient(classifier, part, target, weights, place), dim=-1)
    return length


SMOOTH_GRAD = Method(
    name="smooth_grad",
    family="gradient",
    measures="How fast the output changes with a small change of the word, averaged over noisy copies of the text",
    function=smooth_grad,
    paper="Smilkov et al. 2017, arXiv:1706.03825",
    forward="samples",
    backward="samples",
    signed=False,
    uses_target=True,
    deterministic=False,
)


@by_part()
def gradient_shap(
    classifier: Classifier,
    part: Encoding,
    target: Int[Tensor, " batch"],
    *,
    generator: torch.Generator,
    replacement: Baseline = "mask",
    samples: int = 25,
    noise: float = 0.05,
) -> Float[Tensor, "batch tokens"]:
    """Average gradients at random points between a text without its tokens and noisy copies of the text; signed.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        generator: Source of the noise and of the points.
        replacement: What stands for each token at the start; special tokens stay.
        samples: Random points.
        noise: Standard deviation of the noise, as a share of the range of the text's embeddings.

    Raises:
        OptionError: If there is no sample, the noise is negative, or the tokenizer has no mask token.
    """
    at_least(1, samples=samples)
    at_least(0, noise=noise)
    seed, weights = seed_of(generator), [1 / samples] * samples
    base = baseline_embedding(classifier, replacement)
    draw = _noise(part, seed)
    places = [torch.rand(samples, generator=generator_of(part, row, seed + 1)) for row in range(len(part))]
    alphas = torch.stack(places)[:, :, None, None]

    def place(raw: Tensor, copies: range) -> tuple[Tensor, Tensor]:
        real = part.real.to(raw.device)[:, None, :, None]
        way = (raw + noise * _range(raw, part) * draw(raw, copies) - base) * real
        start = torch.where(real, base, raw)
        return start + alphas[:, copies.start : copies.stop].to(raw) * way, way

    return weighted_gradient(classifier, part, target, weights, place).sum(-1)


GRADIENT_SHAP = Method(
    name="gradient_shap",
    family="gradient",
    measures="How much the word adds to the output on the way from an empty text, averaged over noisy copies",
    function=gradient_shap,
    paper="Lundberg and Lee 2017, arXiv:1705.07874",
    forward="samples",
    backward="samples",
    signed=True,
    uses_target=True,
    deterministic=False,
)


def weighted_gradient(
    classifier: Classifier, part: Encoding, target: Tensor, weights: list[float], place: Place
) -> Float[Tensor, "batch tokens width"]:
    """Return the weighted sum over copies of gradient times factor, as many copies in a pass as there is room for."""
    model, total = classifier.model, torch.zeros(())
    room = max(1, budget(model.device, copies=True) // part.ids.numel())
    for start in range(0, len(weights), room):
        copies = range(start, min(start + room, len(weights)))
        placed: list[Tensor] = []

        def embed(raw: Tensor, copies: range = copies, placed: list[Tensor] = placed) -> Tensor:
            point, factor = place(raw.detach().unflatten(0, (-1, len(copies))), copies)
            placed.extend((point.flatten(0, 1).requires_grad_(), factor))
            return placed[0]

        with differentiable():
            inputs = inputs_of(part, model.device, copies=len(copies))
            chosen = of_target(run(model, inputs, embed=embed).logits, target.repeat_interleave(len(copies)))
            (gradient,) = gradients(model, chosen.sum(), placed[:1])
        share = torch.tensor(weights[copies.start : copies.stop]).to(gradient)[:, None, None]
        total = total + (gradient.unflatten(0, (-1, len(copies))) * placed[1] * share).sum(1).cpu()
    return total


def _ignores_scale(classifier: Classifier, part: Encoding) -> bool:
    with torch.inference_mode():
        inputs = part.inputs(classifier.model.device)
        once = run(classifier.model, inputs).logits
        twice = run(classifier.model, inputs, embed=lambda raw: 2 * raw).logits
    return torch.allclose(once, twice, rtol=1e-2, atol=1e-3)


def _range(raw: Tensor, part: Encoding) -> Float[Tensor, "batch 1 1 1"]:
    """Return the largest minus the smallest number in the embeddings of a text, padding left out."""
    padding = ~part.mask.to(raw.device)[:, None, :, None]
    most = raw.masked_fill(padding, -torch.inf).amax((1, 2, 3), keepdim=True)
    return most - raw.masked_fill(padding, torch.inf).amin((1, 2, 3), keepdim=True)


def _noise(part: Encoding, seed: int) -> Callable[[Tensor, range], Tensor]:
    """Return standard normal noise on the tokens of each text; copies must be asked for in order."""
    generators = [generator_of(part, row, seed) for row in range(len(part))]
    lengths = part.mask.sum(1).tolist()

    def draw(raw: Tensor, copies: range) -> Tensor:
        drawn = torch.zeros(raw.shape)
        for row, length in enumerate(lengths):
            for copy in range(len(copies)):  # one by one, so that a copy does not depend on how many share a pass
                drawn[row, copy, :length] = torch.randn(length, raw.shape[-1], generator=generators[row])
        return drawn.to(raw) * part.real.to(raw.device)[:, None, :, None]

    return draw
