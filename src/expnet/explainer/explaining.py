"""The facade: a classifier, and the ExpNet or any other method that explains it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, overload

import torch

from expnet._version import __version__
from expnet.attention.targets import contrast
from expnet.checking import TrustCheck, measure, verdict_on, with_check
from expnet.errors import InputError
from expnet.explanation.result import Explanation, scored
from expnet.methods.learned import check_tier, method_of
from expnet.methods.method import Method
from expnet.methods.registry import find_method
from expnet.model.batches import in_batches
from expnet.model.classifier import Classifier
from expnet.model.prediction import Prediction
from expnet.network.expnet import ExpNet
from expnet.network.inputs import read_features
from expnet.network.universal import trust_of
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.memory import bisect_on_error
from expnet.runtime.progress import track
from expnet.text.encoding import Encoding, pool_words
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
    def explain(  # type: ignore[overload-overlap]  # a string is also a sequence of strings
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
        truncate: bool = False,
        progress: bool = False,
    ) -> Explanation | list[Explanation]:
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
                so with an ExpNet that sees attention alone.
            against: Another class: why `target` rather than this one? Explained is the difference of the two logits, or
                the probability of the one if only the two could be.
            truncate: Cut texts over the model's limit instead of reading them in overlapping windows.
            progress: Show a progress bar.

        Returns:
            An explanation, or a list of them in the order of the texts.

        Raises:
            InputError: If a text is not a string, the texts are a dictionary, a set or a frame, there is no such class,
                the classifier has no ExpNet, a regression with several outputs is given no target, or `against` comes
                without a target, is the target itself, or the model is a regression.
            MethodError: If there is no such method.
            OptionError: If it cannot run with these options.
            UnsupportedModelError: If it does not suit this classifier.
            TextTooLongError: If a pair is too long for windows.
            NonFiniteError: If the model or the method returns NaN or infinity.
        """
        attribution = find_method(method) if method != _LEARNED or self.network is None else method_of(self.network)
        attribution.check(options)
        job = _Call(attribution, options, seed, *self._asked(target, against), truncate)
        if isinstance(texts, str | Text):
            return self._all([as_text(texts)], job, progress=False)[0]
        return self._all(as_texts(texts), job, progress=progress)

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

    def _all(self, texts: Sequence[Text], job: "_Call", *, progress: bool) -> list[Explanation]:
        """Explain texts of similar length together."""
        batches = in_batches(self.classifier, texts, truncate=job.truncate)
        done: dict[int, Explanation] = {}
        for batch in track(batches, "explaining", show=progress, total=len(texts), size=len):
            read = list(zip(batch.texts, batch.readings, strict=True))
            explanations = bisect_on_error(lambda part: self._batch(part, job), read)
            done.update(zip(batch.places, explanations, strict=True))
        return [done[place] for place in range(len(texts))]

    def _batch(self, read: Sequence[tuple[Text, TokenizedText]], job: "_Call") -> list[Explanation]:
        encoding = self.classifier.pack(*zip(*read, strict=True))
        at_once = _learned(job.method) and self.classifier.hypotheses is None  # zero-shot labels are read one by one
        score = self._with_prediction if at_once else self._after_prediction
        scores, prediction = score(encoding, job)
        words = pool_words(scores, encoding, pool="sum" if job.method.signed else "max")
        windows = encoding.windows()
        return [
            self._explanation(encoding, index, words[index], prediction.outputs[index], windows[index], job)
            for index in range(len(encoding.texts))
        ]

    def _with_prediction(self, encoding: Encoding, job: "_Call") -> tuple[torch.Tensor, Prediction]:
        """Score and predict in the same forward pass."""
        network = self._network()
        check_tier(network, gradient=job.method.uses_target)
        target: torch.Tensor | Literal["predicted"] | None
        if not network.uses_target:
            target = None
        elif job.target is not None:
            target = torch.full_like(encoding.text_of, job.target)
        elif len(encoding) == len(encoding.texts):
            target = "predicted"
        else:  # only all windows of a text together say which class it is
            target = self._predicted(encoding, self.classifier.predict(encoding))
        with torch.inference_mode():
            logits, features = read_features(self.classifier, encoding, network.config.features, target=target)
            prediction = self.classifier.prediction(encoding, logits)  # says so where the model returned NaN
            return network.score(features), prediction

    def _asked(self, target: str | int | None, against: str | int | None) -> tuple[int | None, int | None, int | None]:
        """Return the class, the one to contrast it with, and both as the target that methods take."""
        label = self.classifier.output_index(target)
        if against is None:
            return label, None, label
        self.classifier.check_probabilities("A contrast of two classes")
        other = self.classifier.target_index(against)
        if label is None or label == other:
            raise InputError(
                f"Expected two classes to contrast, target=... and against=..., got {target!r} and {against!r}. "
                f"Classes: {', '.join(self.classifier.labels[:20])}."
            )
        return label, other, contrast(label, other, len(self.classifier.labels))

    def _after_prediction(self, encoding: Encoding, job: "_Call") -> tuple[torch.Tensor, Prediction]:
        prediction = self.classifier.predict(encoding)
        if job.target is None:
            target = self._predicted(encoding, prediction)
        else:
            target = torch.full_like(encoding.text_of, job.target)
        scores = job.method.attribute(
            self.classifier, encoding, target, options=job.options, seed=job.seed, network=self.network
        )
        return scores, prediction

    @staticmethod
    def _predicted(encoding: Encoding, prediction: Prediction) -> torch.Tensor:
        return prediction.chosen[encoding.text_of]

    def _network(self) -> ExpNet:
        if self.network is None:
            raise InputError(
                f"{self.classifier.name or 'This classifier'} has no ExpNet: pass explainer=..., train one with "
                "`expnet fit` on a few texts whose words you mark, or choose another method, such as "
                "method='generic_relevance'."
            )
        return self.network

    def _explanation(
        self,
        encoding: Encoding,
        index: int,
        scores: torch.Tensor,
        outputs: torch.Tensor,
        windows: int,
        job: "_Call",
    ) -> Explanation:
        text, read = encoding.texts[index], encoding.read[index]
        chosen = int(outputs.argmax()) if job.label is None else job.label
        return Explanation(
            text=text.text,
            pair=text.pair,
            words=scored(text, scores.tolist(), read, method=job.method.name),
            label=self.classifier.labels[chosen],
            output=float(outputs[chosen]),
            outputs=dict(zip(self.classifier.labels, outputs.tolist(), strict=True)),
            method=job.method.name,
            signed=job.method.signed,
            calibrated=_learned(job.method),
            windows=windows,
            threshold=self._network().config.threshold if _learned(job.method) else None,
            provenance=self._provenance(job),
            kind=self.classifier.kind,
            uses_target=job.method.uses_target or self.classifier.hypotheses is not None,
            against=None if job.against is None else self.classifier.labels[job.against],
        )

    def _provenance(self, job: "_Call") -> dict[str, str]:
        classifier = {"classifier": self.classifier.name or type(self.classifier.model).__name__, "expnet": __version__}
        if _learned(job.method):
            return classifier | {"explainer": self.name or "ExpNet", "attention": self.classifier.support.backend}
        settings = {name: parameter.default for name, parameter in job.method.options.items()} | dict(job.options)
        seed = {} if job.method.deterministic else {"seed": str(job.seed)}
        return classifier | {name: str(value)[:80] for name, value in settings.items()} | seed


@dataclass(frozen=True, slots=True)
class _Call:
    """What is asked for, checked once for all batches; without a target it is each text's most probable class."""

    method: Method
    options: Mapping[str, Any]
    seed: int
    label: int | None
    against: int | None
    target: int | None
    truncate: bool


def _learned(method: Method) -> bool:
    return "network" in method.supplied
