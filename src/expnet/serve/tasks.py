"""What a model can do with texts: predict, explain, check an explanation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from expnet.errors import InputError, RefusedError
from expnet.explainer import Explainer, as_tokens, explain_heads
from expnet.explainer.asking import asked_classes
from expnet.explanation.head_effects import HeadEffects
from expnet.explanation.result import Explanation
from expnet.methods.learned import method_of
from expnet.methods.registry import find_method
from expnet.metrics.removal import Checked, check
from expnet.model.batches import predict_texts
from expnet.text.labels import ALL, OutputKind
from expnet.text.texts import Text
from expnet.web.limits import Item, Limits

_COUNTABLE = 10**15  # more than anybody can run, but not too long to print


def trial_of(explainer: Explainer) -> Item:
    """Return what the model should be able to read."""
    example = explainer.classifier.example()
    return example.text, example.pair


class Task(Protocol):
    """Something to do with each of some texts; requests with equal tasks are run as one batch."""

    def prepare(self, explainer: Explainer, items: Sequence[Item], limits: Limits) -> list[Text]:
        """Check one request by itself, and return its texts."""
        ...

    def run(self, explainer: Explainer, texts: Sequence[Text]) -> list[Any]:
        """Return an answer for each text."""
        ...


@dataclass(frozen=True, slots=True)
class Predict:
    """Predict the class or value of each text; `truncate` cuts texts over the model's limit."""

    truncate: bool = False

    def prepare(self, explainer: Explainer, items: Sequence[Item], limits: Limits) -> list[Text]:
        """Take any strings that can be encoded."""
        return _texts(items)

    def run(self, explainer: Explainer, texts: Sequence[Text]) -> list[dict[str, Any]]:
        """Return the `prediction` for each text."""
        classifier = explainer.classifier
        rows = predict_texts(classifier, texts, truncate=self.truncate).outputs.tolist()
        named = [dict(zip(classifier.labels, row, strict=True)) for row in rows]
        return [prediction(outputs, classifier.kind) for outputs in named]


@dataclass(frozen=True, slots=True)
class Explain:
    """Explain each text, as `Explainer.explain` does; `tokens` instead of words, as `as_tokens` gives them."""

    method: str = "expnet"
    options: Mapping[str, Any] = field(default_factory=dict)
    target: str | int | None = None
    seed: int = 0
    truncate: bool = False
    against: str | int | None = None
    classes: int | None = None
    tokens: bool = False

    def prepare(self, explainer: Explainer, items: Sequence[Item], limits: Limits) -> list[Text]:
        """Check method, options, target and texts, and what the method would cost; each class counts as a text.

        Raises:
            RefusedError: If it would run more tokens through the model than the limits allow.
            ExpnetError: As `Explainer.explain` raises for them.
        """
        find_method(self.method).check(self.options)
        asked = asked_classes(explainer.classifier, self.target, against=self.against, classes=self.classes)
        classes = asked.classes or 1
        if classes > 1 and len(items) * classes > limits.texts:
            raise RefusedError(
                422,
                f"The request asks for {classes} classes of {len(items)} texts, and each class counts as a text, of "
                f'which this server takes {limits.texts}: ask for fewer, as in "classes": 5, or send several requests.',
            )
        texts = _texts(items)
        cost = self._cost(explainer, texts, classes)
        if cost > limits.tokens:
            raise RefusedError(
                422,
                f"The method {self.method!r} would cost as much as {cost:,} tokens in the model for this request; this "
                f"server allows {limits.tokens:,}. Send fewer or shorter texts, ask for fewer classes, lower the "
                "method's options, or choose one that needs fewer passes.",
            )
        return _read(explainer, texts, self.tokens)

    def run(self, explainer: Explainer, texts: Sequence[Text]) -> "list[Explanation] | list[list[Explanation]]":
        """Return an explanation of each text; with the target "all", a list of them."""
        explain = partial(
            explainer.explain,
            texts,
            method=self.method,
            options=self.options,
            seed=self.seed,
            truncate=self.truncate,
        )
        if self.target == ALL:
            return explain(target="all", classes=self.classes)
        return explain(target=self.target, against=self.against)

    def _cost(self, explainer: Explainer, texts: Sequence[Text], classes: int) -> int:
        """Return how many tokens many passes would read; the few passes of one class are free, whatever the text."""
        network = explainer.network
        method = find_method(self.method) if self.method != "expnet" or network is None else method_of(network)
        if method.takes_few_passes and (classes == 1 or not method.uses_target):
            return 0
        layers = getattr(explainer.classifier.model.config, "num_hidden_layers", 0)
        encoding = explainer.classifier.encode(texts, truncate=self.truncate)
        windows = zip(encoding.mask.sum(1).tolist(), encoding.real.sum(1).tolist(), strict=True)
        read = 0
        for width, tokens in windows:
            work = partial(method.work, tokens=tokens, layers=layers, options=self.options)
            read += width * max(0, work(classes=classes) - (work() if method.takes_few_passes else 0))
        return int(min(read, _COUNTABLE))


@dataclass(frozen=True, slots=True)
class Compare:
    """Explain each text by several methods, which share what passes they can; what differs is the method alone."""

    explains: tuple[Explain, ...]

    def prepare(self, explainer: Explainer, items: Sequence[Item], limits: Limits) -> list[Text]:
        """Check each method as `Explain` does; each is limited by itself."""
        for each in self.explains:
            each.prepare(explainer, items, limits)
        return _read(explainer, _texts(items), self.explains[0].tokens)

    def run(self, explainer: Explainer, texts: Sequence[Text]) -> "list[tuple[list[Explanation], ...]]":
        """Return for each text, by each method, the explanations of the classes asked for."""
        asked = self.explains[0]
        by_method = explainer.compare(
            texts,
            methods={each.method: each.options for each in self.explains},
            seed=asked.seed,
            target=asked.target,
            against=asked.against,
            classes=asked.classes,
            truncate=asked.truncate,
        )
        return list(zip(*by_method.values(), strict=True))


@dataclass(frozen=True, slots=True)
class Heads:
    """Say which heads an ExpNet listened to, as `explain_heads` does."""

    method: str
    target: str | int | None = None
    against: str | int | None = None
    tokens: bool = False

    def prepare(self, explainer: Explainer, items: Sequence[Item], limits: Limits) -> list[Text]:
        """Check what `Explain` does."""
        explain = Explain(self.method, target=self.target, against=self.against, tokens=self.tokens)
        return explain.prepare(explainer, items, limits)

    def run(self, explainer: Explainer, texts: Sequence[Text]) -> "list[HeadEffects]":
        """Return the effects of heads on the words of each text."""
        return [
            explain_heads(explainer, text, method=self.method, target=self.target, against=self.against)
            for text in texts
        ]


@dataclass(frozen=True, slots=True)
class Check:
    """Remove the `count` top words of explanations of a text, and everything but them; see `removal.check`."""

    explanations: tuple[Explanation, ...]
    count: int
    tokens: bool = False

    def prepare(self, explainer: Explainer, items: Sequence[Item], limits: Limits) -> list[Text]:
        """Take the text that was explained."""
        return _read(explainer, _texts(items), self.tokens)

    def run(self, explainer: Explainer, texts: Sequence[Text]) -> list[tuple[Checked, ...]]:
        """Return a row for each explanation and one for random words; none for a text without words.

        Raises:
            InputError: If the text is read in several windows.
        """
        return [check(explainer.classifier, text, self.explanations, count=self.count) for text in texts]


def prediction(outputs: Mapping[str, float], kind: OutputKind) -> dict[str, Any]:
    """Return the most probable class and all probabilities; for a regression, its values."""
    if kind == "value":
        return {"values": dict(outputs)}
    label = max(outputs, key=lambda name: outputs[name])
    return {"label": label, "probability": outputs[label], "probabilities": dict(outputs)}


def _read(explainer: Explainer, texts: list[Text], tokens: bool) -> list[Text]:
    """Return the texts, whose words are their tokens if these are asked for."""
    return [as_tokens(explainer, text) for text in texts] if tokens else texts


def _texts(items: Sequence[Item]) -> list[Text]:
    texts = []
    for number, (text, pair) in enumerate(items):
        try:
            texts.append(Text.of(text, pair))
        except InputError as error:
            raise InputError(f"Instance {number}: {error}") from error
    return texts
