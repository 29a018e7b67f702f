"""Load a classifier and the ExpNet that explains it, by their names."""

from collections.abc import Mapping
from pathlib import Path

import torch

from expnet.demo import demo_classifier, demo_network
from expnet.errors import InputError
from expnet.explainer.explaining import Explainer
from expnet.model.classifier import Classifier
from expnet.model.loading import dtype_named
from expnet.network.trust import trust_in
from expnet.network.universal import named
from expnet.text.prompts import Prompt, as_prompt, saved_prompt


def load(
    model: str | Path = "demo/sentiment",
    *,
    explainer: str | Path | None = None,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    prompt: str | Path | Prompt | None = None,
    labels: Mapping[str, str] | None = None,
) -> Explainer:
    """Load a classifier and its ExpNet.

    Without `explainer`, any other model than a demo is explained by the universal ExpNet. `Explainer.trust` says what
    the explainer was trained on, what was held out, and what can be concluded from that.

    Args:
        model: "demo/sentiment", "demo/acceptability" or "demo/hate-speech" (offline, extra `demo`), or the folder
            or hub id of a sequence classifier.
        explainer: Folder or hub id of an ExpNet, or "universal/gradient" (the default of every other model than a
            demo, which has its own) or "universal/attention", which takes no backward pass.
        revision: Commit, tag or branch of the model on the hub.
        device: The accelerator if there is one, else the CPU.
        dtype: Type of the weights, such as "bfloat16": faster where the processor supports it, with slightly different
            scores (docs/speed.md); by default float32 on the CPU, elsewhere what they are stored in.
        prompt: Makes a causal language model a classifier: a template with `{text}` (and `{pair}` for pairs), the path
            of a file with one, or a `Prompt`. By default the one saved beside the model or the ExpNet.
        labels: The word that stands for each label, exactly as it would continue the prompt: `{"unsafe": " yes"}`. The
            label's logit is that of the word as the next token (docs/how-to.md).

    Raises:
        InputError: If there is no such demo, or the prompt is not valid or does not suit the tokenizer.
        ModelError: If there is no such type, or something cannot be loaded.
        MismatchError: If the explainer does not fit the classifier.
        MissingExtraError: If a demo is asked for and the extra is not installed.
    """
    asked = as_prompt(prompt, labels) or saved_prompt(model) or saved_prompt(explainer)
    classifier = load_classifier(model, revision=revision, device=device, dtype=dtype, prompt=asked)
    if explainer is None and str(model).startswith("demo/"):
        network = demo_network(str(model))
        known = {**network.config.provenance, "classifiers": [str(model)]}
        return Explainer(classifier, network, name=str(model), trust=trust_in(known))
    name = str(explainer or "universal")
    return Explainer(classifier, named(name), name=name)


def load_classifier(
    model: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    prompt: str | Path | Prompt | None = None,
    labels: Mapping[str, str] | None = None,
) -> Classifier:
    """Load a demo classifier by name, or any other from a folder or the hub; the arguments are those of `load`."""
    kind = dtype_named(dtype) if isinstance(dtype, str) else dtype
    asked = as_prompt(prompt, labels)
    if str(model).startswith("demo/"):
        if asked is not None:
            raise InputError(f"{model} has a head and takes no prompt: leave out the prompt.")
        return demo_classifier(str(model), device=device, dtype=kind)
    return Classifier.from_pretrained(model, revision=revision, device=device, dtype=kind, prompt=asked)
