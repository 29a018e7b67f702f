"""Which heads an ExpNet listened to."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import InputError
from expnet.explainer.asking import asked_classes
from expnet.explainer.explaining import Explainer
from expnet.explanation.head_effects import HeadEffects
from expnet.methods.learned import EXPNET, EXPNET_DIFFERENCE, EXPNET_GRADIENT, EXPNET_USED
from expnet.network.inputs import read_features
from expnet.network.occlusion import logits_without_heads
from expnet.runtime.ambient import torch_defaults
from expnet.text.encoding import Encoding, pool_words
from expnet.text.texts import Text, as_text
from expnet.text.words import Pool

LISTENING = (EXPNET.name, EXPNET_GRADIENT.name, EXPNET_DIFFERENCE.name, EXPNET_USED.name)


@torch_defaults()
def explain_heads(
    explainer: Explainer,
    text: str | Text,
    *,
    method: str = EXPNET.name,
    target: str | int | None = None,
    against: str | int | None = None,
    truncate: bool = False,
) -> HeadEffects:
    """Say which attention heads an ExpNet listened to for each word of a text.

    Each head is left out in turn, and each layer, and the ExpNet runs again on what is left: the classifier is read
    only once more. It takes longer than `Explainer.explain`, by as many runs of the ExpNet as there are heads.

    Args:
        explainer: As from `expnet.load`.
        text: One text that fits one window.
        method: "expnet" for the score that says what people would mark, "expnet_used" for the second output.
        target: Class to explain, as for `Explainer.explain`, but not "all".
        against: Class to contrast the target with.
        truncate: Cut a text over the model's limit.

    Raises:
        InputError: If the method is not an ExpNet's, or has no logit of its own (`expnet_both`), the target is "all",
            or the text is read in several windows.
        MismatchError: If the ExpNet sees nothing of single layers or heads.
        ExpnetError: As `Explainer.explain` raises for the text, the method and the target.
    """
    if method not in LISTENING:
        raise InputError(
            f"Expected {' or '.join(LISTENING)}, got the method {method!r}: heads are shown for an ExpNet's score that "
            "has a logit of its own."
        )
    classifier, item = explainer.classifier, as_text(text)
    asked = asked_classes(classifier, target, against=against)
    if asked.classes is not None:
        raise InputError("target='all' explains every class, and heads are shown for one: name the class.")
    explanation = explainer.explain(item, method=method, target=target, against=against, truncate=truncate)
    if explanation.windows > 1:
        raise InputError(
            f"The text is read in {explanation.windows} windows, in which heads see different texts: shorten it, or "
            "pass truncate=True to read its beginning alone."
        )
    label = classifier.target_index(explanation.label) if asked.target is None else asked.target
    encoding, of_class = classifier.about(classifier.encode([item], truncate=truncate), torch.tensor([label]))
    effects = _effects(explainer, encoding, of_class, signed=explanation.signed)
    return HeadEffects(explanation, *(part.numpy() for part in effects))


def _effects(
    explainer: Explainer, encoding: Encoding, target: Int[Tensor, "1"], *, signed: bool
) -> tuple[Float[Tensor, "words layers heads"], Float[Tensor, "words layers"], Float[Tensor, " words"]]:
    """Return what each head, each layer, and all of them do to the logit of each word of the one window."""
    classifier, network = explainer.classifier, explainer.network
    if network is None or (scorer := network.used if signed else network) is None:
        raise InputError("This explainer has no ExpNet with that output.")  # `explain` has said so before
    config = network.config.features
    layers, heads = config.told_apart(classifier.support.layers, classifier.support.heads)
    every = range(layers * heads)
    of_layers = [every[layer * heads : (layer + 1) * heads] for layer in range(layers)]
    groups: list[Sequence[int]] = [[], *([head] for head in every), *of_layers, every]
    _, features = read_features(classifier, encoding, config, target=target)
    window = config.window(features, 0, encoding.ids.shape[1])
    logits = logits_without_heads(scorer, window, groups)
    if not signed:
        logits = logits * network.scale  # as `ExpNet.calibrate`, whose bias drops out of differences
    pool: Pool = "sum" if signed else "max"
    words = torch.stack([pool_words(row[None], encoding, pool=pool)[0] for row in logits], -1)
    single, layer, (together,) = (words[:, :1] - words[:, 1:]).T.split([len(every), layers, 1])
    return single.T.unflatten(1, (layers, heads)), layer.T, together
