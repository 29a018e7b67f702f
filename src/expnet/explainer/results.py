"""From scores of tokens to explanations."""

from collections.abc import Mapping, Sequence
from typing import Any

from expnet._version import __version__
from expnet.explainer.asking import Call
from expnet.explainer.scoring import Scored
from expnet.explanation.meaning import OTHER_OUTPUT, meaning
from expnet.explanation.result import Explanation, Word, scored
from expnet.model.classifier import Classifier
from expnet.model.prediction import Prediction
from expnet.network.expnet import ExpNet
from expnet.network.trust import measured_by
from expnet.text.encoding import Encoding, pool_words
from expnet.text.texts import Text


def told(
    classifier: Classifier,
    encoding: Encoding,
    prediction: Prediction,
    groups: Sequence[Scored],
    call: Call,
    *,
    network: ExpNet | None,
    name: str,
    checked: str,
) -> list[list[Explanation]]:
    """Return the explanations of each text by one method: of the classes asked for, the most probable first.

    Args:
        classifier: The classifier.
        encoding: Windows.
        prediction: Of the texts.
        groups: The scores of the classes.
        call: What was asked for.
        network: The ExpNet, if its method was.
        name: Of the ExpNet.
        checked: What is known of how far it can be trusted here.
    """
    windows, rows = encoding.windows(), prediction.outputs.tolist()
    # One dictionary for all classes of a text: a thousand classes have a million entries otherwise.
    outputs = [dict(zip(classifier.labels, row, strict=True)) for row in rows]
    provenance = _provenance(classifier, call, name)
    of_method: dict[str, Any] = {
        "threshold": network.config.threshold if network is not None and call.marks else None,
        "meaning": _meaning(classifier, call, network),
        "checked": checked if call.learned else "",
    }
    by_text: list[list[Explanation]] = [[] for _ in encoding.texts]
    for group in groups:
        words = pool_words(group.scores, encoding, pool="sum" if call.method.signed else "max")
        for index, explanations in enumerate(by_text):
            text = encoding.texts[index]
            of_text = scored(text, words[index].tolist(), encoding.read[index], method=call.method.name)
            for label in group.chosen[:, index].tolist():
                explanations.append(
                    _explanation(
                        classifier, text, label, of_text, outputs[index], windows[index], call, provenance, of_method
                    )
                )
    return [sorted(explanations, key=lambda explanation: -explanation.output) for explanations in by_text]


def _explanation(
    classifier: Classifier,
    text: Text,
    label: int,
    words: tuple[Word, ...],
    outputs: Mapping[str, float],
    windows: int,
    call: Call,
    provenance: Mapping[str, str],
    of_method: Mapping[str, Any],
) -> Explanation:
    names, against = classifier.labels, call.asked.against
    return Explanation(
        text=text.text,
        pair=text.pair,
        words=words,
        label=names[label],
        output=outputs[names[label]],
        outputs=outputs,
        method=call.method.name,
        signed=call.method.signed,
        calibrated=call.marks,
        windows=windows,
        provenance=dict(provenance),
        kind=classifier.kind,
        uses_target=_uses_target(classifier, call),
        against=None if against is None else names[against],
        **of_method,
    )


def _uses_target(classifier: Classifier, call: Call) -> bool:
    return call.method.uses_target or classifier.hypotheses is not None


def _meaning(classifier: Classifier, call: Call, network: ExpNet | None) -> str:
    said = meaning(
        measured_by(network.config.provenance) if network is not None and call.marks else call.method.measures,
        signed=call.method.signed,
        uses_target=_uses_target(classifier, call),
        kind=classifier.kind,
        classes=len(classifier.labels),
    )
    return f"{said} {OTHER_OUTPUT}" if network is not None and call.marks and network.config.used else said


def _provenance(classifier: Classifier, call: Call, name: str) -> dict[str, str]:
    model = {"classifier": classifier.name or type(classifier.model).__name__, "expnet": __version__}
    if call.learned:
        return model | {"explainer": name or "ExpNet", "attention": classifier.support.backend}
    settings = {option: parameter.default for option, parameter in call.method.options.items()} | dict(call.options)
    seed = {} if call.method.deterministic else {"seed": str(call.seed)}
    return model | {option: str(value)[:80] for option, value in settings.items()} | seed
