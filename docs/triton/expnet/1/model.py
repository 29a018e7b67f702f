"""expnet behind Triton's Python backend: texts in, labels and explanations out."""

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

import expnet


class TritonPythonModel:
    """One explainer; config.pbtxt names its model, its method and, where it has one of its own, its ExpNet."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Load the model onto the device that Triton chose."""
        settings = {
            name: value["string_value"] for name, value in json.loads(args["model_config"])["parameters"].items()
        }
        on_gpu = args["model_instance_kind"] == "GPU"
        self.explainer = expnet.load(
            settings["model"],
            explainer=settings.get("explainer"),
            device=f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu",
        )
        self.method = settings.get("method", "expnet")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that Triton joined, as one batch; if it fails, each by itself."""
        texts = [_texts(request) for request in requests]
        try:
            made = self.explainer.explain([text for of_one in texts for text in of_one], method=self.method)
        except expnet.ExpnetError:
            return [self._alone(of_one) for of_one in texts]
        left = iter(made)
        return [_answer([next(left) for _ in of_one]) for of_one in texts]

    def _alone(self, texts: list[str]) -> Any:
        try:
            return _answer(self.explainer.explain(texts, method=self.method))
        except expnet.ExpnetError as error:
            return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(error)))


def _texts(request: Any) -> list[str]:
    column = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
    return [text.decode("utf-8", errors="surrogateescape") for text in column.reshape(-1)]  # else expnet says where


def _answer(explanations: list[expnet.Explanation]) -> Any:
    rows = {
        "label": [explanation.label for explanation in explanations],
        "explanation": [explanation.to_json() for explanation in explanations],
    }
    tensors = [
        pb_utils.Tensor(name, np.array([[value.encode()] for value in column], dtype=np.object_).reshape(-1, 1))
        for name, column in rows.items()
    ]
    return pb_utils.InferenceResponse(output_tensors=tensors)
