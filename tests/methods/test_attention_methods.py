"""Attention rules, with and without gradients, against cases by hand and naive second implementations."""

import itertools

import networkx
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from expnet.attention.intercept import run
from expnet.methods.families import attention, attention_gradient
from expnet.methods.families.attention import anchor_row
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.models import ARCHITECTURES

TEXTS = ("A good film.", "bad", "The first one is long, but another is short!")


def case(architecture="bert", target=(0, 1, 2)):
    classifier = tiny_classifier(architecture)
    return classifier, classifier.encode([Text.of(text) for text in TEXTS]), torch.tensor(target)


def naive(classifier, encoding):
    """Each text alone, under transformers' own eager attention: what reads its attention and hidden states."""
    model = classifier.model
    model.set_attn_implementation("eager")
    for row, length in enumerate(encoding.mask.sum(1).tolist()):
        ids = encoding.ids[row : row + 1, :length]
        types = {} if encoding.type_ids is None else {"token_type_ids": encoding.type_ids[row : row + 1, :length]}
        outputs = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            output_attentions=True,
            output_hidden_states=True,
            **types,
        )
        yield row, length, outputs


def anchor_of(classifier, length):
    place = classifier.support.anchor
    if place == "mean":
        return torch.full((length,), 1 / length)
    return torch.eye(length)[0 if place == "first" else length - 1]


def agree(classifier, encoding, scores, expected):
    """Compare scores with what a function of one text's outputs says, on the tokens that stand for text."""
    for row, length, outputs in naive(classifier, encoding):
        wanted = expected(row, length, outputs) * encoding.real[row, :length]
        assert_close(scores[row, :length], wanted.float().detach(), atol=1e-6, rtol=1e-3)
        assert not scores[row, length:].any()


class TestAttention:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("layers", ["last", "all"])
    @pytest.mark.parametrize("direction", ["row", "column", "received"])
    def test_raw_attention_is_the_mean_over_heads(self, architecture, layers, direction):
        classifier, encoding, target = case(architecture)
        scores = attention.raw_attention(classifier, encoding, target, layers=layers, direction=direction)

        def expected(_row, length, outputs):
            maps = torch.stack(outputs.attentions)[:, 0].mean(1)
            maps = maps[-1] if layers == "last" else maps.mean(0)
            pooled = anchor_of(classifier, length)
            return {"row": pooled @ maps, "column": maps @ pooled, "received": maps.mean(0)}[direction]

        agree(classifier, encoding, scores, expected)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_rollout_is_the_product_of_all_matrices(self, architecture):
        classifier, encoding, target = case(architecture)
        scores = attention.rollout(classifier, encoding, target, residual=0.3)

        def expected(_row, length, outputs):
            product = torch.eye(length)
            for layer in outputs.attentions:
                product = (0.3 * torch.eye(length) + 0.7 * layer[0].mean(0)) @ product
            return anchor_of(classifier, length) @ product

        agree(classifier, encoding, scores, expected)

    @pytest.mark.parametrize("architecture", ["bert", "gpt2", "modernbert-mean"])
    def test_attention_flow_is_the_maximum_flow_that_networkx_finds(self, architecture):
        classifier, encoding, target = case(architecture)
        scores = attention.attention_flow(classifier, encoding, target)

        def expected(_row, length, outputs):
            graph = networkx.DiGraph()
            for layer, (i, j) in itertools.product(range(3), itertools.product(range(length), repeat=2)):
                mixed = 0.5 * outputs.attentions[layer][0].mean(0)[i, j].item() + 0.5 * (i == j)
                graph.add_edge((layer, j), (layer + 1, i), capacity=mixed)
            for token, share in enumerate(anchor_of(classifier, length).tolist()):
                graph.add_edge((3, token), "sink", capacity=share)
            return torch.tensor([networkx.maximum_flow_value(graph, (0, j), "sink") for j in range(length)])

        for row, length, outputs in naive(classifier, encoding):
            wanted = expected(row, length, outputs) * encoding.real[row, :length]
            # Capacities are rounded to millionths.
            assert_close(scores[row, :length], wanted.float(), atol=1e-5 * length, rtol=0)

    def test_a_flow_by_hand(self):
        """One layer, two tokens: the anchor takes .7 from the first and .3 from the second; two layers share it."""
        one = np.array([[[0.7, 0.3], [0.4, 0.6]]])
        assert attention._flows(one, np.array([1.0, 0.0]), [0, 1]) == [0.7, 0.3]
        # From token 1: .3 over token 0 in the first layer, then .7 of room; .6 over token 1, then .3 of room.
        two = np.concatenate([one, one])
        assert attention._flows(two, np.array([1.0, 0.0]), [1]) == pytest.approx([0.6])

    @pytest.mark.parametrize("layers", ["last", "all"])
    def test_value_norms_by_loops_over_heads(self, layers):
        classifier, encoding, target = case("bert")
        scores = attention.value_norm_attention(classifier, encoding, target, layers=layers)

        def expected(_row, length, outputs):
            norms = []
            for index, block in enumerate(classifier.model.bert.encoder.layer):
                values = block.attention.self.value(outputs.hidden_states[index])[0].unflatten(-1, (4, 8))
                weight = block.attention.output.dense.weight.unflatten(1, (4, 8))
                vectors = torch.zeros(length, 32)
                for head in range(4):
                    for token in range(length):
                        share = outputs.attentions[index][0, head, 0, token]
                        vectors[token] += share * (weight[:, head] @ values[token, head])
                norms.append(vectors.norm(dim=1))
            return norms[-1] if layers == "last" else torch.stack(norms).mean(0)

        with torch.no_grad():
            agree(classifier, encoding, scores, expected)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_value_norms_add_up_to_no_less_than_the_norm_of_what_attention_gives(self, architecture):
        """The triangle inequality, on every architecture; with padding and special tokens left in."""
        classifier, encoding, _ = case(architecture)
        anchor = anchor_row(encoding, classifier.support.anchor)
        with torch.inference_mode():
            done = run(classifier.model, encoding.inputs(), attend=lambda _, layer: layer)
        for layer in done.layers:
            carried = attention._carried(layer, anchor)
            joined = (layer.probabilities @ layer.value).transpose(1, 2).flatten(2)
            whole = torch.einsum("bi,bid->bd", anchor, joined @ layer.output_projection().T)
            assert (carried.sum(1) >= whole.norm(dim=1) - 1e-5).all()


class TestAttentionWithGradients:
    """Anchor rows under every pooling; gradients from transformers' own graph."""

    @staticmethod
    def gradients(outputs, chosen, of):
        return torch.autograd.grad(outputs.logits[0, chosen], of, retain_graph=True)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("layers", ["last", "all"])
    @pytest.mark.parametrize("times", [False, True])
    def test_gradient_alone_and_times_attention(self, architecture, layers, times):
        classifier, encoding, target = case(architecture)
        method = attention_gradient.attention_x_gradient if times else attention_gradient.attention_gradient
        scores = method(classifier, encoding, target, layers=layers)

        def expected(row, length, outputs):
            grads = self.gradients(outputs, target[row], outputs.attentions)
            maps = [(g * a if times else g)[0].mean(0) for g, a in zip(grads, outputs.attentions, strict=True)]
            rows = [anchor_of(classifier, length) @ attention for attention in maps]
            return rows[-1] if layers == "last" else torch.stack(rows).mean(0)

        agree(classifier, encoding, scores, expected)

    @pytest.mark.parametrize("architecture", ["bert", "llama", "mpnet"])
    def test_grad_sam_averages_over_everything(self, architecture):
        classifier, encoding, target = case(architecture)
        scores = attention_gradient.grad_sam(classifier, encoding, target)

        def expected(row, _length, outputs):
            grads = self.gradients(outputs, target[row], outputs.attentions)
            return torch.stack([a * g.relu() for a, g in zip(outputs.attentions, grads, strict=True)]).mean(
                (0, 1, 2, 3)
            )

        agree(classifier, encoding, scores, expected)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_generic_relevance_by_whole_matrices(self, architecture):
        classifier, encoding, target = case(architecture)
        scores = attention_gradient.generic_relevance(classifier, encoding, target)

        def expected(row, length, outputs):
            relevance = torch.eye(length)
            grads = self.gradients(outputs, target[row], outputs.attentions)
            for layer, gradient in zip(outputs.attentions, grads, strict=True):
                relevance = relevance + (layer * gradient)[0].clamp(min=0).mean(0) @ relevance
            return anchor_of(classifier, length) @ relevance

        agree(classifier, encoding, scores, expected)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("weighted", [False, True])
    def test_cat_and_attcat(self, architecture, weighted):
        classifier, encoding, target = case(architecture)
        method = attention_gradient.attcat if weighted else attention_gradient.cat
        scores = method(classifier, encoding, target)

        def expected(row, _length, outputs):
            states = outputs.hidden_states[:3]
            grads = self.gradients(outputs, target[row], states)
            cats = [(h * g)[0].sum(-1) for h, g in zip(states, grads, strict=True)]
            received = [attention[0].mean((0, 1)) if weighted else 1 for attention in outputs.attentions]
            return sum(c * r for c, r in zip(cats, received, strict=True))

        agree(classifier, encoding, scores, expected)
