"""Methods that read a pass which somebody else runs: the one that predicts, or one for several methods.

A method says what it reads of the pass (`by_trace`), and gets that as its argument `trace`. So it runs in the pass that
predicts; its backward pass, if it has one, starts from the class that this very pass predicts.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.methods.passes import by_part, masked
from expnet.methods.shared_pass import OwnPass, PassNeeds, PassTrace, SharedPass
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.model.prediction import refuse_not_finite
from expnet.text.encoding import Encoding

Function = TypeVar("Function", bound=Callable[..., Any])
Scoring = Callable[..., Tensor]
Needs = Callable[[Mapping[str, Any]], PassNeeds]


def needs_of(function: Callable[..., Any], settings: Mapping[str, Any]) -> PassNeeds | None:
    """Return what a function reads of a pass with some options; None if it runs its own passes, whatever they are."""
    needs: Needs | None = getattr(function, "needs", None)
    return None if needs is None else needs({**defaults(function), **settings})


def has_needs(function: Callable[..., Any]) -> bool:
    """Return whether a function says what it reads of a pass."""
    return hasattr(function, "needs")


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of a function that have a default."""
    parameters = parameters_of(function)
    return {name: each.default for name, each in parameters.items() if each.default is not each.empty}


@functools.lru_cache(maxsize=256)  # reading a signature takes as long as explaining some words
def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function."""
    return inspect.signature(function).parameters


def reads(needs: Needs) -> Callable[[Function], Function]:
    """Let a function say what it reads of a pass, which it gets as `trace` if somebody else ran one, and else runs."""

    def declare(function: Function) -> Function:
        function.needs = needs  # type: ignore[attr-defined]  # for `needs_of`
        return function

    return declare


def by_trace(needs: Needs) -> Callable[[Scoring], Scoring]:
    """Let a method be written for a pass that somebody else may run: the one that predicts, or one for several methods.

    The decorated function is called with windows that fit one pass, their targets, and `trace`, a `PassTrace`, by name.
    Whoever calls it without a trace gets a pass for this method alone.

    Args:
        needs: From the options to what the function reads.
    """

    def decorate(function: Scoring) -> Scoring:
        @functools.wraps(function)
        def attribute(classifier: Classifier, encoding: Encoding, target: Tensor, **options: Any) -> Tensor:
            if options.get("trace") is not None:
                return masked(function(classifier, encoding, target, **options), encoding)
            wanted = needs({**defaults(function), **options})

            @by_part(repeats=wanted.copies)
            def alone(classifier: Classifier, part: Encoding, of_part: Tensor, /, **given: Any) -> Tensor:
                given["trace"] = SharedPass(classifier, part, wanted).toward(of_part)
                return function(classifier, part, of_part, **given)

            return alone(classifier, encoding, target, **options)

        return reads(needs)(attribute)

    return decorate


@dataclass(frozen=True, slots=True)
class TracedRun:
    """A method with its options, ready to read a pass.

    Attributes:
        needs: What it reads.
        attribute: Takes windows, their targets and the pass; returns scores of tokens.
        uses_target: Whether the scores depend on the target.
    """

    needs: PassNeeds
    attribute: Callable[[Encoding, Tensor, PassTrace], Tensor]
    uses_target: bool


def run_together(
    classifier: Classifier,
    encoding: Encoding,
    choose: Callable[[Encoding, Tensor], Int[Tensor, "targets batch"]],
    runs: Sequence[TracedRun],
) -> tuple[Float[Tensor, "batch classes"], Int[Tensor, "targets batch"], list[Float[Tensor, "some batch tokens"]]]:
    """Run one forward pass for all methods that can share one, and a backward pass for each target that they need.

    Args:
        classifier: The classifier; not a zero-shot one, whose labels take a pass each.
        encoding: Windows.
        choose: Takes windows and their logits, and returns their targets; called for one part of the windows after the
            other, each time for the same number of targets.
        runs: One method at least.

    Returns:
        Logits, targets, and of each method the scores of each target; of one target, if they do not depend on it.

    Raises:
        NonFiniteError: If the model returns NaN or infinity.
    """
    groups = _groups(runs)
    parts = [
        _run_part(classifier, part, choose, runs, groups)
        for part in batches(encoding, repeats=max(run.needs.copies for run in runs))
    ]
    logits, targets, scores = zip(*parts, strict=True)
    width = encoding.ids.shape[1]

    def join(of_parts: Iterable[Tensor]) -> Tensor:
        return torch.cat([F.pad(part, (0, width - part.shape[2])) for part in of_parts], 1)

    return torch.cat(logits), torch.cat(targets, 1), [join(of_run) for of_run in zip(*scores, strict=True)]


def _groups(runs: Sequence[TracedRun]) -> list[tuple[PassNeeds, list[int]]]:
    """Return what the methods that share a pass read, and which they are; passes of a method's own come last."""
    groups: dict[OwnPass | None, tuple[PassNeeds, list[int]]] = {}
    for number, run_ in sorted(enumerate(runs), key=lambda pair: pair[1].needs.own is not None):
        needs, members = groups.get(run_.needs.own, (run_.needs, []))
        groups[run_.needs.own] = needs | run_.needs, [*members, number]
    return list(groups.values())


def _run_part(
    classifier: Classifier,
    part: Encoding,
    choose: Callable[[Encoding, Tensor], Tensor],
    runs: Sequence[TracedRun],
    groups: Sequence[tuple[PassNeeds, list[int]]],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    logits, targets, scores = torch.empty(0), torch.empty(0), [list[Tensor]() for _ in runs]
    for place, (needs, members) in enumerate(groups):
        done = SharedPass(classifier, part, needs)
        if place == 0:
            logits = done.logits.cpu()
            refuse_not_finite(logits, part)
            targets = choose(part, logits)
        times = len(targets) if any(runs[number].uses_target for number in members) else 1
        for turn, target in enumerate(targets[:times], start=1):
            trace = done.toward(target, keep=turn < times)
            for number in members:
                if turn == 1 or runs[number].uses_target:
                    scores[number].append(runs[number].attribute(part, target, trace))
    return logits, targets, [torch.stack(of_run) for of_run in scores]
