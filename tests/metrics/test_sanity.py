"""A copy without what was learned, from a model that stays as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from expnet.errors import InputError, UnsupportedModelError
from expnet.methods.families.gradient import input_x_gradient
from expnet.methods.layers import layer_stack
from expnet.metrics.sanity import randomised
from expnet.metrics.stability import rank_correlation
from expnet.model.classifier import Classifier
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.linear import linear_classifier
from tests.models import ARCHITECTURES, save


def trained(architecture="bert"):
    """A classifier of which no weight, not even a bias or a norm, is as at the start."""
    classifier = tiny_classifier(architecture)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in classifier.model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return classifier


def replaced(classifier, copied):
    """Names of the weights that differ between the two."""
    own, other = classifier.model.state_dict(), copied.model.state_dict()
    assert own.keys() == other.keys()
    return {name for name, weight in own.items() if not torch.equal(weight, other[name])}


def names_in(model, modules):
    inside = {id(weight) for module in modules for weight in module.parameters()}
    return {name for name, weight in model.named_parameters() if id(weight) in inside}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_head_and_top_layers_are_new_and_the_rest_is_as_it_was(architecture, layers):
    classifier = trained(architecture)
    model = classifier.model
    below = [*model.base_model.children()]
    head = [child for child in model.children() if child is not model.base_model]
    pooler = [child for child in below if "Pooler" in type(child).__name__]
    expected = names_in(model, [*head, *pooler, *list(layer_stack(model))[3 - layers :]])
    assert replaced(classifier, randomised(classifier, layers=layers, seed=0)) == expected


@pytest.mark.parametrize(
    ("architecture", "name", "spread"),
    [
        ("bert", "bert.encoder.layer.2.attention.self.query.weight", 0.3),  # the tiny models' initializer_range
        ("bert", "classifier.weight", 0.3),
        # What stands on a residual path is drawn smaller, by the paths of three layers.
        ("gpt2", "transformer.h.2.attn.c_proj.weight", 0.3 / 6**0.5),
        ("modernbert", "classifier.weight", 32**-0.5),
    ],
)
def test_new_weights_are_spread_as_the_architecture_says(architecture, name, spread):
    weight = randomised(trained(architecture), layers=3, seed=0).model.state_dict()[name]
    # Four standard errors of a standard deviation.
    assert float(weight.std()) == pytest.approx(spread, rel=4 / (2 * weight.numel()) ** 0.5)


def test_new_biases_are_zero_and_new_norms_one():
    classifier = trained()
    copied = randomised(classifier, layers=3, seed=0)
    vectors = {name: copied.model.state_dict()[name] for name in replaced(classifier, copied) if "bias" in name}
    assert len(vectors) == 3 * 8 + 2  # of each layer, and of pooler and classifier
    assert all((weight == 0).all() for weight in vectors.values())
    norms = [module for layer in layer_stack(copied.model) for module in layer.modules() if hasattr(module, "eps")]
    assert len(norms) == 6
    assert all((norm.weight == 1).all() for norm in norms)


def test_the_borrowed_model_and_the_global_randomness_stay_bit_by_bit():
    classifier = trained()
    before = {name: weight.clone() for name, weight in classifier.model.state_dict().items()}
    classifier.model.train()
    state = torch.get_rng_state()
    copied = randomised(classifier, layers=2, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in classifier.model.modules())
    with torch.no_grad():
        for weight in copied.model.parameters():
            weight.zero_()
    assert all(torch.equal(weight, before[name]) for name, weight in classifier.model.state_dict().items())


def test_a_layer_gets_the_same_weights_however_many_are_replaced_and_others_by_another_seed():
    classifier = trained()
    few, many, other = (randomised(classifier, layers=n, seed=seed) for n, seed in ((1, 0), (3, 0), (1, 5)))
    both = replaced(classifier, few)
    assert not both & replaced(few, many)
    assert "classifier.weight" in replaced(few, other)


def test_a_model_loaded_from_files_is_randomised_too(tmp_path):
    """transformers remembers which weights it has read, and does not draw those again."""
    loaded = Classifier.from_pretrained(save(tmp_path, trained().model), device="cpu")
    assert "classifier.weight" in replaced(loaded, randomised(loaded, layers=0, seed=0))


def test_the_copy_reads_windows_of_the_same_length():
    assert randomised(tiny_classifier(max_length=9), layers=0, seed=0).max_length == 9


def test_explanations_by_gradient_change_with_the_weights():
    classifier = trained()
    encoding = classifier.encode([Text.of("a good film, the first one: short text")])
    target = torch.zeros(1, dtype=torch.long)
    scores = [
        input_x_gradient(model, encoding, target)[0].numpy()
        for model in (classifier, *(randomised(classifier, layers=3, seed=seed) for seed in range(10)))
    ]
    correlations = [rank_correlation(scores[0], other) for other in scores[1:]]
    # Twelve positions: independent ranks correlate by 0.3 in the standard deviation, their mean over ten by 0.1.
    assert abs(np.mean(correlations)) < 0.5


@pytest.mark.parametrize("layers", [-1, 4])
def test_layers_that_the_model_does_not_have_are_refused(layers):
    with pytest.raises(InputError, match=f"0 to 3 layers to randomise, got {layers}"):
        randomised(trained(), layers=layers, seed=0)


def test_a_model_without_a_list_of_layers_is_refused():
    classifier = linear_classifier()
    classifier.model.config.num_hidden_layers = 2
    assert not any(isinstance(module, nn.ModuleList) for module in classifier.model.modules())
    with pytest.raises(UnsupportedModelError, match="keeps no list of 2 layers"):
        randomised(classifier, layers=0, seed=0)
