"""Gradient methods against closed forms, captum, and naive loops."""

import math

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients, Saliency
from torch.testing import assert_close

from expnet.errors import OptionError, UnsupportedModelError
from expnet.methods.families.gradient import (
    gradient_shap,
    input_x_gradient,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from expnet.methods.families.perturbation import leave_one_out
from expnet.methods.replacement import baseline_embedding
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.linear import contributions, linear_classifier
from tests.models import ARCHITECTURES

TEXTS = ("A good film.", "bad", "The first one is long, but another is short and good!")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def linear():
    classifier = linear_classifier()
    encoding = classifier.encode([Text.of(text) for text in TEXTS])
    return classifier, encoding, torch.tensor([0, 1, 2])


@pytest.fixture
def bert():
    classifier = tiny_classifier()
    encoding = classifier.encode([Text.of(text) for text in TEXTS])
    return classifier, encoding, torch.tensor([0, 1, 2])


def on_embeddings(classifier, encoding):
    """Return the model as a function of the embeddings of its tokens, for captum, and those embeddings."""
    model, inputs = classifier.model, encoding.inputs()
    ids = inputs.pop("input_ids")
    embeddings = model.get_input_embeddings().weight.detach()[ids]

    def forward(embedded):
        copies = len(embedded) // len(ids)
        # captum puts whole batches one after another
        return model(inputs_embeds=embedded, **{k: v.repeat(copies, 1) for k, v in inputs.items()}).logits

    return forward, embeddings


def test_sequential_integrated_gradients_are_leaving_one_out(bert):
    """What docs/methods.md says of Enguehard 2023: each token's path leads from the text without it to the text."""
    classifier, encoding, target = bert
    nodes, weights = np.polynomial.legendre.leggauss(40)
    shares, weights = torch.tensor((nodes + 1) / 2).float(), torch.tensor(weights / 2).float()
    forward, embeddings = on_embeddings(classifier, encoding)
    base = baseline_embedding(classifier, "mask").detach()
    expected = torch.zeros(encoding.ids.shape)
    for token in range(encoding.ids.shape[1]):
        change = embeddings[:, token] - base
        for share, weight in zip(shares, weights, strict=True):
            on_the_path = embeddings.clone()
            on_the_path[:, token] = base + share * change
            on_the_path.requires_grad_()
            logits = forward(on_the_path).gather(1, target[:, None]).sum()
            (gradient,) = torch.autograd.grad(logits, on_the_path)
            expected[:, token] += weight * (gradient[:, token] * change).sum(-1)
    scores = leave_one_out(classifier, encoding, target)
    assert_close(scores, expected.masked_fill(~encoding.real, 0), atol=2e-3, rtol=1e-3)


class TestOnALinearClassifier:
    def test_input_x_gradient_is_what_each_token_contributes(self, linear):
        classifier, encoding, target = linear
        expected = contributions(classifier, encoding.ids, target).masked_fill(~encoding.real, 0)
        assert_close(input_x_gradient(*linear), expected)

    @pytest.mark.parametrize("replacement", ["mask", "pad", "zero"])
    def test_integrated_gradients_are_contributions_against_the_replacement(self, linear, replacement):
        classifier, encoding, target = linear
        base = baseline_embedding(classifier, replacement) @ classifier.model.head.weight.detach()[target].T
        expected = (contributions(classifier, encoding.ids, target) - base[:, None]).masked_fill(~encoding.real, 0)
        assert_close(integrated_gradients(*linear, replacement=replacement, steps=1), expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(("norm", "order"), [("l2", 2), ("l1", 1)])
    def test_saliency_is_the_norm_of_the_weights(self, linear, norm, order):
        classifier, encoding, target = linear
        expected = classifier.model.head.weight.detach()[target].norm(p=order, dim=1)[:, None] * encoding.real
        assert_close(saliency(*linear, norm=norm), expected)

    def test_noise_does_not_matter_to_a_constant_gradient(self, linear):
        assert_close(smooth_grad(*linear, generator=seeded(), samples=3), saliency(*linear))

    def test_gradient_shap_is_integrated_gradients_where_there_is_no_noise(self, linear):
        shap = gradient_shap(*linear, generator=seeded(), samples=3, noise=0.0)
        assert_close(shap, integrated_gradients(*linear), atol=1e-5, rtol=1e-5)


class TestAgainstCaptum:
    def test_saliency_and_input_x_gradient(self, bert):
        classifier, encoding, target = bert
        forward, embeddings = on_embeddings(classifier, encoding)
        embeddings.requires_grad_()
        slopes = Saliency(forward).attribute(embeddings, target=target, abs=False)
        assert_close(saliency(*bert), (slopes.norm(dim=-1) * encoding.real), atol=1e-5, rtol=1e-4)
        products = InputXGradient(forward).attribute(embeddings, target=target).sum(-1).detach()
        assert_close(input_x_gradient(*bert), products * encoding.real, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("replacement", ["mask", "pad", "zero"])
    def test_integrated_gradients(self, bert, replacement):
        classifier, encoding, target = bert
        forward, embeddings = on_embeddings(classifier, encoding)
        base = torch.where(encoding.real[..., None], baseline_embedding(classifier, replacement), embeddings)
        expected = IntegratedGradients(forward).attribute(
            embeddings, base, target=target, n_steps=20, method="gausslegendre", internal_batch_size=len(encoding)
        )
        actual = integrated_gradients(*bert, replacement=replacement, steps=20)
        assert_close(actual, expected.sum(-1).float(), atol=1e-5, rtol=1e-4)

    def test_gradient_shap_in_the_mean_of_many_samples(self, bert, monkeypatch):
        classifier, encoding, target = bert
        _, embeddings = on_embeddings(classifier, encoding)
        base = torch.where(encoding.real[..., None], baseline_embedding(classifier, "mask"), embeddings)
        expected = []
        for row in range(len(encoding)):  # captum draws one base for all rows from a set of them

            def alone(embedded, row=row):
                inputs = encoding.rows(row, row + 1, encoding.ids.shape[1]).inputs()
                inputs.pop("input_ids")
                return classifier.model(
                    inputs_embeds=embedded, **{k: v.expand(len(embedded), -1) for k, v in inputs.items()}
                ).logits

            with torch.random.fork_rng():
                torch.manual_seed(0)
                monkeypatch.setattr(np.random, "uniform", np.random.default_rng(row).uniform)  # where captum draws
                explained = GradientShap(alone).attribute(
                    embeddings[row : row + 1], base[row : row + 1], target=int(target[row]), n_samples=4000, stdevs=0.0
                )
            expected.append(explained.sum(-1)[0].float())
        actual = gradient_shap(*bert, generator=seeded(), samples=4000, noise=0.0)
        assert_close(actual, torch.stack(expected), atol=0.04 * float(actual.abs().max()), rtol=0)


class TestIntegratedGradients:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_they_sum_to_what_the_tokens_change(self, architecture):
        classifier = tiny_classifier(architecture)
        encoding = classifier.encode([Text.of(text) for text in TEXTS])
        target, replacement = torch.tensor([0, 1, 2]), "pad"
        scores = integrated_gradients(classifier, encoding, target, replacement=replacement, steps=100)
        inputs, embeddings = encoding.inputs(), classifier.model.get_input_embeddings()
        with torch.no_grad():
            full = classifier.model(**inputs).logits
            # Ids without meaning but their embedding: all tokens share that of the padding, positions stay.
            hook = embeddings.register_forward_hook(
                lambda _module, _args, raw: torch.where(encoding.real[..., None], embeddings.weight[0], raw)
            )
            bare = classifier.model(**inputs).logits
            hook.remove()
        gained = (full - bare).gather(1, target[:, None])[:, 0]
        # What is left is the quadrature's, most where a ReLU has kinks (DistilBERT); it shrinks with the steps.
        assert_close(scores.sum(1), gained, atol=0.02 * float(gained.abs().max()), rtol=0)

    def test_more_steps_than_fit_one_pass_change_nothing(self, bert, monkeypatch):
        whole = integrated_gradients(*bert, steps=7)
        monkeypatch.setattr("expnet.methods.families.gradient.budget", lambda _, **__: 2 * bert[1].ids.numel())
        assert_close(integrated_gradients(*bert, steps=7), whole, atol=1e-6, rtol=1e-4)


class TestNoise:
    def test_no_noise_is_saliency(self, bert):
        assert_close(
            smooth_grad(*bert, generator=seeded(), samples=2, noise=0.0), saliency(*bert), atol=1e-6, rtol=1e-4
        )

    def test_it_is_a_share_of_the_range_of_the_text(self, bert):
        """Against a naive loop that draws from the same sources of randomness."""
        from expnet.methods.passes import generator_of, seed_of

        classifier, encoding, target = bert
        forward, embeddings = on_embeddings(classifier, encoding)
        seed, row, samples = seed_of(seeded()), 0, 3
        length = int(encoding.mask[row].sum())
        own, source, total = embeddings[row, :length], generator_of(encoding, row, seed), 0.0
        for _ in range(samples):
            noise = 0.2 * (own.max() - own.min()) * torch.randn(own.shape, generator=source)
            point = embeddings.clone()
            point[row, :length] += noise * encoding.real[row, :length, None]
            point.requires_grad_()
            (slope,) = torch.autograd.grad(forward(point)[row, target[row]], point)
            total = total + slope[row] / samples
        expected = total.norm(dim=-1) * encoding.real[row]
        actual = smooth_grad(*bert, generator=seeded(), samples=samples, noise=0.2)
        assert_close(actual[row], expected, atol=1e-6, rtol=1e-4)

    def test_a_copy_does_not_depend_on_how_many_share_a_pass(self, bert, monkeypatch):
        whole = smooth_grad(*bert, generator=seeded(), samples=5)
        monkeypatch.setattr("expnet.methods.families.gradient.budget", lambda _, **__: 1)
        assert_close(smooth_grad(*bert, generator=seeded(), samples=5), whole, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (integrated_gradients, {"steps": 0}, "steps is 0, expected 1 or more"),
        (smooth_grad, {"samples": 0, "generator": seeded()}, "samples is 0"),
        (smooth_grad, {"noise": -0.5, "generator": seeded()}, r"noise is -0\.5, expected 0 or more"),
        (gradient_shap, {"noise": -math.inf, "generator": seeded()}, "noise is -inf"),
    ],
)
def test_impossible_options_are_refused(bert, method, options, message):
    with pytest.raises(OptionError, match=message):
        method(*bert, **options)


def test_without_a_mask_token_the_mask_replacement_is_refused():
    classifier = tiny_classifier("gpt2")
    encoding = classifier.encode([Text.of("good film")])
    with pytest.raises(OptionError, match=r"no mask token.*'pad' or 'zero'"):
        integrated_gradients(classifier, encoding, torch.tensor([0]))


def test_input_x_gradient_is_refused_where_it_is_zero_by_construction():
    """ModernBERT normalises word embeddings at once: by Euler's theorem the product vanishes."""
    classifier = tiny_classifier("modernbert")
    encoding = classifier.encode([Text.of(text) for text in TEXTS])
    with pytest.raises(UnsupportedModelError, match=r"normalises word embeddings .* 0 for every text"):
        input_x_gradient(classifier, encoding, torch.tensor([0, 1, 2]))


def test_input_x_gradient_that_happens_to_be_small_is_no_reason_to_refuse():
    classifier = linear_classifier()
    classifier.model.words.weight.data = torch.tensor([[1.0, -1.0] * 4]).repeat(len(classifier.model.words.weight), 1)
    classifier.model.head.weight.data[:] = torch.tensor([[1.0, 1.0] * 4])
    classifier.model.words.weight.data[5:, 0] += 1e-4
    encoding = classifier.encode([Text.of(text) for text in TEXTS])
    scores = input_x_gradient(classifier, encoding, torch.tensor([0, 1, 2]))
    assert_close(scores[encoding.real], torch.full((int(encoding.real.sum()),), 1e-4), atol=1e-6, rtol=0)
