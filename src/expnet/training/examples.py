"""Features and targets of annotated texts, extracted once and kept."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from expnet.files.atomic import write_atomic
from expnet.model.batches import encoded
from expnet.model.classifier import Classifier
from expnet.network.inputs import Features, NetworkInput, read_features
from expnet.network.sets import HeadFeatures
from expnet.rationales import Record
from expnet.rationales.align import token_targets
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.progress import track
from expnet.text.encoding import Encoding
from expnet.training.config import Explain

_SHARD = 512
TOGETHER = 32  # texts in a batch


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    """One window: features (half precision), target per token (NaN: no word), words it covers, index of its text."""

    features: Tensor | HeadFeatures
    targets: Tensor
    covers: Tensor
    text: int


@torch_defaults()
def extract(
    classifier: Classifier,
    records: Sequence[Record],
    config: NetworkInput[Any],
    *,
    explain: Explain = "label",
    cache: Path | None = None,
    title: str = "reading attention",
    progress: bool = False,
) -> list[TrainingWindow]:
    """Trace annotated texts and keep what training needs.

    Args:
        classifier: The classifier whose attention is read.
        records: Records with a rationale.
        config: Which features.
        explain: Whose gradients to take, if any.
        cache: A folder for the result, in shards of 512 texts: an interrupted extraction goes on where it was.
        title: What the progress bar says.
        progress: Whether to show one.
    """
    key = _key(classifier, config, explain) if cache is not None else ""
    labels = _of_class(classifier, config) and explain == "label"
    examples: list[TrainingWindow] = []
    starts = range(0, len(records), _SHARD)
    for start in track(starts, title, show=progress):
        shard = records[start : start + _SHARD]
        path = cache / f"{_shard_name(key, shard, labels=labels)}.safetensors" if cache is not None else None
        if path is not None and path.is_file():
            windows = _unpack(load_file(path), config)
        else:
            windows = list(_extract_shard(classifier, shard, config, explain))
            if path is not None:
                _store(path, _pack(windows, config))
        examples += [replace(window, text=window.text + start) for window in windows]
    return examples


def collate(examples: Sequence[TrainingWindow], config: NetworkInput[Any]) -> tuple[Features, Tensor]:
    """Make a batch of windows of one kind of features; targets are padded with NaN."""
    targets = pad_sequence([e.targets for e in examples], batch_first=True, padding_value=torch.nan)
    return config.collate([e.features for e in examples]), targets


def _extract_shard(
    classifier: Classifier, records: Sequence[Record], config: NetworkInput[Any], explain: Explain
) -> Iterator[TrainingWindow]:
    # Sorted by length; `text` restores the order.
    for chosen, encoding in encoded(classifier, [record.text for record in records], size=TOGETHER):
        target = None
        if _of_class(classifier, config):
            target = _explained(classifier, encoding, [records[i] for i in chosen], explain)
            encoding, target = classifier.about(encoding, target)
        _, features = read_features(classifier, encoding, config, target=target)
        targets = token_targets(encoding, [records[i] for i in chosen])
        for row, length in enumerate(encoding.mask.sum(1).tolist()):
            yield TrainingWindow(
                config.window(features, row, length).half(),
                targets[row, :length],
                encoding.covers[row, :length],
                chosen[int(encoding.text_of[row])],
            )


def _of_class(classifier: Classifier, config: NetworkInput[Any]) -> bool:
    """Say whether features are those of one class: gradients are, and all that reads a zero-shot label."""
    return config.uses_target or classifier.hypotheses is not None


def _explained(classifier: Classifier, encoding: Encoding, records: Sequence[Record], explain: Explain) -> Tensor:
    """Return the class to explain of each window."""
    labels = [None if explain == "predicted" else record.label for record in records]
    predicted = classifier.predict(encoding).chosen.tolist() if None in labels else []
    classes = [predicted[i] if label is None else classifier.target_index(label) for i, label in enumerate(labels)]
    return torch.tensor(classes)[encoding.text_of]


def _key(classifier: Classifier, config: NetworkInput[Any], explain: Explain) -> str:
    settings = json.dumps(config.cached_by(), sort_keys=True)
    of_class = f" {explain}" if _of_class(classifier, config) else ""
    return f"{classifier.fingerprint()} {settings}{of_class} 2"  # 2: version of what is kept


def _shard_name(key: str, records: Sequence[Record], *, labels: bool) -> str:
    digest = hashlib.sha256(key.encode())
    for record in records:
        digest.update(repr((record.text, record.rationale)).encode())
        if labels:
            digest.update(repr(record.label).encode())
    return digest.hexdigest()[:32]


def _pack(examples: Sequence[TrainingWindow], config: NetworkInput[Any]) -> dict[str, Tensor]:
    return config.pack([e.features for e in examples]) | {
        "targets": torch.cat([e.targets for e in examples]),
        "covers": torch.cat([e.covers for e in examples]),
        "lengths": torch.tensor([len(e.targets) for e in examples]),
        "texts": torch.tensor([e.text for e in examples]),
    }


def _unpack(packed: dict[str, Tensor], config: NetworkInput[Any]) -> list[TrainingWindow]:
    lengths = packed["lengths"].tolist()
    targets, covers = packed["targets"].split(lengths), packed["covers"].split(lengths)
    columns = (config.unpack(packed, lengths), targets, covers, packed["texts"].tolist())
    return [TrainingWindow(*values) for values in zip(*columns, strict=True)]


def _store(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save(tensors))
