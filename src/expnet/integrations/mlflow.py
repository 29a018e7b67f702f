"""A classifier with its ExpNet as an MLflow model: folders of safetensors and JSON, loaded by this module."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from expnet.errors import InputError, require_extra
from expnet.explainer import Explainer
from expnet.integrations.pandas import explain_frame
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.text.labels import OutputKind

for _package in ("mlflow", "pandas", "pyarrow"):
    require_extra(_package, "mlflow")
import mlflow.pyfunc  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.types import Schema  # noqa: E402
from mlflow.types.schema import Array, ColSpec, DataType, TensorSpec  # noqa: E402

from expnet.batch.rows import added_fields  # noqa: E402
from expnet.batch.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

_CLASSIFIER, _EXPLAINER = "classifier", "explainer"


def save_model(explainer: Explainer, path: str | Path, *, settings: Settings | None = None) -> None:
    """Save an MLflow model into a new folder; `mlflow.pyfunc.load_model` gives it back.

    The model takes a frame and returns one with the columns that `explain_frame` adds, a row each. Its `settings` are
    MLflow's `model_config`, so that `load_model(..., model_config={"method": "saliency"})` changes one of them.

    Args:
        explainer: With an ExpNet.
        path: The folder.
        settings: The columns that are read, method, limits.

    Raises:
        InputError: If the explainer has no ExpNet.
    """
    with _parts(explainer, settings or Settings()) as parts:
        mlflow.pyfunc.save_model(str(path), **parts)


def log_model(
    explainer: Explainer, name: str, *, settings: Settings | None = None, registered_model_name: str | None = None
) -> "ModelInfo":
    """Log an MLflow model to the active run, or to a new one, and register it under a name if one is given.

    Args:
        explainer: As for `save_model`.
        name: Of the model in the run.
        settings: As for `save_model`.
        registered_model_name: In the model registry.

    Returns:
        What MLflow says of it; its `model_uri` can be loaded.
    """
    with _parts(explainer, settings or Settings()) as parts:
        logged: ModelInfo = mlflow.pyfunc.log_model(name=name, registered_model_name=registered_model_name, **parts)
        return logged


@contextmanager
def _parts(explainer: Explainer, settings: Settings) -> Iterator[dict[str, Any]]:
    """Give what MLflow is to save; the folder with the weights is there as long as the block runs."""
    if explainer.network is None:
        raise InputError("The explainer has no ExpNet to save: load it with explainer=..., or train one.")
    if unnamed := [name for name in settings.columns if not isinstance(name, str)]:
        raise InputError(f"MLflow knows columns by strings, got {unnamed[0]!r}: rename the column.")
    config = asdict(settings)
    config.pop("shard_rows")
    with TemporaryDirectory() as folder:
        data = Path(folder) / "model"
        explainer.classifier.model.save_pretrained(data / _CLASSIFIER)
        explainer.classifier.tokenizer.save_pretrained(data / _CLASSIFIER)
        explainer.network.save_pretrained(data / _EXPLAINER)
        yield {
            "loader_module": "expnet.mlflow",
            "data_path": str(data),
            "model_config": config,
            "signature": _signature(settings, explainer.classifier.kind),
            "input_example": pd.DataFrame({settings.text: ["A short text."]}),
            "pip_requirements": [
                f"expnet[mlflow]=={version('expnet')}",
                # A build such as +cpu is not to be had everywhere.
                *(f"{name}=={version(name).partition('+')[0]}" for name in ("torch", "transformers")),
            ],
        }


def _signature(settings: Settings, kind: OutputKind) -> ModelSignature:
    # Nobody has to give a second text or a target; and a missing text is a row with a status, not an error.
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, str(name), required=name == settings.text) for name in settings.columns
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(_type(field.type), field.name, required=False) for field in added_fields(settings.prefix, kind)
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _type(kind: pa.DataType) -> DataType | Array:
    if pa.types.is_list(kind):
        return Array(_type(kind.value_type))
    names = {"string": DataType.string, "float": DataType.float, "int32": DataType.integer, "bool": DataType.boolean}
    return names[str(kind)]


class _PyfuncModel:
    """What MLflow calls."""

    def __init__(self, explainer: Explainer, config: dict[str, Any]) -> None:
        self._explainer = explainer
        self._config = config

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        optional = ("pair", "target_column")
        given: dict[str, Any] = {
            name: None if name in optional and value not in frame.columns else value
            for name, value in self._config.items()
        }
        found = explain_frame(self._explainer, frame, **given)
        return found[[field.name for field in added_fields(self._config["prefix"], self._explainer.classifier.kind)]]


def load_pyfunc(path: str, model_config: dict[str, Any]) -> _PyfuncModel:
    """Load what `save_model` saved; `expnet.mlflow` has it under the name that MLflow asks for."""
    classifier = Classifier.from_pretrained(Path(path) / _CLASSIFIER)
    return _PyfuncModel(Explainer(classifier, ExpNet.from_pretrained(Path(path) / _EXPLAINER)), model_config)
