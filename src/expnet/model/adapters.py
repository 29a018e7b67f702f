"""Merge a PEFT adapter into its base model, checking that each of its tensors has a place there and none is missing."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn
from transformers import PreTrainedModel

from expnet.errors import ModelError, UnsafeModelError, require_extra
from expnet.model.files import shapes

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

WEIGHTS = "adapter_model.safetensors"
logger = logging.getLogger("expnet")
# Types of adapter that need no other file and can be merged exactly.
_MERGED = {
    *("LORA", "ADALORA", "BOFT", "C3A", "DELORA", "FOURIERFT", "GRALORA", "HIRA", "HRA", "IA3", "LN_TUNING"),
    *("LOHA", "LOKR", "MISS", "OFT", "RANDLORA", "ROAD", "SHIRA", "VBLORA", "VERA", "WAVEFT"),
}
# Settings that would import a module by name, or copy layers any number of times.
_UNSAFE = ("megatron_config", "layer_replication")


def read_settings(folder: Path) -> "PeftConfig":
    """Read the settings of an adapter.

    Raises:
        ModelError: If it is of a type that cannot be merged, or names a larger rank than its weights have.
        UnsafeModelError: If its weights are a pickle, or its settings ask for foreign code.
        MissingExtraError: If peft is not installed.
    """
    require_extra("peft", "demo")
    from peft import PeftConfig, PeftType

    if not (folder / WEIGHTS).is_file():
        raise UnsafeModelError(f"{folder} holds an adapter, but no {WEIGHTS}.")
    settings: PeftConfig = PeftConfig.from_pretrained(str(folder))
    kind = PeftType(settings.peft_type).value
    if kind not in _MERGED:
        raise ModelError(f"The adapter in {folder} is of the type {kind}, which cannot be merged into a model.")
    if asked := [name for name in _UNSAFE if getattr(settings, name, None)]:
        raise UnsafeModelError(f"The adapter in {folder} sets {asked[0]}, which is not supported: delete it.")
    largest = max((size for shape in shapes([folder / WEIGHTS]).values() for size in shape), default=0)
    ranks = [getattr(settings, "r", 0), *(getattr(settings, "rank_pattern", None) or {}).values()]
    if any(isinstance(rank, int) and rank > largest for rank in ranks):
        raise ModelError(
            f"The adapter in {folder} is of rank {max(ranks):,}, but no side of its weights exceeds {largest:,}."
        )
    return settings


def merge(
    model: PreTrainedModel, folder: Path, settings: "PeftConfig", source: str, drawn: set[str]
) -> PreTrainedModel:
    """Merge an adapter into a model, which is changed.

    Args:
        model: The base model.
        folder: The adapter's.
        settings: As from `read_settings`.
        source: Where the base comes from.
        drawn: Weights of the base that were initialised at random, such as a head; the adapter must hold them whole.

    Raises:
        ModelError: If the adapter lacks a tensor, holds one that has no place in the model, or one of another shape.
    """
    from peft import get_peft_model

    stored = shapes([folder / WEIGHTS])
    if lacking := _lacking(drawn, stored):
        raise ModelError(
            f"Neither the adapter in {folder} nor its base {source} holds the weights {', '.join(lacking[:4])} in the "
            "shape of the config."
        )
    settings.inference_mode = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft uses what transformers is going to rename
        warnings.filterwarnings("ignore", "The PEFT config's `base_model_name_or_path` was renamed")
        adapted = get_peft_model(model, settings)
        _check_tensors(adapted, stored, f"The adapter in {folder} does not fit its base {source}")
        adapted.load_adapter(str(folder), "default", torch_device=str(model.device))
        merged = adapted.merge_and_unload(safe_merge=True)
    return cast(PreTrainedModel, merged)


def savable(model: nn.Module, drawn: set[str]) -> Any:
    """Return a model as it is, but an adapted one merged if neither base nor adapter would hold all weights.

    Args:
        model: A model, or one with a PEFT adapter that is being trained.
        drawn: Weights that the base lacks, such as those of a pooler.
    """
    from peft import PeftModel, get_peft_model_state_dict

    if not isinstance(model, PeftModel) or not (lacking := _lacking(drawn, get_peft_model_state_dict(model))):
        return model
    logger.warning("The base lacks %s, so that the whole model is saved, not an adapter.", ", ".join(lacking))
    return model.merge_and_unload()


def _lacking(drawn: set[str], stored: Iterable[str]) -> list[str]:
    """Return the drawn weights that an adapter with these tensors does not hold whole."""
    return sorted(drawn - {name.removeprefix("base_model.model.") for name in stored})


def _check_tensors(adapted: "PeftModel", stored: dict[str, tuple[int, ...]], problem: str) -> None:
    from peft import get_peft_model_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        places = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    expected = {name: tuple(tensor.shape) for name, tensor in places.items()}
    if lacking := sorted(expected.keys() - stored.keys()):
        raise ModelError(f"{problem}: it lacks {len(lacking)} of {len(expected)} tensors, first {lacking[0]}.")
    # An adapter may also hold whole tables of embeddings.
    whole = {name: tuple(tensor.shape) for name, tensor in adapted.state_dict().items()}
    for name, shape in sorted(stored.items()):
        if (place := expected.get(name, whole.get(name))) != shape:
            raise ModelError(f"{problem}: {name} has the shape {shape}, expected {place or 'no such tensor'}.")
