"""A trained network on disk: model.safetensors and config.json, read strictly, never a pickle."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from expnet.errors import MismatchError, ModelError
from expnet.files.parsing import parse_json

_LARGEST = 1e9  # of a weight; training stays far below, and sums of larger ones overflow
_MORE = 1_000_000  # numbers that a config may ask for beyond its weights, 4 MB
CONFIG, WEIGHTS = "config.json", "model.safetensors"
D = TypeVar("D")


def write(folder: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write both files into an existing folder."""
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)


def read(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read configuration and weights from a folder or the hub.

    Raises:
        ModelError: If a file is missing or damaged, or a weight is not finite or beyond 1e9.
            Other formats are not looked for.
    """
    paths = []
    for file in (CONFIG, WEIGHTS):
        local = Path(name_or_path) / file
        if Path(name_or_path).is_dir():
            if not local.is_file():
                raise ModelError(f"{name_or_path} is no saved ExpNet: it holds no {file}.")
            paths.append(local)
            continue
        try:
            downloaded = hf_hub_download(
                str(name_or_path),
                file,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        except (EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            raise ModelError(
                f"{name_or_path} is neither a folder nor a repository on the hub with {file}: {error}"
            ) from error
        paths.append(Path(downloaded))
    try:
        config = parse_json(paths[0].read_bytes())
        weights = load_file(paths[1])
    except (ValueError, SafetensorError) as error:
        raise ModelError(f"The saved ExpNet in {name_or_path} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{paths[0]} holds no JSON object.")
    if wrong := sorted(name for name, tensor in weights.items() if not (tensor.double().abs() <= _LARGEST).all()):
        raise ModelError(
            f"The saved ExpNet in {name_or_path} is damaged: {', '.join(wrong)} holds NaN, infinity or a number beyond "
            f"{_LARGEST:.0e}."
        )
    return config, weights


def check_size(weights: Mapping[str, Tensor], wanted: int, source: str | Path) -> None:
    """Compare the weights that a config asks for with those that are stored, before memory is taken for them.

    Raises:
        MismatchError: If it asks for far more; which do not fit, loading says.
    """
    stored = sum(tensor.numel() for tensor in weights.values())
    if wanted > 2 * stored + _MORE:
        raise MismatchError(
            f"The weights in {source} do not fit its config, which asks for {wanted:,} numbers; they are {stored:,}."
        )


def parse(cls: type[D], data: Mapping[str, Any]) -> D:
    """Build a dataclass from JSON; lists become tuples.

    Raises:
        MismatchError: If a field is missing or unknown.
    """
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    if data.keys() != known:
        raise MismatchError(
            f"{cls.__name__} has unknown fields {sorted(data.keys() - known)} and lacks {sorted(known - data.keys())}: "
            "it was written by another version of expnet."
        )
    return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})
