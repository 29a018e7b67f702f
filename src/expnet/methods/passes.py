"""What methods share: batches of windows, graphs, and randomness that belongs to the text."""

import functools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Concatenate, ParamSpec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.targets import logit_of
from expnet.errors import InputError
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

Options = ParamSpec("Options")
Attribution = Callable[Concatenate[Classifier, Encoding, Tensor, Options], Tensor]


def by_part(*, repeats: int | Callable[[int], int] = 1) -> Callable[[Attribution[Options]], Attribution[Options]]:
    """Let a method be written for windows that fit one forward pass, and take as many as there are.

    The decorated function is called as `score_parts` says, each time with the same options. A `generator` among them
    is put back before each part: what is drawn for a text must not depend on the texts before it.

    Args:
        repeats: How many copies of each window the function runs at once, or how to tell from the tokens of the
            longest window.
    """

    def decorate(function: Attribution[Options]) -> Attribution[Options]:
        @functools.wraps(function)
        def attribute(
            classifier: Classifier,
            encoding: Encoding,
            target: Tensor,
            /,
            *args: Options.args,
            **options: Options.kwargs,
        ) -> Tensor:
            generator = options.get("generator")
            state = generator.get_state() if isinstance(generator, torch.Generator) else None

            def score(part: Encoding, of_part: Tensor) -> Tensor:
                if isinstance(generator, torch.Generator) and state is not None:
                    generator.set_state(state)
                return function(classifier, part, of_part, *args, **options)

            copies = repeats(encoding.ids.shape[1]) if callable(repeats) else repeats
            return score_parts(encoding, target, score, repeats=copies)

        return attribute

    return decorate


def score_parts(
    encoding: Encoding, target: Int[Tensor, " batch"], score: Callable[[Encoding, Tensor], Tensor], *, repeats: int = 1
) -> Float[Tensor, "batch tokens"]:
    """Score an encoding part by part, in batches that fit one forward pass, and put the parts together.

    Args:
        encoding: Windows.
        target: A class for each window.
        score: Takes a part, padding trimmed, and its targets; returns [batch, tokens], in any type, on any device.
        repeats: How many copies of each window the function runs at once.

    Returns:
        float32 on the CPU; 0 on special tokens and padding.
    """
    if target.shape != encoding.text_of.shape:
        raise InputError(f"Expected a target for each of {len(encoding)} windows, got {tuple(target.shape)}.")
    scores = torch.zeros(encoding.ids.shape)
    start = 0
    for part in batches(encoding, repeats=repeats):
        stop, width = start + len(part), part.ids.shape[1]
        scores[start:stop, :width] = masked(score(part, target[start:stop]), part)
        start = stop
    return scores


def masked(scores: Tensor, part: Encoding) -> Float[Tensor, "batch tokens"]:
    """Return scores as float32 on the CPU, out of any graph; 0 on special tokens and padding."""
    return scores.detach().float().cpu().masked_fill(~part.real, 0.0)


@contextmanager
def differentiable() -> Iterator[None]:
    """Build a graph whatever mode the caller is in."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def inputs_of(part: Encoding, device: torch.device | str, *, copies: int = 1) -> dict[str, Tensor]:
    """Return the model's arguments, each window `copies` times in a row.

    They are copies, because autograd cannot use tensors that a caller made in inference mode.
    """
    return {name: tensor.repeat_interleave(copies, 0).clone() for name, tensor in part.inputs(device).items()}


def of_target(logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return each row's logit of its target, a class or a contrast of two; see `expnet.attention.targets`."""
    # A copy, because a caller's tensor may come from inference mode.
    return logit_of(logits.float(), target.clone().to(logits.device))


def generator_of(part: Encoding, row: int, seed: int) -> torch.Generator:
    """Return a source of randomness that depends on the seed and the window's tokens, not on its place in a batch."""
    content = torch.cat([torch.tensor([seed]), part.ids[row][part.mask[row]]])
    return torch.Generator().manual_seed(zlib.crc32(content.numpy().tobytes()))


def seed_of(generator: torch.Generator) -> int:
    """Draw a seed, once for a call."""
    return int(torch.randint(2**62, (), generator=generator))
