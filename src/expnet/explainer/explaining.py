"""The facade: a classifier, and the ExpNet or any other method that explains it."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, overload

from expnet._version import __version__
from expnet.checking import TrustCheck, measure, verdict_on, with_check
from expnet.errors import InputError
from expnet.explainer.asking import Call, asked_classes
from expnet.explainer.scoring import score
from expnet.explanation.result import Explanation, Word, scored
from expnet.methods.learned import method_of
from expnet.methods.registry import find_method
from expnet.model.batches import in_batches
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.universal import trust_of
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.memory import bisect_on_error
from expnet.runtime.progress import track
from expnet.text.encoding import pool_words
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
                one that sees gradients a backward pass, too ("expnet_gradient"). Others run after the prediction.
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
        attribution = find_method(method) if method != _LEARNED or self.network is None else method_of(self.network)
        attribution.check(options)
        asked = asked_classes(self.classifier, target, against=against, classes=classes)
        call, alone = Call(attribution, options, seed, asked, truncate), isinstance(texts, str | Text)
        items = [as_text(texts)] if isinstance(texts, str | Text) else as_texts(texts)
        by_text = self._all(items, call, progress=progress and not alone)
        if asked.classes is not None:
            return by_text[0] if alone else by_text
        explanations = [explanation for (explanation,) in by_text]
        return explanations[0] if alone else explanations

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
        checked = "" if self.network is None else verdict_on(self.network, self.classifier)
        return " ".join(part for part in (checked, self._learned_from) if part)

    def _all(self, texts: Sequence[Text], call: Call, *, progress: bool) -> list[list[Explanation]]:
        """Explain texts of similar length together; return for each the classes asked for."""
        batches = in_batches(self.classifier, texts, truncate=call.truncate)
        done: dict[int, list[Explanation]] = {}
        for batch in track(batches, "explaining", show=progress, total=len(texts), size=len):
            read = list(zip(batch.texts, batch.readings, strict=True))
            explanations = bisect_on_error(lambda part: self._batch(part, call), read)
            done.update(zip(batch.places, explanations, strict=True))
        return [done[place] for place in range(len(texts))]

    def _batch(self, read: Sequence[tuple[Text, TokenizedText]], call: Call) -> list[list[Explanation]]:
        encoding = self.classifier.pack(*zip(*read, strict=True))
        prediction, (groups,) = score(self.classifier, encoding, [call], self._network() if call.learned else None)
        windows, rows = encoding.windows(), prediction.outputs.tolist()
        # One dictionary for all classes of a text: a thousand classes have a million entries otherwise.
        outputs = [dict(zip(self.classifier.labels, row, strict=True)) for row in rows]
        by_text: list[list[Explanation]] = [[] for _ in encoding.texts]
        for group in groups:
            words = pool_words(group.scores, encoding, pool="sum" if call.method.signed else "max")
            for index, explanations in enumerate(by_text):
                told = scored(
                    encoding.texts[index], words[index].tolist(), encoding.read[index], method=call.method.name
                )
                for label in group.chosen[:, index].tolist():
                    text = encoding.texts[index]
                    explanations.append(self._explanation(text, label, told, outputs[index], windows[index], call))
        return [sorted(explanations, key=lambda explanation: -explanation.output) for explanations in by_text]

    def _network(self) -> ExpNet:
        if self.network is None:
            raise InputError(
                f"{self.classifier.name or 'This classifier'} has no ExpNet: pass explainer=..., train one with "
                "`expnet fit` on a few texts whose words you mark, or choose another method, such as "
                "method='generic_relevance'."
            )
        return self.network

    def _explanation(
        self, text: Text, label: int, words: tuple[Word, ...], outputs: Mapping[str, float], windows: int, call: Call
    ) -> Explanation:
        names, against = self.classifier.labels, call.asked.against
        return Explanation(
            text=text.text,
            pair=text.pair,
            words=words,
            label=names[label],
            output=outputs[names[label]],
            outputs=outputs,
            method=call.method.name,
            signed=call.method.signed,
            calibrated=call.learned,
            windows=windows,
            threshold=self._network().config.threshold if call.learned else None,
            provenance=self._provenance(call),
            kind=self.classifier.kind,
            uses_target=call.method.uses_target or self.classifier.hypotheses is not None,
            against=None if against is None else names[against],
        )

    def _provenance(self, call: Call) -> dict[str, str]:
        classifier = {"classifier": self.classifier.name or type(self.classifier.model).__name__, "expnet": __version__}
        if call.learned:
            return classifier | {"explainer": self.name or "ExpNet", "attention": self.classifier.support.backend}
        settings = {name: parameter.default for name, parameter in call.method.options.items()} | dict(call.options)
        seed = {} if call.method.deterministic else {"seed": str(call.seed)}
        return classifier | {name: str(value)[:80] for name, value in settings.items()} | seed
