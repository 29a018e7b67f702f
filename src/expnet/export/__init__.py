"""A classifier and its ExpNet as one ONNX graph, and explanations from it without torch."""

from expnet.export.explaining import OnnxExplainer as OnnxExplainer
from expnet.export.writing import export as export
