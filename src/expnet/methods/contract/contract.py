"""The contract of attribution methods: test what a `Method` declares on a small classifier."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from expnet.errors import ContractError
from expnet.methods.coalitions import Game, players, values
from expnet.methods.contract.snapshot import PlantedError, changes, failing, gradients, snapshot, training
from expnet.methods.contract.specimen import tiny_classifier
from expnet.methods.method import Method
from expnet.methods.traced import run_together
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding
from expnet.text.texts import Text

_TEXTS = ("A good film.", "bad", "The first one is long, but the second is short and good!", "Not bad at all?")
# Sums in another order differ by rounding, which layers magnify; a wrong mask or target differs far more.
_RELATIVE = 1e-3


@dataclass(frozen=True, slots=True)
class Report:
    """Measurements of a method that keeps the contract.

    Attributes:
        residual: Largest gap between the sum of the scores and what they should sum to, in logits; None if the
            method is not declared complete.
        difference: The largest such sum, to judge the residual by.
    """

    residual: float | None = None
    difference: float | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    method: Method
    classifier: Classifier
    options: Mapping[str, Any]
    network: nn.Module | None
    encoding: Encoding
    target: Tensor

    def given(self) -> tuple[Tensor, ...]:
        """Return tensors that no method may write to."""
        encoding = self.encoding
        return self.target, encoding.ids, encoding.mask, encoding.special, encoding.offsets, encoding.covers

    def scores(self, *, encoding: Encoding | None = None, target: Tensor | None = None, seed: int = 0) -> Tensor:
        return self.method.attribute(
            self.classifier,
            self.encoding if encoding is None else encoding,
            self.target if target is None else target,
            options=self.options,
            seed=seed,
            network=self.network,
        )


@torch_defaults()
def check_method(
    method: Method,
    classifier: Classifier | None = None,
    *,
    options: Mapping[str, Any] = MappingProxyType({}),
    network: nn.Module | None = None,
    tolerance: float = 0.01,
) -> Report:
    """Try out on a few texts what a method declares and what every method must keep.

    Shape and type, 0 on padding, the same scores alone and in a batch and in any order, nothing changed on the model
    also after an error, reproducible, dependent on the target exactly if declared, not negative unless signed, and
    the sum if declared complete.

    Args:
        method: The method.
        classifier: By default a small random BERT.
        options: What to change of the method's defaults; fewer samples, say.
        network: For methods that need an ExpNet.
        tolerance: Largest residual of a complete method, in its own unit, or as a share of the difference where that
            is more than 1.

    Raises:
        ContractError: With everything in which the method breaks the contract.
        UnsupportedModelError: If the method says that this classifier is not for it.
    """
    classifier = classifier or tiny_classifier()
    encoding = classifier.encode([Text.of(text) for text in _TEXTS])
    target = torch.arange(len(encoding)) % len(classifier.labels)
    case = _Case(method, classifier, options, network, encoding, target)
    before = snapshot(classifier.model, case.given())
    scores = case.scores()
    touched = [f"{what} is not as before" for what in changes(before, snapshot(classifier.model, case.given()))]
    if broken := [*touched, *_form(case, scores)]:  # nothing else makes sense then
        raise ContractError(_message(method, broken))
    broken = [problem for check in _CHECKS for problem in _problems(check, case, scores)]
    report = _completeness(case, scores) if method.complete else Report()
    if report.residual is not None and report.difference is not None:
        allowed = tolerance * max(1.0, report.difference)
        if report.residual > allowed:
            broken.append(
                f"scores miss the difference they should sum to by {report.residual:.2g} where at most "
                f"{allowed:.2g} is allowed"
            )
    if broken:
        raise ContractError(_message(method, broken))
    return report


def _message(method: Method, broken: Sequence[str]) -> str:
    return f"The method {method.name!r} breaks the contract: {'; '.join(broken)}."


def _problems(check: "_Check", case: _Case, scores: Tensor) -> list[str]:
    """Return what a check finds; an error that a method raises under it is a finding too."""
    try:
        return list(check(case, scores))
    except Exception as error:
        return [f"it raised {type(error).__name__} ({error}) {check.__doc__}"]


def _form(case: _Case, scores: Tensor) -> Iterator[str]:
    expected = tuple(case.encoding.ids.shape)
    if not isinstance(scores, Tensor) or tuple(scores.shape) != expected:
        yield f"it returned {tuple(getattr(scores, 'shape', ()))}, expected a tensor of shape {expected}"
    elif scores.dtype != torch.float32 or scores.device.type != "cpu" or scores.requires_grad:
        yield f"it returned {scores.dtype} on {scores.device}, expected float32 on the CPU, without a graph"
    elif not scores.isfinite().all():
        yield f"{int((~scores.isfinite()).sum())} scores are NaN or infinite"


def _countable(case: _Case, _scores: Tensor) -> Iterator[str]:
    """when its passes were counted."""
    longest = int(case.encoding.real.sum(1).max())
    for count in case.method.passes(tokens=longest, layers=3, options=case.options):
        if count < 0:
            yield f"it declares {count} passes"


def _zeros(case: _Case, scores: Tensor) -> Iterator[str]:
    """on padding."""
    if (wrong := scores[~case.encoding.real]).any():
        yield f"{int((wrong != 0).sum())} scores on special tokens or padding are not 0"


def _alone(case: _Case, scores: Tensor) -> Iterator[str]:
    """on one text alone."""
    for index, text in enumerate(case.encoding.texts):
        single = case.scores(encoding=case.classifier.encode([text]), target=case.target[index : index + 1])
        if gap := _gap(single[0], scores[index, : single.shape[1]], scale=float(scores.abs().max())):
            yield f"{text.text!r} scores differently alone and in a batch, by {gap:.2g}"


def _order(case: _Case, scores: Tensor) -> Iterator[str]:
    """on another order of texts."""
    order = list(reversed(range(len(case.encoding))))
    turned = case.scores(
        encoding=case.classifier.encode([case.encoding.texts[index] for index in order]), target=case.target[order]
    )
    if gap := _gap(turned, scores[order]):
        yield f"scores change by {gap:.2g} when the batch is turned round"


def _repeatable(case: _Case, scores: Tensor) -> Iterator[str]:
    """when called again."""
    if not torch.equal(case.scores(), scores):
        yield "the same call gave other scores" + ("" if case.method.deterministic else " with the same seed")
    if case.method.deterministic == ("generator" in case.method.supplied):
        yield f"it is declared deterministic={case.method.deterministic}, but takes " + (
            "a generator" if case.method.deterministic else "no generator"
        )
    elif not case.method.deterministic and torch.equal(case.scores(seed=1), scores):
        yield "another seed gave the same scores"


def _targets(case: _Case, scores: Tensor) -> Iterator[str]:
    """for another target."""
    classes = len(case.classifier.labels)
    if classes == 1:
        return
    other = case.scores(target=(case.target + 1) % classes)
    if case.method.uses_target and not _gap(other, scores):
        yield "it is declared to use the target, but another class has the same scores"
    if not case.method.uses_target and not torch.equal(other, scores):
        yield "it is declared not to use the target, but another class has other scores"
    if not case.method.signed and min(float(other.min()), float(scores.min())) < 0:
        yield "it is declared unsigned, but some scores are negative"


def _modes(case: _Case, scores: Tensor) -> Iterator[str]:
    """where the model trained, the caller was in inference mode, or several threads called."""
    with training(case.classifier.model):
        trained = case.scores()
    if _gap(trained, scores):
        yield "a model in training mode gives other scores"
    with torch.inference_mode():
        encoding = case.classifier.encode(case.encoding.texts)
        inferred = case.scores(encoding=encoding, target=case.target.clone())
    if _gap(inferred, scores):
        yield "a caller in inference mode gets other scores"
    with ThreadPoolExecutor(3) as pool:
        concurrent = list(pool.map(lambda _: case.scores(), range(3)))
    if any(_gap(other, scores) for other in concurrent):
        yield "threads that run it at once get other scores"


def _untouched(case: _Case, scores: Tensor) -> Iterator[str]:
    """where the model had gradients."""
    model = case.classifier.model
    with training(model), gradients(model):
        before = snapshot(model, case.given())
        case.scores()
        yield from (f"{what} is not as before" for what in changes(before, snapshot(model, case.given())))
        for place, module in (("first", model.base_model), ("last", model)):
            with failing(module) as reached:
                try:
                    case.scores()
                except PlantedError:
                    pass
                else:
                    if reached:
                        yield "an error of the model was swallowed"
            changed = changes(before, snapshot(model, case.given()))
            yield from (f"{what} is not as before, after an error in the model's {place} module" for what in changed)


def _predicts(case: _Case, scores: Tensor) -> Iterator[str]:
    """in the pass that predicts."""
    method, classifier, classes = case.method, case.classifier, len(case.classifier.labels)
    run = method.traced(classifier, options=case.options, network=case.network)
    if run is None or classifier.hypotheses is not None:  # zero-shot labels take a pass each
        return
    if method.uses_target and not method.shares_forward:
        yield "it reads a pass that can be had for all classes, but does not declare shares_forward=True"
    start = 0

    def choose(part: Encoding, _logits: Tensor) -> Tensor:
        nonlocal start
        start += len(part)
        target = case.target[start - len(part) : start]
        return torch.stack([(target + 1) % classes, target])

    logits, _, (both,) = run_together(classifier, case.encoding, choose, [run])
    if gap := _gap(both[-1], scores):
        yield f"scores differ by {gap:.2g} from those that it has by itself"
    predicted = classifier.predict(case.encoding).outputs
    if gap := _gap(classifier.prediction(case.encoding, logits).outputs, predicted):
        yield f"that pass predicts something else than the model, by {gap:.2g}"


def _completeness(case: _Case, scores: Tensor) -> Report:
    """Compare sums with what a text is worth beyond the same text without its tokens."""
    settings = {name: parameter.default for name, parameter in case.method.options.items()} | dict(case.options)
    player_of = players(case.encoding, "token")
    worth = settings.get("output", "logit")
    game = Game(case.classifier, case.encoding, case.target, player_of, settings["replacement"], worth)
    without, whole = values(game, torch.stack([torch.zeros_like(game.everyone), game.everyone], dim=1)).unbind(1)
    expected = whole - without
    residual = float((scores.sum(1) - expected).abs().max())
    return Report(residual, float(expected.abs().max()))


_Check = Callable[[_Case, Tensor], Iterator[str]]
_CHECKS: tuple[_Check, ...] = (
    _countable,
    _zeros,
    _alone,
    _order,
    _repeatable,
    _targets,
    _modes,
    _untouched,
    _predicts,
)


def _gap(actual: Tensor, expected: Tensor, *, scale: float | None = None) -> float:
    """Return the largest difference if it is more than rounding of scores of that scale, else 0."""
    gap = float((actual - expected).abs().max())
    return gap if gap > _RELATIVE * (float(expected.abs().max()) if scale is None else scale) else 0.0
