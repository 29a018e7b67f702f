"""Identify the models that made an explanation, by name and hash."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import safetensors.torch

from expnet.explainer import Explainer


def models(explainer: Explainer) -> dict[str, Any]:
    """Return names and hashes of the classifier, its tokenizer and its ExpNet, and where they run."""
    classifier, network = explainer.classifier, explainer.network
    weights = {} if network is None else {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    prompt = {} if classifier.prompt is None else {"prompt": json.loads(classifier.prompt.to_json())}
    config = None if network is None else asdict(network.config)
    return {
        "classifier": classifier.name,
        "classifier_hash": classifier.fingerprint(),
        "tokenizer_hash": sha256(classifier.text_tokenizer.backend.to_str()),
        "labels": list(classifier.labels),
        **prompt,
        "explainer": explainer.name,
        "explainer_hash": None if network is None else sha256(json.dumps(config), safetensors.torch.save(weights)),
        "device": classifier.model.device.type,
        "precision": str(classifier.model.dtype),
    }


def sha256(*parts: str | bytes) -> str:
    """Return the hash of the parts, one after the other, strings as UTF-8."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()
