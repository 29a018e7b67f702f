"""The weights of an encoder, from the ONNX graph to which PyTorch exported it."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from onnx import GraphProto


def weights(graph: "GraphProto", module: str) -> dict[str, Tensor]:
    """Return the weights of a module, under their names in it.

    An export keeps the names of tensors, except of the matrices of linear layers, which it transposes and numbers:
    these get the name of the layer from the node that multiplies by them.

    Args:
        graph: The exported graph.
        module: Attribute of the exported model that holds the encoder, such as "auto_model".
    """
    from onnx import numpy_helper

    stored = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    named = {name.partition(f"{module}.")[2]: tensor for name, tensor in stored.items() if f"{module}." in name}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            layer = node.name.partition(f"{module}/")[2].removesuffix("/MatMul").replace("/", ".")
            named[f"{layer}.weight"] = stored[node.input[1]].T.contiguous()
    return named
