"""`expnet.integrations.mlflow` under the module name that saved models store in their MLmodel file as their loader."""

from expnet.batch.settings import Settings as Settings
from expnet.integrations.mlflow import load_pyfunc as _load_pyfunc  # noqa: F401  # MLflow calls it by this name
from expnet.integrations.mlflow import log_model as log_model
from expnet.integrations.mlflow import save_model as save_model
