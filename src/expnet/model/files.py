"""Check the files of an untrusted model before they are opened: which may be read, and how much they may ask for."""

import copy
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from safetensors import safe_open
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config, tokenizer_class_from_name
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file
from transformers.utils.import_utils import DummyObject
from transformers.utils.peft_utils import find_adapter_config_file

from expnet.errors import ModelError, UnsafeModelError
from expnet.files.parsing import parse_json
from expnet.model.tokenizer_file import refuse_absurd_tokenizer

# Anything else in a config, even a flash_attention_2 that is not installed, would be fetched from the hub and run
# as a kernel, whatever the caller asked for. True and False are flags of older versions.
_KNOWN_ATTENTION = {None, True, False, "eager", "sdpa", "flex_attention", "batched_mm", "grouped_mm"}
_ATTENTION = re.compile(r"_*(attn|experts)_implementation")
# More than any model has; transformers makes lists and dictionaries as long while it reads the config.
_MOST_LAYERS, _MOST_LABELS = 1000, 100_000
_LAYERS = re.compile(r"(^|_)layers?$")
_LABELS = {"num_labels", "_num_labels", "id2label", "label2id"}
# What a model may have beyond its files, which may lack a head: numbers, and tensors that its modules register.
_MORE_NUMBERS, _MORE_TENSORS = 10_000_000, 1000
_MOST_BUFFERS = 2**28  # numbers in tables that are computed, not stored
_SINGLE, _INDEX = ".safetensors", ".safetensors.index.json"


def safe_config(name: str, revision: str | None = None) -> PreTrainedConfig:
    """Read a model's config, and refuse one that would load code or ask for absurd sizes.

    Raises:
        ModelError: If there is no such model, or its config is not valid.
        UnsafeModelError: See `refuse_unsafe_config`.
    """
    try:
        raw, _ = PreTrainedConfig.get_config_dict(name, revision=revision)
        refuse_unsafe_config(raw, name)
        config: PreTrainedConfig = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{name} is neither a folder with a model's config.json nor a model on the hub that can be reached: {error}"
        ) from error
    return config


def refuse_unsafe_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse what would make transformers load code or pickles, or exhaust memory, in the config or any part of it.

    Raises:
        UnsafeModelError: With the key and its value.
        ModelError: If it counts more layers or classes than any model has.
    """
    for key, value in config.items():
        if _ATTENTION.match(key):
            values = value.values() if isinstance(value, Mapping) else [value]
            if any(not isinstance(v, str | bool | None) or v not in _KNOWN_ATTENTION for v in values):
                raise UnsafeModelError(
                    f"The config of {name} asks for the attention {value!r} ({key}), which would load foreign code. "
                    "Delete that key if you trust the rest of the model."
                )
        elif key == "transformers_weights" and value is not None:
            _check_file(value, f"The config of {name}")
        elif key == "quantization_config" and value is not None:
            raise UnsafeModelError(
                f"The weights of {name} are quantised ({key}): reading them takes code of other packages, and some of "
                "their formats are pickles. Save the model in float32, float16 or bfloat16."
            )
        else:
            _refuse_absurd(key, value, name)
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, Mapping):
                    refuse_unsafe_config(part, name)


def _refuse_absurd(key: str, value: Any, name: str) -> None:
    count = len(value) if isinstance(value, Mapping | list) else value
    most = _MOST_LABELS if key in _LABELS else _MOST_LAYERS if _LAYERS.search(key) else None
    if most is not None and isinstance(count, int | float) and not count <= most:
        raise ModelError(f"The config of {name} says {key}={count:,}; expected {most:,} at most.")


def weight_files(name: str, revision: str | None, named: str | None = None) -> list[Path]:
    """Return the files that transformers will read weights from, all of them safetensors.

    Args:
        name: A folder or a hub id.
        revision: Commit, tag or branch on the hub.
        named: The file, or the index of files, that the config names in place of the usual ones.

    Raises:
        UnsafeModelError: If there are none, or one that is named is not safetensors or lies outside the folder.
        ModelError: If an index is damaged.
    """
    if named is not None:
        _check_file(named, f"The config of {name}")
    for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME) if named is None else (named,):
        path = _file(name, revision, file)
        if path is None:
            continue
        if not file.endswith(".json"):
            return [path]
        try:
            shards = {str(shard) for shard in parse_json(path.read_bytes())["weight_map"].values()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{file} of {name} is not an index of weights: {error}.") from error
        for shard in sorted(shards):
            _check_file(shard, f"{file} of {name}", kinds=(".safetensors",))
        paths = [_file(name, revision, shard) for shard in sorted(shards)]
        return [stored for stored in paths if stored is not None]
    raise UnsafeModelError(
        f"{name} holds no safetensors; other weight files are pickles, which can run code. Convert them where you "
        "trust them, with save_pretrained."
    )


def shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Read the shape of every tensor from the headers of safetensors, which must agree with the sizes of the files."""
    by_name = {}
    for file in files:
        with safe_open(file, "pt") as weights:
            by_name.update({name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()})  # noqa: SIM118
    return by_name


def check_files(
    name: str, revision: str | None, config: PreTrainedConfig, *, auto: Any = AutoModelForSequenceClassification
) -> None:
    """Check all files that transformers would read weights from; `auto` is its class that would build the model.

    Raises:
        ModelError: If the name is that of a PEFT adapter, or the config describes a far larger model than the files.
        UnsafeModelError: If a file is not safetensors, or not beside the config.
    """
    if find_adapter_config_file(name, revision=revision) is not None:
        raise ModelError(f"{name} holds a PEFT adapter: download it into a folder, and load that.")
    refuse_oversized(
        config, weight_files(name, revision, getattr(config, "transformers_weights", None)), name, auto=auto
    )


def refuse_oversized(
    config: PreTrainedConfig, files: Iterable[Path], name: str, *, auto: Any = AutoModelForSequenceClassification
) -> None:
    """Compare the size of the model that a config describes with its files, before memory is taken for it.

    Raises:
        ModelError: If it is far larger: what the files lack would be drawn at random.
    """
    stored = shapes(files)
    numbers = sum(math.prod(shape) for shape in stored.values())
    with _at_most(4 * len(stored) + _MORE_TENSORS, name), torch.device("meta"):
        model = auto.from_config(copy.deepcopy(config), trust_remote_code=False)
    wanted = sum(tensor.numel() for tensor in model.parameters())
    if wanted > 2 * numbers + _MORE_NUMBERS:
        raise ModelError(
            f"The config of {name} describes a model of {wanted:,} weights, but its files hold {numbers:,}."
        )
    if (computed := sum(tensor.numel() for tensor in model.buffers())) > _MOST_BUFFERS:
        raise ModelError(
            f"The config of {name} asks for tables of {computed:,} numbers beside the weights; expected "
            f"{_MOST_BUFFERS:,} at most."
        )


@contextmanager
def _at_most(tensors: int, name: str) -> Iterator[None]:
    """Raise if this thread builds a model of more tensors: a config may ask for any number of them."""
    thread, built = get_ident(), 0

    def count(*_: object) -> None:
        nonlocal built
        built += get_ident() == thread
        if built > tensors:
            raise ModelError(
                f"The config of {name} describes a model of more than {tensors:,} tensors; its files do not."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def refuse_unsafe_tokenizer(name: str, revision: str | None = None) -> None:
    """Refuse a config that names as tokenizer another class of transformers, which could read pickles.

    Raises:
        UnsafeModelError: With the class.
        ModelError: If the tokenizer's file exceeds what any tokenizer needs.
    """
    told = get_tokenizer_config(name, revision=revision)
    if not isinstance(told, dict):
        raise ModelError(f"tokenizer_config.json of {name} is damaged: expected a JSON object.")
    for file in ("tokenizer.json", *map(str, told.get("fast_tokenizer_files") or ())):
        if (path := _file(name, revision, file)) is not None:
            refuse_absurd_tokenizer(path)
    named = [told.get("tokenizer_class")]
    with suppress(OSError):  # a tokenizer needs no config of a model
        named.append(PreTrainedConfig.get_config_dict(name, revision=revision)[0].get("tokenizer_class"))
    for class_name in named:
        for alias in () if class_name is None else (str(class_name), str(class_name).removesuffix("Fast")):
            tokenizer_class = tokenizer_class_from_name(alias)
            known = isinstance(tokenizer_class, type) and issubclass(tokenizer_class, PreTrainedTokenizerBase)
            if tokenizer_class is not None and not known and not isinstance(tokenizer_class, DummyObject):
                raise UnsafeModelError(f"The tokenizer of {name} has the class {class_name}, which is not a tokenizer.")


def _check_file(file: object, source: str, kinds: tuple[str, ...] = (_SINGLE, _INDEX)) -> None:
    if not isinstance(file, str) or not file.endswith(kinds):
        raise UnsafeModelError(
            f"{source} names {str(file)[:100]}, which may be a pickle. Expected {' or '.join(kinds)}."
        )
    if set(file) & set("/\\:"):
        raise UnsafeModelError(
            f"{source} names {file[:100]}, which may lie elsewhere. Expected a name without a folder."
        )


def _file(name: str, revision: str | None, file: str) -> Path | None:
    try:
        return Path(str(cached_file(name, file, revision=revision)))
    except OSError:
        return None
