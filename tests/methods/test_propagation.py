"""Conservative propagation is the slope of a model whose attention and normalisers are held, and loses nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from expnet.methods.families.propagation import conservative_propagation
from expnet.text.encoding import Encoding
from expnet.text.texts import Text
from tests.models import ARCHITECTURES
from tests.naive import NaiveBert, shaken_classifier

TEXTS = ("a good film", "bad", "the first one is long, but short")


def encode(classifier, *texts: str) -> Encoding:
    return classifier.encode([Text.of(text) for text in texts or TEXTS])


def with_special_tokens(encoding: Encoding) -> Encoding:
    """The same windows, in which special tokens count as text and so get scores."""
    return replace(encoding, special=torch.zeros_like(encoding.special))


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2"])
def test_a_text_scores_alike_alone_and_in_a_batch(architecture):
    classifier = shaken_classifier(architecture)
    together = conservative_propagation(classifier, encode(classifier), torch.tensor([0, 1, 2]))
    for index, text in enumerate(TEXTS):
        alone = conservative_propagation(classifier, encode(classifier, text), torch.tensor([index]))
        length = alone.shape[1]
        # Rounding of float32, as padding changes the order of sums.
        assert_close(together[index, :length], alone[0], atol=1e-4, rtol=1e-3)
        assert alone.any()
        assert not together[index, length:].any()


def test_it_is_the_slope_along_each_word_of_a_bert_written_out_whose_attention_and_deviations_are_held():
    classifier = shaken_classifier("bert")
    encoding, step = encode(classifier, TEXTS[0]), 1e-4
    bert = NaiveBert(classifier)
    words = bert.words(encoding.ids[0].tolist())
    held = bert(words)
    expected = torch.zeros(3, len(words), dtype=torch.float64)
    for j, word in enumerate(words):
        up, down = (bert([*words[:j], word * (1 + s), *words[j + 1 :]], held).logits for s in (step, -step))
        expected[:, j] = torch.from_numpy(up - down) / (2 * step)
    for target in range(3):
        actual = conservative_propagation(classifier, with_special_tokens(encoding), torch.tensor([target]))
        # Rounding of float32 through three layers.
        assert_close(actual[0].double(), expected[target], atol=1e-4, rtol=1e-3)


def homogeneous(architecture: str):
    """A classifier with no biases and nothing curved but attention and norms, so that its logits are homogeneous."""
    settings = {
        "gpt2": {"activation_function": "relu"},
        "modernbert": {"classifier_activation": "relu"},
        "modernbert-mean": {"classifier_activation": "relu"},
    }
    classifier = shaken_classifier(architecture, **settings.get(architecture, {}))
    with torch.no_grad():
        for name, weight in classifier.model.named_parameters():
            gated = "gpt2" not in architecture and name.endswith(("mlp.down_proj.weight", "mlp.Wo.weight"))
            if name.endswith((".bias", "wpe.weight")) or gated:
                weight.zero_()
    return classifier


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "modernbert", "modernbert-mean"])
def test_without_biases_the_scores_of_all_tokens_sum_to_the_logit(architecture):
    classifier = homogeneous(architecture)
    encoding, target = with_special_tokens(encode(classifier)), torch.tensor([0, 1, 2])
    logits = classifier.model(**encoding.inputs()).logits.detach()
    scores = conservative_propagation(classifier, encoding, target)
    # The law is exact; what is left is rounding of float32.
    assert_close(scores.sum(1), logits[torch.arange(3), target], atol=1e-5, rtol=1e-4)


def test_a_root_mean_square_norm_of_torch_counts_as_one_that_is_written_out():
    classifier = shaken_classifier("llama")
    encoding, target = encode(classifier), torch.tensor([0, 1, 2])
    expected = conservative_propagation(classifier, encoding, target)
    for layer in classifier.model.model.layers:
        own = layer.input_layernorm
        layer.input_layernorm = nn.RMSNorm(32, eps=own.variance_epsilon)
        layer.input_layernorm.weight = own.weight
    assert_close(conservative_propagation(classifier, encoding, target), expected, atol=1e-5, rtol=1e-4)
