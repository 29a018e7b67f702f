"""A classifier with its ExpNet as an MLflow model: folders of safetensors and JSON, loaded by this module."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from expnet.errors import InputError, require_extra
from expnet.explainer import Explainer
from expnet.integrations.pandas import explain_frame
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.runtime.versions import versions
from expnet.text.labels import OutputKind

for _package in ("mlflow", "pandas", "pyarrow"):
    require_extra(_package, "mlflow")
import mlflow.pyfunc  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.types import Schema  # noqa: E402
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Map, Object, Property, TensorSpec  # noqa: E402

from expnet.batch.added_columns import added_fields  # noqa: E402
from expnet.batch.settings import Settings  # noqa: E402

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

_CLASSIFIER, _EXPLAINER = "classifier", "explainer"
_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
# MLflow's type for Arrow types, the first that fits; MLflow has no unsigned numbers.
_TYPES: tuple[tuple[Callable[[pa.DataType], bool], DataType], ...] = (
    (lambda kind: any(test(kind) for test in _STRINGS), DataType.string),
    (lambda kind: any(test(kind) for test in _BYTES), DataType.binary),
    (pa.types.is_boolean, DataType.boolean),
    (lambda kind: kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()), DataType.integer),
    (lambda kind: kind in (pa.int64(), pa.uint32()), DataType.long),
    (lambda kind: kind in (pa.float16(), pa.float32()), DataType.float),
    (pa.types.is_float64, DataType.double),
    (lambda kind: pa.types.is_timestamp(kind) or pa.types.is_date(kind), DataType.datetime),
)


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
        MLflow's description of the model; its `model_uri` can be loaded.
    """
    with _parts(explainer, settings or Settings()) as parts:
        logged: ModelInfo = mlflow.pyfunc.log_model(name=name, registered_model_name=registered_model_name, **parts)
        return logged


@contextmanager
def _parts(explainer: Explainer, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield what MLflow saves; the folder with the weights exists until the block ends."""
    if explainer.network is None:
        raise InputError("The explainer has no ExpNet to save: load it with explainer=..., or train one.")
    if unnamed := [name for name in settings.columns if not isinstance(name, str)]:
        raise InputError(f"MLflow needs names of columns that are strings, got {unnamed[0]!r}: rename the column.")
    config = asdict(settings)
    config.pop("shard_rows")
    installed = versions()
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
                f"expnet[mlflow]=={installed['expnet']}",
                # A local build such as +cpu cannot be installed everywhere.
                *(f"{name}=={installed[name].partition('+')[0]}" for name in ("torch", "transformers")),
            ],
        }


def _signature(settings: Settings, kind: OutputKind) -> ModelSignature:
    # A second text and a target are optional, and a missing text is a row with a status, not an error.
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, str(name), required=name == settings.text) for name in settings.columns
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(column_type(field.type), field.name, required=False)
        for field in added_fields(settings.prefix, kind, every=settings.every)
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


def column_type(kind: pa.DataType) -> DataType | Array | Object | Map | AnyType:
    """Return MLflow's type for a column of an Arrow type, the narrowest that holds all its values.

    It is `AnyType` where MLflow has no such type, as for decimals, durations and whole numbers of 64 bits without a
    sign.
    """
    if pa.types.is_dictionary(kind):
        return column_type(kind.value_type)
    if any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return Array(column_type(kind.value_type))
    if pa.types.is_struct(kind):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return Object([Property(field.name, column_type(field.type), required=not field.nullable) for field in fields])
    if pa.types.is_map(kind) and column_type(kind.key_type) == DataType.string:
        return Map(column_type(kind.item_type))
    return next((name for fits, name in _TYPES if fits(kind)), AnyType())  # type: ignore[no-untyped-call]


class _PyfuncModel:
    """The model that MLflow calls."""

    def __init__(self, explainer: Explainer, config: dict[str, Any]) -> None:
        self._explainer = explainer
        self._config = config

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        optional = ("pair", "target_column")
        given: dict[str, Any] = {
            name: None if name in optional and value not in frame.columns else value
            for name, value in self._config.items()
        }
        explained = explain_frame(self._explainer, frame, **given)
        return explained[[name for name in explained.columns if name not in frame.columns]]


def load_pyfunc(path: str, model_config: dict[str, Any]) -> _PyfuncModel:
    """Load what `save_model` saved; `expnet.mlflow` has it under the name that MLflow asks for."""
    classifier = Classifier.from_pretrained(Path(path) / _CLASSIFIER)
    return _PyfuncModel(Explainer(classifier, ExpNet.from_pretrained(Path(path) / _EXPLAINER)), model_config)
