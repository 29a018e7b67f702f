"""Load a classifier and the ExpNet that explains it, by their names."""

from collections.abc import Mapping, Sequence
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
from expnet.text.zero_shot import ZeroShot, zero_shot_of


def load(
    model: str | Path = "demo/sentiment",
    *,
    explainer: str | Path | None = None,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    prompt: str | Path | Prompt | ZeroShot | None = None,
    labels: Mapping[str, str] | None = None,
    zero_shot: Sequence[str] | None = None,
    hypothesis: str | None = None,
    multi_label: bool = False,
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
            of a file with one, a `Prompt`, or the name of a guard model, such as "llama-guard-3" (docs/how-to.md). By
            default the one saved beside the model or the ExpNet.
        labels: The word that stands for each label, exactly as it would continue the prompt: `{"unsafe": " yes"}`. The
            label's logit is that of the word as the next token (docs/how-to.md).
        zero_shot: Labels that make a model of natural language inference a classifier of them, as transformers'
            pipeline "zero-shot-classification" does: the text is the premise, and a label's logit that of entailment.
        hypothesis: The template of their hypotheses; "This example is {}." by default.
        multi_label: Whether each of these labels is judged by itself, entailment against contradiction.

    Raises:
        InputError: If there is no such demo, or the prompt or the labels are not valid or do not suit the tokenizer.
        ModelError: If there is no such type, or something cannot be loaded.
        MismatchError: If the explainer does not fit the classifier.
        MissingExtraError: If a demo is asked for and the extra is not installed.
    """
    given = as_prompt(prompt, labels, zero_shot_of(zero_shot, hypothesis, multi_label=multi_label))
    asked = given or saved_prompt(model) or saved_prompt(explainer)
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
    prompt: str | Path | Prompt | ZeroShot | None = None,
    labels: Mapping[str, str] | None = None,
    zero_shot: Sequence[str] | None = None,
    hypothesis: str | None = None,
    multi_label: bool = False,
) -> Classifier:
    """Load a demo classifier by name, or any other from a folder or the hub; the arguments are those of `load`."""
    kind = dtype_named(dtype) if isinstance(dtype, str) else dtype
    asked = as_prompt(prompt, labels, zero_shot_of(zero_shot, hypothesis, multi_label=multi_label))
    if str(model).startswith("demo/"):
        if asked is not None:
            raise InputError(f"{model} has a head and takes no prompt: leave out the prompt.")
        return demo_classifier(str(model), device=device, dtype=kind)
    return Classifier.from_pretrained(model, revision=revision, device=device, dtype=kind, prompt=asked)
