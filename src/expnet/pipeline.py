"""The name that `expnet.integrations.transformers` had before the rooms; code that imports it keeps working."""

from expnet.integrations.transformers import SafetensorsClassifier, TokenAttributionPipeline, register

__all__ = ["SafetensorsClassifier", "TokenAttributionPipeline", "register"]
