"""The facade: a classifier, and the ExpNet or any other method that explains it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, overload

from expnet.checking import TrustCheck, measure, verdict_on, with_check
from expnet.errors import ExpnetError, InputError
from expnet.explainer.asking import Call, asked_classes
from expnet.explainer.comparing import run_methods
from expnet.explainer.results import told
from expnet.explainer.scoring import score
from expnet.explanation.meaning import UNCHECKED
from expnet.explanation.result import Explanation
from expnet.methods.learned import check_serves, method_of
from expnet.methods.method import Method
from expnet.methods.registry import find_method
from expnet.model.batches import in_batches
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.universal import trust_of
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.memory import bisect_on_error
from expnet.runtime.progress import track
from expnet.text.texts import Text, as_text, as_texts
from expnet.text.windows import TokenizedText

_LEARNED = "expnet"


class Explainer:
    """Explains the predictions of one classifier: with its ExpNet for the price of the prediction, or otherwise."""

    @torch_defaults()
    def __init__(
        self, classifier: Classifier, network: ExpNet | None = None, *, name: str = "", trust: str = ""
    ) -> None:
        """Join a classifier and a network trained for its kind; without one, only other methods explain.

        Args:
            classifier: The classifier.
            network: Its ExpNet.
            name: Of the ExpNet, for the provenance.
            trust: How far its explanations can be trusted, in plain words; by default what is known of a universal
                network, or what is saved with another. The verdict of `check` goes before it.

        Raises:
            MismatchError: If the network was made for another architecture, or other layers or heads.
            UnsupportedModelError: If the classifier's attention cannot be captured.
        """
        if network is not None:
            network.check_fits(classifier.architecture, classifier.support)
        self.classifier = classifier
        self.network = None if network is None else network.eval()
        self.name = name
        self._learned_from = trust or ("" if network is None else trust_of(network))
        self.trust = self._told()

    @overload
    def explain(  # type: ignore[overload-overlap]  # "all" is also a string, and a string a sequence of strings
        self,
        texts: str | Text,
        *,
        method: str = ...,
        options: Mapping[str, Any] = ...,
        seed: int = ...,
        target: Literal["all"],
        classes: int | None = ...,
        truncate: bool = ...,
    ) -> list[Explanation]: ...
    @overload
    def explain(  # type: ignore[overload-overlap]
        self,
        texts: Iterable[str | Text],
        *,
        method: str = ...,
        options: Mapping[str, Any] = ...,
        seed: int = ...,
        target: Literal["all"],
        classes: int | None = ...,
        truncate: bool = ...,
        progress: bool = ...,
    ) -> list[list[Explanation]]: ...
    @overload
    def explain(  # type: ignore[overload-overlap]
        self,
        texts: str | Text,
        *,
        method: str = ...,
        options: Mapping[str, Any] = ...,
        seed: int = ...,
        target: str | int | None = ...,
        against: str | int | None = ...,
        truncate: bool = ...,
    ) -> Explanation: ...
    @overload
    def explain(
        self,
        texts: Iterable[str | Text],
        *,
        method: str = ...,
        options: Mapping[str, Any] = ...,
        seed: int = ...,
        target: str | int | None = ...,
        against: str | int | None = ...,
        truncate: bool = ...,
        progress: bool = ...,
    ) -> list[Explanation]: ...

    @torch_defaults()
    def explain(
        self,
        texts: str | Text | Iterable[str | Text],
        *,
        method: str = _LEARNED,
        options: Mapping[str, Any] = MappingProxyType({}),
        seed: int = 0,
        target: str | int | None = None,
        against: str | int | None = None,
        classes: int | None = None,
        truncate: bool = False,
        progress: bool = False,
    ) -> Explanation | list[Explanation] | list[list[Explanation]]:
        """Explain one text, or a list of texts in true batches.

        Words get the largest score of their tokens, or the sum of them if the method's scores are signed.

        Args:
            texts: A string, or `Text` for pairs and pre-split words; or a list, generator, array or column of them. A
                blank text gives an explanation without words (an error where the tokenizer adds no special tokens, so
                that there is nothing to read).
            method: Name of the attribution method; `expnet methods` lists them. "expnet" is the explainer's own
                network, which comes with the prediction: one that sees attention alone takes nothing but that pass,
                one that sees gradients a backward pass, too ("expnet_gradient"). Rules that read one forward pass come
                with the prediction, too; others run after it.
            options: The method's options, by name.
            seed: For stochastic methods. A text's scores depend on it, not on the other texts.
            target: Class to explain, by name or index; by default each text's predicted class. A regression with
                several outputs needs one. Where `Explanation.uses_target` is False, the scores do not depend on it:
                so with an ExpNet that sees attention alone. "all" explains every class: each text gets a list of
                explanations, the most probable class first, with the scores that each class has when it is explained
                alone. It costs what differs between classes (docs/how-to.md).
            against: Another class: why `target` rather than this one? Explained is the difference of the two logits, or
                the probability of the one if only the two could be. Not with "all".
            classes: With "all", how many of the most probable classes are explained; by default, or where there are
                fewer, every one.
            truncate: Cut texts over the model's limit instead of reading them in overlapping windows.
            progress: Show a progress bar.

        Returns:
            An explanation, or a list of them in the order of the texts; with "all" a list of explanations for each.

        Raises:
            InputError: If a text is not a string, the texts are a dictionary, a set or a frame, there is no such class,
                the classifier has no ExpNet, a regression with several outputs is given no target, `against` comes
                without a target, is the target itself, or the model is a regression; or, with "all", a class has that
                name (give its index), the model is a regression, or `classes` is below 1.
            MethodError: If there is no such method.
            OptionError: If it cannot run with these options.
            UnsupportedModelError: If it does not suit this classifier.
            TextTooLongError: If a pair is too long for windows.
            NonFiniteError: If the model or the method returns NaN or infinity.
        """
        attribution = self._method(method, options)
        asked = asked_classes(self.classifier, target, against=against, classes=classes)
        call, alone = Call(attribution, options, seed, asked, truncate), isinstance(texts, str | Text)
        items = [as_text(texts)] if isinstance(texts, str | Text) else as_texts(texts)
        (by_text,) = self._each(items, [call], progress=progress and not alone)
        if asked.classes is not None:
            return by_text[0] if alone else by_text
        explanations = [explanation for (explanation,) in by_text]
        return explanations[0] if alone else explanations

    @torch_defaults()
    def compare(
        self,
        texts: Iterable[str | Text],
        *,
        methods: Mapping[str, Mapping[str, Any]],
        seed: int = 0,
        target: str | int | None = None,
        against: str | int | None = None,
        classes: int | None = None,
        truncate: bool = False,
        progress: bool = False,
        left_out: Callable[[str, ExpnetError], None] | None = None,
        stopped: Callable[[int], None] | None = None,
    ) -> dict[str, list[list[Explanation]]]:
        """Explain texts by several methods, which share the prediction and whatever passes they can.

        The scores are those that each method gives by itself. Methods that read one forward pass read the same, and one
        backward pass serves all that need it; see docs/speed.md.

        Args:
            texts: As for `explain`, in a list.
            methods: Options by the name of the method, as in `{"expnet": {}, "rise": {"samples": 500}}`.
            seed: As for `explain`, as are the arguments that follow.
            target: Class to explain.
            against: Another class.
            classes: With the target "all", how many.
            truncate: Cut long texts.
            progress: Show a progress bar.
            left_out: Is told of each method that does not suit the model or its options, and the error, instead of
                raising it. The others go on.
            stopped: Is told how many methods are done when Ctrl-C ends the work after the first of them, instead of
                raising `KeyboardInterrupt`; these are returned.

        Returns:
            For each method, for each text, the explanations of the classes: one, or all with the target "all".

        Raises:
            InputError: If no method is named; and the other errors of `explain`.
        """
        if not methods:
            raise InputError("Expected one method or more to compare, got none.")
        items, asked = as_texts(texts), asked_classes(self.classifier, target, against=against, classes=classes)

        def call(name: str) -> Call:
            return Call(self._method(name, methods[name]), methods[name], seed, asked, truncate)

        def run(calls: Sequence[Call]) -> list[list[list[Explanation]]]:
            return self._each(items, calls, progress=progress and len(methods) == 1)

        return run_methods(
            list(methods), call, run, left_out, stopped, texts=len(items), progress=progress and len(methods) > 1
        )

    @torch_defaults()
    def check(self, texts: Iterable[str | Text | Record], *, seed: int = 0, progress: bool = False) -> TrustCheck:
        """Measure how far the ExpNet can be trusted on this classifier, without marks or with some; see `TrustCheck`.

        It takes about a minute for 100 short texts. The network carries the result along: it is saved with it, and
        `trust` begins with its verdict.

        Args:
            texts: Of the kind to be explained, fifty or more. Marks of a `Record` tell how well it agrees with people.
            seed: Of the random words, the dropout and the intervals.
            progress: Show a progress bar on standard error.

        Raises:
            InputError: If the classifier has no ExpNet or is a regression, or no text has a word and fits one window.
        """
        network = self._network()
        result = measure(self.classifier, network, texts, name=self.name, seed=seed, progress=progress)
        with_check(network, result)
        self.trust = self._told()
        return result

    def _told(self) -> str:
        verdict = "" if self.network is None else verdict_on(self.network, self.classifier)
        self.checked = verdict or ("" if self.network is None else UNCHECKED)
        return " ".join(part for part in (verdict, self._learned_from) if part)

    def _each(self, items: Sequence[Text], calls: Sequence[Call], *, progress: bool) -> list[list[list[Explanation]]]:
        """Explain texts of similar length together; return for each method and text the classes asked for."""
        batches = in_batches(self.classifier, items, truncate=calls[0].truncate)
        done: dict[int, list[list[Explanation]]] = {}
        for batch in track(batches, "explaining", show=progress, total=len(items), size=len):
            read = list(zip(batch.texts, batch.readings, strict=True))
            explanations = bisect_on_error(lambda part: self._batch(part, calls), read)
            done.update(zip(batch.places, explanations, strict=True))
        return [[done[place][number] for place in range(len(items))] for number in range(len(calls))]

    def _batch(
        self, read: Sequence[tuple[Text, TokenizedText]], calls: Sequence[Call]
    ) -> list[list[list[Explanation]]]:
        network = self._network() if any(call.learned for call in calls) else None
        encoding = self.classifier.pack(*zip(*read, strict=True))
        prediction, by_call = score(self.classifier, encoding, calls, network)
        by_method = [
            told(
                self.classifier,
                encoding,
                prediction,
                groups,
                call,
                network=network,
                name=self.name,
                checked=self.checked,
            )
            for call, groups in zip(calls, by_call, strict=True)
        ]
        return [list(of_text) for of_text in zip(*by_method, strict=True)]

    def _method(self, name: str, options: Mapping[str, Any]) -> Method:
        method = find_method(name) if name != _LEARNED or self.network is None else method_of(self.network)
        method.check(options)
        if self.network is not None and "network" in method.supplied:
            check_serves(self.network, method)
        return method

    def _network(self) -> ExpNet:
        if self.network is None:
            raise InputError(
                f"{self.classifier.name or 'This classifier'} has no ExpNet: pass explainer=..., train one with "
                "`expnet fit` on a few texts whose words you mark, or choose another method, such as "
                "method='generic_relevance'."
            )
        return self.network
