"""Load a classifier from files that nobody needs to trust: no remote code, no pickles."""

import json
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, logging
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from expnet.errors import ExpnetError, ModelError, UnsafeModelError, require_extra

# Anything else in a config, even a flash_attention_2 that is not installed, would be fetched from the hub and run
# as a kernel, whatever the caller asked for. True and False stand in flags of older versions.
_KNOWN_ATTENTION = {None, True, False, "eager", "sdpa", "flex_attention"}
_DTYPES = {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.bfloat16, torch.float16)}
# Verbosity, progress bars and torch's default dtype, which loading changes for a while, are global.
_LOADING = threading.RLock()


def dtype_named(name: str) -> torch.dtype:
    """Return the type of weights by its name in torch.

    Raises:
        ModelError: If it is none that models run in.
    """
    if name not in _DTYPES:
        raise ModelError(f"Expected one of the types {', '.join(_DTYPES)}, got {name!r}.")
    return _DTYPES[name]


def load_model(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    base: str | Path | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer, printing nothing; see `Classifier.from_pretrained`.

    Args:
        name_or_path: A folder or a hub id.
        revision: Commit, tag or branch on the hub.
        device: The accelerator if there is one, else the CPU.
        dtype: float32 on the CPU, elsewhere what the weights are stored in.
        base: For a PEFT adapter, its base model if that is elsewhere than the adapter says.
    """
    name = str(name_or_path)
    if Path(name).is_file():
        raise ModelError(f"{name} is a file; expected a folder with config.json and *.safetensors, or a hub id.")
    place = torch.device(device) if device is not None else _default_device()
    kind: torch.dtype | str = dtype or (torch.float32 if place.type == "cpu" else "auto")
    try:
        with _quiet():
            config = safe_config(name, revision)
            if (Path(name) / "adapter_config.json").is_file():
                model, tokenizer = _merge_adapter(Path(name), config, base, kind)
            else:
                model, tokenizer = _load_whole(name, revision, config, kind), load_tokenizer(name, revision)
    except ExpnetError:
        raise
    except Exception as error:  # damaged files make transformers raise nearly anything
        raise ModelError(f"{name} cannot be loaded as a sequence classifier: {error}") from error
    return model.to(place), tokenizer  # type: ignore[arg-type]


def _default_device() -> torch.device:
    # A build for CUDA names its accelerator also on a machine without one, unless it is asked to look.
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bar and load report off the terminal; what matters in them is raised."""
    with _LOADING:
        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        downloads = not are_progress_bars_disabled()
        logging.set_verbosity(ERROR)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        if downloads:  # they take long, and transformers has just switched their bars off too
            enable_progress_bars()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
            if not downloads:
                disable_progress_bars()


def safe_config(name: str, revision: str | None = None) -> PreTrainedConfig:
    """Read a model's config, and refuse one that would load code.

    Raises:
        ModelError: If there is no such model.
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
    """Refuse attention settings that would make transformers load code, in the config or any part of it.

    Raises:
        UnsafeModelError: With the key and its value.
    """
    for key, value in config.items():
        if key.strip("_").startswith("attn_implementation"):
            values = value.values() if isinstance(value, Mapping) else [value]
            if any(not isinstance(v, str | bool | None) or v not in _KNOWN_ATTENTION for v in values):
                raise UnsafeModelError(
                    f"The config of {name} asks for the attention {value!r} ({key}), which would load foreign code. "
                    "Delete that key if you trust the rest of the model."
                )
        elif isinstance(value, Mapping):
            refuse_unsafe_config(value, name)


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer without remote code; one that transformers made up is a `ModelError`."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    # Where its files are missing, transformers makes up a tokenizer that knows no words.
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):
        raise ModelError(
            f"{name} holds no tokenizer: the one made up for it knows {len(tokenizer)} tokens, all of them special. "
            "Save the model's own there, with save_pretrained."
        )
    return tokenizer


def _load_whole(name: str, revision: str | None, config: PreTrainedConfig, dtype: torch.dtype | str) -> PreTrainedModel:
    model, missing, mismatched = load_weights(name, revision, config, dtype)
    if missing:
        raise ModelError(
            f"{name} lacks the weights {', '.join(sorted(missing)[:4])}: it is no trained sequence classifier. "
            "Fine-tune it first, for example with `expnet finetune`."
        )
    if mismatched:
        key, found, expected = sorted(mismatched)[0]
        raise ModelError(
            f"The weights and the config of {name} do not fit in {len(mismatched)} places, first {key}: its shape is "
            f"{tuple(found)}, but the config expects {tuple(expected)}."
        )
    return model


def load_weights(
    name: str, revision: str | None, config: PreTrainedConfig, dtype: torch.dtype | str
) -> tuple[PreTrainedModel, set[str], set[tuple[str, tuple[int, ...], tuple[int, ...]]]]:
    """Load the weights of a classifier from safetensors; what is missing or does not fit is drawn at random.

    Returns:
        The model, the names of the weights that are missing, and the names and shapes of those that do not fit.

    Raises:
        ModelError: If the name is that of a PEFT adapter.
        UnsafeModelError: If there are only pickles.
    """
    if find_adapter_config_file(name, revision=revision) is not None:
        raise ModelError(f"{name} holds a PEFT adapter: download it into a folder, and load that.")
    _refuse_pickled_shards(name, revision, config)
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            name,
            revision=revision,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except OSError as error:
        if "safetensors" in str(error):
            raise UnsafeModelError(
                f"{name} holds no safetensors; other weight files are pickles, which can run code. Convert them "
                "where you trust them, with save_pretrained."
            ) from error
        raise
    return model, set(report["missing_keys"]), set(report["mismatched_keys"])


def _refuse_pickled_shards(name: str, revision: str | None, config: PreTrainedConfig) -> None:
    """Refuse an index that calls itself one of safetensors, but names other files, which transformers would load."""
    index = getattr(config, "transformers_weights", None) or SAFE_WEIGHTS_INDEX_NAME
    try:
        path = str(cached_file(name, index, revision=revision))
    except OSError:
        return  # one file, no shards
    if not index.endswith(".json"):
        return
    shards = json.loads(Path(path).read_text(encoding="utf-8"))["weight_map"].values()
    if foreign := sorted({str(shard) for shard in shards if not str(shard).endswith(".safetensors")}):
        raise UnsafeModelError(f"{index} of {name} names {foreign[0]}, which may be a pickle.")


def _merge_adapter(
    folder: Path, config: PreTrainedConfig, base: str | Path | None, dtype: torch.dtype | str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    require_extra("peft", "demo")
    from peft import PeftConfig, PeftModel, PeftType

    file = folder / "adapter_model.safetensors"
    if not file.is_file():
        raise UnsafeModelError(f"{folder} holds an adapter, but no adapter_model.safetensors.")
    settings = PeftConfig.from_pretrained(str(folder))
    if settings.is_prompt_learning or settings.peft_type == PeftType.XLORA:
        kind = PeftType(settings.peft_type).value
        raise ModelError(f"The adapter in {folder} is of the type {kind}, which cannot be merged into a model.")
    source, revision = (str(base), None) if base else (settings.base_model_name_or_path, settings.revision)
    if not source:
        raise ModelError(f"The adapter in {folder} does not name its base model: pass it as base.")
    refuse_unsafe_config(PreTrainedConfig.get_config_dict(source, revision=revision)[0], source)
    model, missing, mismatched = load_weights(source, revision, config, dtype)
    # The head often comes with the adapter, which then holds it whole.
    with safe_open(file, "pt") as weights:
        brought = {key.removeprefix("base_model.model.") for key in weights.keys()}  # noqa: SIM118  # no dict
    if lacking := sorted((missing | {key for key, _, _ in mismatched}) - brought):
        raise ModelError(
            f"Neither the adapter in {folder} nor its base {source} holds the weights {', '.join(lacking[:4])} in the "
            "shape of the config."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft uses what transformers is going to rename
        merged: PreTrainedModel = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    own = base is None and (folder / "tokenizer.json").is_file()
    return merged, load_tokenizer(str(folder) if own else source, None if own else revision)
