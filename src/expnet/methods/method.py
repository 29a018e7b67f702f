"""What an attribution method is: a function, and what it declares about itself."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from expnet.errors import MethodError, OptionError, did_you_mean
from expnet.methods.cost import passes
from expnet.methods.shared_pass import PassTrace
from expnet.methods.traced import TracedRun, has_needs, needs_of, parameters_of
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding

Family = Literal[
    "control", "attention", "gradient", "attention-gradient", "propagation", "perturbation", "surrogate", "learned"
]
# What the work of a method grows with.
Cost = Literal["passes", "quadratic"]

# Options that the caller does not choose: randomness comes with a seed, the network with the explainer, the trace from
# the pass that predicts.
_SUPPLIED = ("generator", "network", "trace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """An attribution method and what it promises; `check_method` tests that.

    Attributes:
        name: What users call it.
        family: Where its scores come from, such as "gradient".
        function: `(classifier, encoding, target, *, options) -> scores`. The encoding has one row per window, the
            target one class per row; scores are float32 on the CPU, [batch, tokens], 0 on special tokens and padding.
            An option without a default must be given. A stochastic function takes a `generator`. One that is decorated
            with `expnet.methods.traced.by_trace` also takes a `trace`, and then needs no forward pass but the one that
            predicts.
        measures: What a word's score measures, as the first words of a sentence for readers who know neither the method
            nor the model: "How much the output loses without the word". Of an ExpNet, its network says it. "" says
            nothing.
        paper: Author, year and arXiv number or DOI; "" for what has no paper.
        forward: Forward passes for one text, as `expnet.methods.cost.passes` reads them: arithmetic over the options,
            `tokens` (that stand for text) and `layers`.
        backward: Backward passes, likewise.
        cost: "passes" if these passes are the work. "quadratic" if the method also follows each token, or each pair of
            tokens, through the layers: work that grows with the square of the text's length and counts as one more
            pass for each token. A server's limit on the cost of a request goes by this.
        signed: Whether scores may be negative, that is, speak against the target.
        uses_target: Whether scores depend on the class asked for.
        shares_forward: Whether several classes of a text take the forward passes of one, and only backward passes of
            their own.
        complete: Whether the scores sum to the target's logit minus its logit for the text with every token
            replaced. Needs the option `replacement`.
        deterministic: Whether the same input gives the same scores without a generator.
        extra: Extra of expnet that must be installed, or "".
    """

    name: str
    family: Family
    function: Callable[..., Float[Tensor, "batch tokens"]]
    paper: str
    forward: str
    backward: str = "0"
    signed: bool
    uses_target: bool
    cost: Cost = "passes"
    measures: str = ""
    shares_forward: bool = False
    complete: bool = False
    deterministic: bool = True
    extra: str = ""

    def __post_init__(self) -> None:
        # A misspelt class must not pass for the cheap one.
        if self.cost not in get_args(Cost):
            raise MethodError(f"The method {self.name!r} declares the cost {self.cost!r}, expected {describe(Cost)}.")
        if "trace" in self.supplied and not self.predicts:
            raise MethodError(
                f"The function of the method {self.name!r} takes a trace, but does not say what it reads of a pass: "
                "decorate it with expnet.methods.traced.by_trace."
            )

    @property
    def options(self) -> Mapping[str, inspect.Parameter]:
        """Options a caller may set, with their annotations and defaults."""
        parameters = parameters_of(self.function).values()
        return {
            parameter.name: parameter
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in _SUPPLIED
        }

    @property
    def supplied(self) -> frozenset[str]:
        """Arguments that the caller does not choose: "generator", "network" and "trace", or some of them, or none."""
        return frozenset(_SUPPLIED).intersection(parameters_of(self.function))

    @property
    def predicts(self) -> bool:
        """Whether its forward pass is the one that predicts, so that there is no other."""
        return has_needs(self.function)

    @property
    def worth_sharing(self) -> bool:
        """Whether it costs noticeably less together with other methods: of many passes, the shared one is no gain."""
        return self.predicts or self.takes_few_passes

    @property
    def takes_few_passes(self) -> bool:
        """Whether the work is the same few passes for every text and whatever the options."""
        return self.cost == "passes" and self.forward.isdecimal() and self.backward.isdecimal()

    @property
    def told_cost(self) -> str:
        """Its passes for one text, for readers, as in "1 + 1 back" or "steps + steps back"."""
        told = self.forward if self.backward == "0" else f"{self.forward} + {self.backward} back"
        return told if self.cost == "passes" else f"{told}, {self.cost}"

    def passes(self, *, tokens: int, layers: int, options: Mapping[str, Any]) -> tuple[int | float, int | float]:
        """Return how many forward and backward passes one text takes.

        Args:
            tokens: Those that stand for text.
            layers: Of the model.
            options: What to change of the defaults.

        Raises:
            MethodError: If what is declared cannot be counted.
        """
        values = {name: parameter.default for name, parameter in self.options.items()} | dict(options)
        values |= {"tokens": tokens, "layers": layers}
        return passes(self.forward, values), passes(self.backward, values)

    def work(self, *, tokens: int, layers: int, options: Mapping[str, Any], classes: int = 1) -> int | float:
        """Return how many passes the work on one text is worth; the arguments and errors are those of `passes`.

        Args:
            classes: How many classes are explained; one or as many cost the same where scores do not depend on them.
        """
        forward, backward = self.passes(tokens=tokens, layers=layers, options=options)
        times = classes if self.uses_target else 1
        followed = tokens if self.cost == "quadratic" else 0
        return forward * (1 if self.shares_forward else times) + (backward + followed) * times

    @torch_defaults()
    def attribute(
        self,
        classifier: Classifier,
        encoding: Encoding,
        target: Int[Tensor, " batch"],
        *,
        options: Mapping[str, Any] = MappingProxyType({}),
        seed: int = 0,
        network: nn.Module | None = None,
        trace: PassTrace | None = None,
    ) -> Float[Tensor, "batch tokens"]:
        """Check the options and run the method.

        Args:
            classifier: The classifier.
            encoding: Windows.
            target: A class for each window.
            options: What to change of the defaults.
            seed: Of the generator, for stochastic methods.
            network: The ExpNet, for the method that needs one.
            trace: A pass over exactly these windows, for a method that takes one; without, it runs its own.

        Raises:
            OptionError: If an option is unknown, missing or of the wrong type, or the network is missing.
            UnsupportedModelError: If the method does not suit the classifier; or a zero-shot classifier is to contrast
                two labels.
        """
        self.check(options)
        if "network" in self.supplied and network is None:
            raise OptionError(f"The method {self.name!r} needs a trained network, and there is none.")
        asked, target = classifier.about(encoding, target)
        offered = {"generator": torch.Generator().manual_seed(seed), "network": network, "trace": trace}
        supplied = {name: offered[name] for name in self.supplied}
        scores = self.function(classifier, asked, target, **options, **supplied)
        shorter = encoding.ids.shape[1] - asked.ids.shape[1]  # a hypothesis may be shorter than another
        return F.pad(scores, (0, shorter)) if shorter else scores

    def traced(
        self,
        classifier: Classifier,
        *,
        options: Mapping[str, Any] = MappingProxyType({}),
        seed: int = 0,
        network: nn.Module | None = None,
    ) -> TracedRun | None:
        """Return the method ready to read a pass of somebody else; None if it runs its own.

        The arguments and errors are those of `attribute`.
        """
        needs = needs_of(self.function, {**options, "network": network})
        if needs is None:
            return None
        self.check(options)

        def attribute(part: Encoding, target: Tensor, trace: PassTrace) -> Tensor:
            return self.attribute(classifier, part, target, options=options, seed=seed, network=network, trace=trace)

        return TracedRun(needs, attribute, self.uses_target)

    def check(self, options: Mapping[str, Any]) -> None:
        """Check names and types of options; the function itself checks their values.

        Raises:
            OptionError: With all that is wrong, and the nearest valid names.
        """
        known, problems = self.options, []
        for name, value in options.items():
            if name not in known:
                problems.append(f"there is no option {name!r}")
            elif not fits(value, known[name].annotation):
                problems.append(f"{name} is {value!r}, expected {describe(known[name].annotation)}")
        problems += [
            f"{name} is missing, expected {describe(parameter.annotation)}"
            for name, parameter in known.items()
            if parameter.default is parameter.empty and name not in options
        ]
        if problems:
            names = ", ".join(known) or "none"
            hints = "".join(did_you_mean(name, known) for name in options if name not in known)
            raise OptionError(
                f"The method {self.name!r} cannot run: {'; '.join(problems)}.{hints} Its options: {names}."
            )


def describe(annotation: Any) -> str:
    """Say what values an option takes."""
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(value) for value in get_args(annotation))
    if isinstance(annotation, types.UnionType):
        return " or ".join(describe(part) for part in get_args(annotation))
    if annotation is types.NoneType:
        return "None"
    if get_origin(annotation) is not None:
        inner = get_args(annotation)[0]
        return f"a list of {inner.__name__ if isinstance(inner, type) else describe(inner)}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}.get(
        annotation, getattr(annotation, "__name__", str(annotation))
    )


def at_least(least: int, **options: int | float) -> None:
    """Check options against their smallest value.

    Raises:
        OptionError: If one is smaller.
    """
    for name, value in options.items():
        if value < least:
            raise OptionError(f"{name} is {value}, expected {least} or more.")


def fits(value: Any, annotation: Any) -> bool:
    """Say whether a value is of the type that an annotation names."""
    origin = get_origin(annotation)
    if origin is Literal:
        return value in get_args(annotation)
    if isinstance(annotation, types.UnionType):
        return any(fits(value, part) for part in get_args(annotation))
    if origin is not None:
        inner = get_args(annotation)[0]
        return isinstance(value, origin) and not isinstance(value, str) and all(fits(item, inner) for item in value)
    if annotation in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if annotation is float else typing.cast(type, annotation))
