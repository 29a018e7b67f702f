"""Relevance by rules inside autograd is what explicit formulas give, and none of it gets lost."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from transformers import BertForSequenceClassification

from expnet.attention.intercept import run
from expnet.errors import UnsupportedModelError
from expnet.methods.families.transformer_attribution import RULES, transformer_attribution
from expnet.methods.passes import differentiable
from expnet.model.classifier import Classifier
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.models import ARCHITECTURES, build, inputs, tokenizer

TEXTS = [Text.of("A good film."), Text.of("bad"), Text.of("The first one is long, but the second is good!")]
TARGET = torch.tensor([0, 1, 1])


class Ruled(TorchFunctionMode):
    """Applies the rules to whatever is called, as `run` does for a model."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in RULES:
            return RULES[func](func, *args, **kwargs or {})
        return func(*args, **kwargs or {})


def relevance(function: Callable[..., Tensor], *points: Tensor, above: Tensor) -> tuple[Tensor, ...]:
    """Return what the points get of the relevance of the function's value."""
    points = tuple(point.clone().requires_grad_() for point in points)
    with Ruled():
        value = function(*points)
    return torch.autograd.grad(value, points, above)


class TestRulesByHand:
    def test_a_linear_layer_rewards_what_adds(self):
        # Contributions 2 * 3, 1 * (-4) and (-1) * (-2): 6, -4 and 2, so 6/8, 0 and 2/8; the bias gets nothing.
        weight, bias = torch.tensor([[3.0, -4.0, -2.0]]), torch.tensor([5.0])
        x = torch.tensor([[2.0, 1.0, -1.0]])
        for layer in (lambda x: F.linear(x, weight, bias), lambda x: torch.addmm(bias, x, weight.T)):
            assert_close(relevance(layer, x, above=torch.ones(1, 1))[0], torch.tensor([[0.75, 0.0, 0.25]]))

    def test_a_sum_is_split_by_size_and_both_summands_are_rewarded(self):
        # The first text's parts are 3/4 and 1/4; the second's 3/2 and -1/2, which are made 3/4 and 1/4.
        a, b = torch.tensor([[3.0], [3.0]]), torch.tensor([[1.0], [-1.0]])
        actual = relevance(torch.add, a, b, above=torch.ones(2, 1))
        assert_close(torch.cat(actual, 1), torch.tensor([[0.75, 0.25], [0.75, 0.25]]))

    def test_factors_get_half_each_by_their_parts_in_the_value(self):
        # (1, 2) . (3, 1) = 3 + 2: each side gets half of the relevance 10, three fifths of it in the first place.
        actual = relevance(
            torch.matmul, torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [1.0]]), above=10 * torch.ones(1, 1)
        )
        assert_close(actual, (torch.tensor([[3.0, 2.0]]), torch.tensor([[3.0], [2.0]])))

    @pytest.mark.parametrize(
        "function",
        [
            *(F.gelu, torch.tanh, lambda x: x.softmax(-1), lambda x: F.layer_norm(x, (3,))),
            *(lambda x: x / 7, lambda x: x - 7, lambda x: 7 * x),
            lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)),
            lambda x: (x - x.mean(-1, keepdim=True)) / x.std(),
        ],
    )
    def test_curves_norms_and_constants_let_it_pass(self, function):
        above = torch.tensor([[0.5, -0.2, 0.7]])
        assert_close(relevance(function, torch.tensor([[1.0, -2.0, 0.5]]), above=above)[0], above)

    def test_a_sum_in_place_is_as_one_in_a_new_place(self):
        def add(a: Tensor, b: Tensor) -> Tensor:
            a = 1 * a
            a += b
            return a

        a, b, above = torch.tensor([[3.0], [3.0]]), torch.tensor([[1.0], [-1.0]]), torch.ones(2, 1)
        assert_close(relevance(add, a, b, above=above), relevance(torch.add, a, b, above=above))


def naive_linear(x: Tensor, weight: Tensor, above: Tensor) -> Tensor:
    parts = (x[..., None, :] * weight).clamp(min=0)
    return (parts / parts.sum(-1, keepdim=True) * above[..., None]).sum(-2)


def naive_add(a: Tensor, b: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """The authors' formula, for one text."""
    of_a, of_b = a * above / (a + b), b * above / (a + b)
    size = of_a.sum().abs() + of_b.sum().abs()
    wanted_a, wanted_b = of_a.sum().abs() / size * above.sum(), of_b.sum().abs() / size * above.sum()
    return of_a * wanted_a / of_a.sum(), of_b * wanted_b / of_b.sum()


def naive_matmul(a: Tensor, b: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    parts = a[..., :, :, None] * b[..., None, :, :] / (a @ b)[..., :, None, :] * above[..., :, None, :]
    return parts.sum(-1) / 2, parts.sum(-3) / 2


class NaiveBert:
    """BERT for one text, written out in double precision: forward, with gradients of attention, and relevance down."""

    def __init__(self, model: BertForSequenceClassification) -> None:
        self.weights = {name: tensor.double() for name, tensor in model.state_dict().items()}
        self.layers, self.heads = model.config.num_hidden_layers, model.config.num_attention_heads
        self.eps = model.config.layer_norm_eps

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.LayerNorm.weight"], self.weights[f"{name}.LayerNorm.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.eps)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(0, 1)

    def forward(self, ids: Tensor) -> Tensor:
        table = "bert.embeddings.{}_embeddings.weight".format
        x = self.weights[table("word")][ids] + self.weights[table("position")][: len(ids)]
        x = self.norm("bert.embeddings", x + self.weights[table("token_type")][0])
        self.kept = []
        for index in range(self.layers):
            at = f"bert.encoder.layer.{index}"
            query, key, value = (
                self.split(self.linear(f"{at}.attention.self.{n}", x)) for n in ("query", "key", "value")
            )
            attention = (query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])).softmax(-1).requires_grad_()
            joined = (attention @ value).transpose(0, 1).flatten(1)
            carried = self.linear(f"{at}.attention.output.dense", joined)
            middle = self.norm(f"{at}.attention.output", carried + x)
            inner = F.gelu(self.linear(f"{at}.intermediate.dense", middle))
            outer = self.linear(f"{at}.output.dense", inner)
            self.kept.append(SimpleNamespace(**{name: held for name, held in locals().items() if name != "self"}))
            x = self.norm(f"{at}.output", outer + middle)
        self.last = x
        self.pooled = torch.tanh(self.linear("bert.pooler.dense", x[0]))
        return self.linear("classifier", self.pooled)

    def relevances(self, target: int) -> list[Tensor]:
        """Go from the target's logit down to the attention of each layer."""
        weights, start = self.weights, F.one_hot(torch.tensor(target), len(self.weights["classifier.bias"])).double()
        pooled = naive_linear(self.pooled, weights["classifier.weight"], start)
        above = torch.zeros_like(self.last)
        above[0] = naive_linear(self.last[0], weights["bert.pooler.dense.weight"], pooled)
        relevance_of_attention: list[Tensor] = []
        for kept in reversed(self.kept):
            at = kept.at
            outer, middle = naive_add(kept.outer, kept.middle, above)
            inner = naive_linear(kept.inner, weights[f"{at}.output.dense.weight"], outer)
            middle = middle + naive_linear(kept.middle, weights[f"{at}.intermediate.dense.weight"], inner)
            carried, above = naive_add(kept.carried, kept.x, middle)
            joined = naive_linear(kept.joined, weights[f"{at}.attention.output.dense.weight"], carried)
            attention, value = naive_matmul(kept.attention, kept.value, self.split(joined))
            relevance_of_attention.insert(0, attention)
            query, key = naive_matmul(kept.query, kept.key.transpose(1, 2), attention)
            for name, of_input in (("query", query), ("key", key.transpose(1, 2)), ("value", value)):
                weight = weights[f"{at}.attention.self.{name}.weight"]
                above = above + naive_linear(kept.x, weight, of_input.transpose(0, 1).flatten(1))
        return relevance_of_attention

    def scores(self, ids: Tensor, target: int) -> Tensor:
        logit = self.forward(ids)[target]
        gradients = torch.autograd.grad(logit, [kept.attention for kept in self.kept])
        rolled = torch.eye(len(ids)).double()
        for gradient, attention_relevance in zip(gradients, self.relevances(target), strict=True):
            rolled = (torch.eye(len(ids)) + (gradient * attention_relevance).clamp(min=0).mean(0)) @ rolled
        return rolled[0].detach()


def drawn(seed: int) -> tuple[Tensor, Tensor]:
    """Return three tokens and five matrices, wide enough that every product has a part that adds to it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 32, generator=generator, dtype=torch.double)
    return x, torch.randn(5, 32, 32, generator=generator, dtype=torch.double) / 6


def stack(x: Tensor, *weights: Tensor) -> Tensor:
    """Attention, its residual connection and a layer with GELU."""
    a, b, c, d, e = weights
    scores = torch.matmul(F.linear(x, a), F.linear(x, b).transpose(1, 2))
    x = torch.add(torch.matmul(F.softmax(scores, dim=-1), F.linear(x, c)), x)
    return F.linear(F.gelu(F.linear(x, d)), e)


class TestASecondImplementation:
    @given(st.integers(0, 2**31))
    def test_a_stack_written_out_gives_the_same(self, seed):
        x, weights = drawn(seed)
        a, b, c, d, e = weights
        query, key, value = x @ a.T, x @ b.T, x @ c.T
        attention = (query @ key.T).softmax(-1)
        hidden = attention @ value + x
        inner = F.gelu(hidden @ d.T)
        above = x.flip(0)
        middle = naive_linear(hidden, d, naive_linear(inner, e, above))
        carried, expected = naive_add(attention @ value, x, middle)
        of_attention, of_value = naive_matmul(attention, value, carried)
        of_query, of_key = naive_matmul(query, key.T, of_attention)
        for weight, of_input in ((a, of_query), (b, of_key.T), (c, of_value)):
            expected = expected + naive_linear(x, weight, of_input)
        (actual,) = relevance(lambda x: stack(x, *weights), x[None], above=above[None])
        # The rules add 1e-9 to what they divide by, as the authors do; attention's scores may be as small as 1e-4.
        assert_close(actual[0], expected, atol=1e-5 * float(expected.abs().max()), rtol=0)

    @pytest.mark.parametrize("target", [0, 1, 2])
    def test_a_bert_written_out_gives_the_same(self, target):
        classifier = tiny_classifier("bert")
        encoding = classifier.encode(TEXTS)
        scores = transformer_attribution(classifier, encoding, torch.full((3,), target))
        naive = NaiveBert(classifier.model)
        for ids, mask, real, actual in zip(encoding.ids, encoding.mask, encoding.real, scores, strict=True):
            expected = naive.scores(ids[mask], target).float() * real[mask]
            # Where scores of attention are near 0, single precision is all that makes their relevance differ.
            assert_close(actual[mask], expected, atol=2e-3 * float(expected.max()), rtol=0)


class TestConservation:
    @given(st.integers(0, 2**31))
    def test_a_stack_loses_nothing(self, seed):
        x, weights = drawn(seed)
        (actual,) = relevance(lambda x: stack(x, *weights), x[None], above=torch.ones(1, *x.shape).double())
        assert_close(float(actual.sum()), float(x.numel()), atol=1e-5 * float(actual.abs().sum()), rtol=0)

    @pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2"])
    def test_all_of_a_models_relevance_arrives_and_its_logits_stay(self, architecture):
        model, given, points = build(architecture), inputs(), []

        def embed(raw: Tensor) -> Tensor:
            points.append(raw.detach().requires_grad_())
            return points[0]

        with differentiable():
            expected = run(model, given, attend=lambda _, layer: layer).logits
            actual = run(model, given, embed=embed, attend=lambda _, layer: layer, rules=RULES).logits
            (arrived,) = torch.autograd.grad(actual[:, 1].sum(), points)
        assert_close(actual, expected, atol=1e-5, rtol=1e-5)
        assert_close(arrived.sum((1, 2)), torch.ones(3), atol=1e-4, rtol=0)
        assert not arrived[~given["attention_mask"].bool()].any()


class SineBert(BertForSequenceClassification):
    """BERT with an activation in its head that has no rule."""

    def forward(self, input_ids, attention_mask, **options):
        outputs = self.bert(input_ids, attention_mask=attention_mask, **options)
        return SimpleNamespace(logits=self.classifier(torch.sin(outputs[1])), attentions=outputs.attentions)


def test_a_function_without_a_rule_is_refused_with_what_got_lost():
    classifier = Classifier(SineBert(build("bert").config).eval(), tokenizer())
    with pytest.raises(UnsupportedModelError, match=r"SineBert .* of 1 in relevance .*, -?\d.* arrives"):
        transformer_attribution(classifier, classifier.encode(TEXTS), TARGET)


def test_of_no_attention_matrix_there_is_no_relevance():
    classifier = tiny_classifier("fnet")
    with pytest.raises(UnsupportedModelError, match="computed 0 attention matrices"):
        transformer_attribution(classifier, classifier.encode(TEXTS), TARGET)
