"""Files that claim to be large, each read in turn; prints what each took and how it was refused."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from expnet.audit import AuditRecord, record_decision
from expnet.errors import ExpnetError
from expnet.explanation.result import Explanation
from expnet.export.manifest import GRAPH, MANIFEST, TOKENIZER, read_manifest
from expnet.model.loading import load_model
from expnet.network.expnet import ExpNet
from expnet.runtime.memory import peak
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build

HUGE = 3_000_000_000
DEEP = "[" * 200_000 + "]" * 200_000


def main() -> None:
    """Read each file, after a good one of each kind, which loads what all of them need."""
    good, place = map(Path, sys.argv[1:])
    claims = dict(_claims(good, place))
    load_model(good)
    for claim, read in claims.items():
        refused: list[str] = []
        started = time.monotonic()

        def run(read: Callable[[], object] = read, refused: list[str] = refused) -> None:
            try:
                read()
            except ExpnetError as error:
                refused.append(f"{type(error).__name__}: {str(error)[:200]}")

        taken = peak(run, torch.device("cpu"))
        row = {"claim": claim, "megabytes": taken if taken == taken else 0, "seconds": time.monotonic() - started}
        print(json.dumps(row | {"error": "".join(refused)}), flush=True)


def _claims(good: Path, place: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    models: dict[str, dict[str, object]] = {
        "vocabulary": {"vocab_size": 40_000_000},
        "layers": {"num_hidden_layers": 1_000_000},
        "fewer layers": {"num_hidden_layers": 999},
        "classes": {"num_labels": 3_000_000},
        "width": {"intermediate_size": HUGE},
        "positions": {"max_position_embeddings": HUGE},
    }
    for name, settings in models.items():
        yield name, lambda folder=_changed(good, place / name, "config.json", settings): load_model(folder)
    deep = _changed(good, place / "deep", "config.json", {})
    (deep / "config.json").write_text(DEEP)
    yield "deep config", lambda: load_model(deep)
    lying = _changed(good, place / "lying", "config.json", {})
    header = json.dumps({"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}}).encode()
    (lying / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    yield "lying header", lambda: load_model(lying)
    yield from _adapter(good, place / "adapter")
    yield from _networks(place / "network")
    yield from _records()
    yield from _manifests(place / "export")


def _adapter(good: Path, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    adapted = get_peft_model(build("bert"), LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    adapted.save_pretrained(str(folder))
    shutil.copy(good / "config.json", folder)
    _change(folder / "adapter_config.json", {"r": HUGE})
    yield "rank", lambda: load_model(folder, base=good)


def _networks(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    network = tiny_explainer(tiny_classifier()).network
    assert network is not None
    network.save_pretrained(folder)
    ExpNet.from_pretrained(folder)
    for name, value in {"hidden": [65_536, 65_536], "context": 256, "layers": 1000}.items():
        settings = {name: value} | ({"hidden": [65_536]} if name != "hidden" else {})
        yield (
            f"network {name}",
            lambda at=_changed(folder, folder / name, "config.json", settings): ExpNet.from_pretrained(at),
        )
    wide = _changed(folder, folder / "wide", "config.json", {})
    save_file({"first.weight": torch.zeros(3)}, wide / "model.safetensors")
    yield "network weights", lambda: ExpNet.from_pretrained(wide)


def _records() -> Iterator[tuple[str, Callable[[], object]]]:
    explainer = tiny_explainer(tiny_classifier())
    told = record_decision(explainer, "a good film", keep_text=False).to_dict()
    AuditRecord.from_json(json.dumps(told))
    words = told["explanation"]["words"]
    far = told | {"explanation": told["explanation"] | {"words": [*words[:-1], words[-1] | {"end": HUGE}]}}
    long = told | {"text": told["text"] | {"characters": HUGE}}
    for name, changed in {"span": far, "characters": long}.items():
        yield f"record's {name}", lambda content=json.dumps(changed): AuditRecord.from_json(content)
    yield "deep record", lambda: AuditRecord.from_json(DEEP)
    yield "deep explanation", lambda: Explanation.from_json(DEEP)


def _manifests(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    folder.mkdir()
    for name in (GRAPH, TOKENIZER):
        (folder / name).write_text("{}")
    (folder / MANIFEST).write_text(DEEP)
    yield "deep manifest", lambda: read_manifest(folder)


def _changed(source: Path, target: Path, name: str, settings: dict[str, object]) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(target.name))
    _change(target / name, settings)
    return target


def _change(file: Path, settings: dict[str, object]) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
