"""Load a classifier from untrusted files: no remote code, no pickles."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from expnet.errors import ExpnetError, ModelError
from expnet.model.adapters import merge, read_settings
from expnet.model.files import check_files, refuse_unsafe_config, refuse_unsafe_tokenizer, safe_config
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.locks import Lock

_DTYPES = {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.bfloat16, torch.float16)}
# Verbosity, progress bars and torch's default dtype, which loading changes for a while, are global.
_LOADING = Lock()


def dtype_named(name: str) -> torch.dtype:
    """Return the type of weights by its name in torch.

    Raises:
        ModelError: If it is not one of the types that models run in.
    """
    if name not in _DTYPES:
        raise ModelError(f"Expected one of the types {', '.join(_DTYPES)}, got {name!r}.")
    return _DTYPES[name]


@torch_defaults()
def load_model(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    base: str | Path | None = None,
    language: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load model and tokenizer, printing nothing; see `Classifier.from_pretrained`.

    Args:
        name_or_path: A folder or a hub id.
        revision: Commit, tag or branch on the hub.
        device: The accelerator if there is one, else the CPU.
        dtype: float32 on the CPU, elsewhere what the weights are stored in.
        base: For a PEFT adapter, its base model if that is elsewhere than the adapter says.
        language: Load a causal language model instead of a sequence classifier.
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
                model, tokenizer = _load_adapted(Path(name), config, base, kind, language=language)
            else:
                model = _load_whole(name, revision, config, kind, language=language)
                tokenizer = load_tokenizer(name, revision)
    except ExpnetError:
        raise
    except Exception as error:  # damaged files make transformers raise nearly anything
        raise ModelError(f"{name} cannot be loaded as a {_what(language)}: {error}") from error
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


def load_tokenizer(name: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer without remote code.

    Raises:
        ModelError: If its files are missing, so that transformers made one up.
        UnsafeModelError: See `refuse_unsafe_tokenizer`.
    """
    refuse_unsafe_tokenizer(name, revision)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    refuse_made_up(tokenizer, name)
    return tokenizer


def refuse_made_up(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a tokenizer that knows no words: transformers makes one up where its files are missing.

    Raises:
        ModelError: If it knows special tokens only.
    """
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):
        raise ModelError(
            f"{name} holds no tokenizer: the one made up for it knows {len(tokenizer)} tokens, all of them special. "
            "Save the model's own there, with save_pretrained."
        )


def _what(language: bool) -> str:
    return "causal language model" if language else "sequence classifier"


def _load_whole(
    name: str, revision: str | None, config: PreTrainedConfig, dtype: torch.dtype | str, *, language: bool
) -> PreTrainedModel:
    model, missing, mismatched = load_weights(name, revision, config, dtype, language=language)
    refuse_incomplete(name, missing, mismatched, language=language)
    return model


def refuse_incomplete(
    name: str,
    missing: Collection[str],
    mismatched: Collection[tuple[str, Sequence[int], Sequence[int]]],
    *,
    language: bool = False,
) -> None:
    """Refuse a model with weights that transformers initialised at random.

    Args:
        name: Where it comes from.
        missing: Names of weights that its files lack.
        mismatched: Names of those of another shape, with the shapes in the files and by the config.
        language: Whether it is a causal language model instead of a sequence classifier.

    Raises:
        ModelError: If there are any.
    """
    if missing:
        hint = "" if language else " Fine-tune it first, for example with `expnet finetune`."
        raise ModelError(
            f"{name} lacks the weights {', '.join(sorted(missing)[:4])}: it is not a trained {_what(language)}.{hint}"
        )
    if mismatched:
        key, stored, expected = sorted(mismatched)[0]
        raise ModelError(
            f"The weights and the config of {name} do not fit in {len(mismatched)} places, first {key}: its shape is "
            f"{tuple(stored)}, but the config expects {tuple(expected)}."
        )


def load_weights(
    name: str, revision: str | None, config: PreTrainedConfig, dtype: torch.dtype | str, *, language: bool = False
) -> tuple[PreTrainedModel, set[str], set[tuple[str, tuple[int, ...], tuple[int, ...]]]]:
    """Load the weights of a model from safetensors; what is missing or does not fit is drawn at random.

    Returns:
        The model, the names of the weights that are missing, and the names and shapes of those that do not fit.

    Raises:
        ModelError: If the name is that of a PEFT adapter.
        UnsafeModelError: If there are only pickles.
    """
    auto: Any = AutoModelForCausalLM if language else AutoModelForSequenceClassification
    check_files(name, revision, config, auto=auto)
    model, report = auto.from_pretrained(
        name,
        revision=revision,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    return model, set(report["missing_keys"]), set(report["mismatched_keys"])


def _load_adapted(
    folder: Path, config: PreTrainedConfig, base: str | Path | None, dtype: torch.dtype | str, *, language: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    settings = read_settings(folder)
    source, revision = (str(base), None) if base else (settings.base_model_name_or_path, settings.revision)
    if not source:
        raise ModelError(f"The adapter in {folder} does not name its base model: pass it as base.")
    refuse_unsafe_config(PreTrainedConfig.get_config_dict(source, revision=revision)[0], source)
    model, missing, mismatched = load_weights(source, revision, config, dtype, language=language)
    merged = merge(model, folder, settings, source, drawn=missing | {key for key, _, _ in mismatched})
    own = base is None and (folder / "tokenizer.json").is_file()
    return merged, load_tokenizer(str(folder) if own else source, None if own else revision)
