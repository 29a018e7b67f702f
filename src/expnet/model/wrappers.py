"""Wrappers around a model: removed where that changes nothing, refused where it would change results."""

from typing import Any

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from transformers import PreTrainedModel

from expnet.errors import ModelError


def inner_model(model: Any) -> PreTrainedModel:
    """Return the model that is inside `torch.compile`, `DataParallel`, `DistributedDataParallel` or merged adapters.

    Raises:
        ModelError: If it is not a transformers model, has adapters that are not merged, runs under Accelerate's
            autocast, or has weights that are not in memory.
    """
    while True:
        compiled = getattr(model, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            model = compiled
        elif isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        else:
            break
    name = type(model).__name__
    if isinstance(model, nn.Module) and (adapters := _adapters(model)):
        raise ModelError(
            f"{name} has adapters that are not merged into its weights ({adapters}), which methods that read weights "
            "would not see. Pass model.merge_and_unload(), called on a copy if you want to train on; or save the "
            "adapter and load its folder."
        )
    if not isinstance(model, PreTrainedModel) and hasattr(model, "get_base_model"):
        model = model.get_base_model()
    if not isinstance(model, PreTrainedModel):
        raise ModelError(f"Expected a sequence classifier of transformers, got {name}: pass the model that is inside.")
    if "_original_forward" in vars(model):  # where Accelerate keeps the original
        raise ModelError(
            f"{name} was prepared by Accelerate for mixed precision, whose autocast changes what methods compute. Pass "
            "accelerator.unwrap_model(model, keep_fp32_wrapper=False)."
        )
    if absent := [parameter for parameter, weight in model.named_parameters() if weight.is_meta]:
        raise ModelError(
            f"{name} has {len(absent)} weights that are not in memory, first {absent[0]}: they are offloaded, or were "
            "never loaded. Load it without device_map, or onto one device."
        )
    return model


def _adapters(model: Any) -> str:
    """Name what PEFT adds to the weights in each pass; "" if there is nothing, or it is merged or switched off."""
    if getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False):
        return "a learned prompt"
    # Layers of PEFT keep the one that they change as `base_layer`.
    active = [
        place
        for place, module in model.named_modules()
        if hasattr(module, "base_layer")
        and not getattr(module, "merged", True)
        and not getattr(module, "disable_adapters", False)
        and getattr(module, "active_adapters", None)
    ]
    return f"first {active[0]}" if active else ""
