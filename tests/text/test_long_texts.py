"""Long texts in one pass: nothing that is computed grows with the square of their length."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from expnet.explainer import Explainer
from expnet.network.universal import universal
from expnet.runtime import memory
from tests.classifiers import tiny_classifier, tiny_explainer

MODELS = ("bert", "modernbert", "modernbert-mean", "llama")
SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}


class Largest(TorchDispatchMode):
    """Sees whatever any operation returns, on the way forward, and keeps the most elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        # A broadcast view counts as what it shows, a mask as what it hides.
        self.elements = max([self.elements, *(x.numel() for x in tree_leaves(result) if isinstance(x, Tensor))])
        return result


def text_of(tokens: int) -> str:
    return "good " * (tokens - 2)


def largest(explainer: Explainer, tokens: int) -> int:
    explainer.classifier.support  # noqa: B018  # found on two short texts, with attention in the open
    with Largest() as seen:
        explanation = explainer.explain(text_of(tokens))
    assert explanation.windows == 1
    assert len(explanation.words) == tokens - 2
    return seen.elements


def explainer_of(architecture: str, network: str, tokens: int) -> Explainer:
    classifier = tiny_classifier(architecture, **SIZES, max_position_embeddings=tokens)
    return Explainer(classifier, universal("attention")) if network == "universal" else tiny_explainer(classifier)


@pytest.mark.parametrize("network", ["own", "universal"])
@pytest.mark.parametrize("architecture", MODELS)
def test_no_tensor_has_a_number_for_each_pair_of_tokens(architecture, network):
    explainer = explainer_of(architecture, network, 2048)
    short, long = (largest(explainer, tokens) for tokens in (512, 2048))
    # Blocks of 128 queries, with all heads, are the most there should be; a matrix of one head has 2048 * 2048.
    assert long < 2048**2 / 2
    assert long <= 4.1 * short


def test_a_matrix_would_have_been_seen():
    explainer = explainer_of("llama", "own", 512)
    explainer.classifier.support = replace(explainer.classifier.support, backend="eager")
    assert largest(explainer, 512) >= 512**2


@pytest.mark.parametrize("architecture", ["modernbert", "llama"])
def test_eight_thousand_tokens_take_less_memory_than_one_matrix_would(architecture):
    explainer = explainer_of(architecture, "own", 8192)
    explainer.explain(text_of(256))  # what loads on first use
    took = memory.peak(lambda: explainer.explain(text_of(8192)), torch.device("cpu"))
    assert math.isnan(took) or took < 8192**2 * 4 / 2**20 / 2, "half a matrix of one head, in megabytes"


def test_where_the_model_reads_less_windows_hold_the_text_and_take_no_more_at_once():
    classifier = tiny_classifier(**SIZES)
    explainer, limit = tiny_explainer(classifier), classifier.max_length
    explainer.explain("good")
    with Largest() as seen:
        explanation = explainer.explain(text_of(8192))
    assert explanation.windows > 8192 / limit
    assert len(explanation.words) == 8190
    assert all(0 < word.score < 1 for word in explanation.words)
    assert seen.elements < 8192 * 128, "less than a block of queries"
