"""Differences add up exactly, rule by rule and through every architecture; what has no rule is refused."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from captum.attr import DeepLift
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from transformers import BertForSequenceClassification, PretrainedConfig, PreTrainedModel

from expnet.attention.difference_rules import Rules
from expnet.attention.intercept import run
from expnet.errors import UnsupportedModelError
from expnet.methods.families.deeplift import deeplift
from expnet.methods.passes import differentiable
from expnet.methods.replacement import baseline_embedding
from expnet.model.classifier import Classifier
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.models import ARCHITECTURES, build, inputs, tokenizer

TEXTS = [Text.of("A good film."), Text.of("bad"), Text.of("The first one is long, but the second is good!")]
TARGET = torch.tensor([0, 1, 2])


class Ruled(TorchFunctionMode):
    """Applies the rules to whatever is called, as `run` does for a model."""

    def __init__(self, rules):
        super().__init__()
        self.rules = rules.of_functions()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in self.rules:
            return self.rules[func](func, *args, **kwargs or {})
        return func(*args, **kwargs or {})


def multipliers(function: Callable[[Tensor], Tensor], text: Tensor, without: Tensor) -> Tensor:
    """Return what each number of the texts is multiplied with; the function gives one number for each text."""
    rules, text = Rules("the function", torch.arange(len(text))), text.detach().requires_grad_()
    with torch.no_grad(), Ruled(rules):
        function(without)
    rules.replay()
    with Ruled(rules):
        output = function(text)
    (grads,) = torch.autograd.grad(output.sum(), text)
    return grads


class TestRulesByHand:
    def test_a_product_gives_each_factor_its_change_times_the_mean_of_the_other(self):
        # 2 * 5 against 1 * 3: the changes 1 and 2 count with the means 4 and 1.5, and 1 * 4 + 2 * 1.5 = 10 - 3.
        actual = multipliers(lambda x: x[:, 0] * x[:, 1], torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 3.0]]))
        assert_close(actual, torch.tensor([[4.0, 1.5]]))

    def test_a_factor_that_does_not_depend_on_the_text_is_its_multiplier(self):
        actual = multipliers(lambda x: (x * 7).sum(1), torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0, 3.0]]))
        assert_close(actual, torch.tensor([[7.0, 7.0]]))

    def test_a_quotient_is_a_product_with_the_inverse(self):
        # 6 / 2 against 4 / 1: changes of factor and inverse are 2 and -0.5, their means 5 and 0.75; over the change
        # of the divisor by 1 the inverse's share is 5 * -0.5.
        actual = multipliers(lambda x: x[:, 0] / x[:, 1], torch.tensor([[6.0, 2.0]]), torch.tensor([[4.0, 1.0]]))
        assert_close(actual, torch.tensor([[0.75, -2.5]]))

    def test_softmax_of_two_scores_has_the_difference_quotient_of_the_sigmoid(self):
        text, without = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 0.5]])
        slope = (torch.tensor(3.0).sigmoid() - 0.5) / 3
        actual = multipliers(lambda x: x.softmax(-1)[:, 0], text, without)
        assert_close(actual, torch.stack([slope, -slope])[None])

    def test_scores_far_apart_lose_nothing_to_overflow(self):
        # From (0, 1) to (1, 0) while the difference of scores goes from -1000 to 1000.
        text, without = torch.tensor([[500.0, -500.0, -torch.inf]]), torch.tensor([[-500.0, 500.0, -torch.inf]])
        actual = multipliers(lambda x: x.softmax(-1)[:, 0], text, without)
        assert_close(actual, torch.tensor([[0.0005, -0.0005, 0.0]]))

    def test_layer_norm_is_centring_and_a_product_with_the_inverse_deviation(self):
        # Centred (2, -1, -1) and (1, 1, -2) both have the variance 2, so with the weight sqrt(2) they are the output.
        # The first number's mean is 1.5; the scale has the slope -1/4 in the variance, which has the slopes
        # (1, 0, -1) in the centred numbers: (1, 0, 0) - 3/8 (1, 0, -1), less its mean 1/3 for the centring.
        text, without = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[2.0, 2.0, -1.0]])
        weight = torch.full((3,), 2**0.5)
        actual = multipliers(lambda x: F.layer_norm(x, (3,), weight, None, 0.0)[:, 0], text, without)
        assert_close(actual, torch.tensor([[7 / 24, -1 / 3, 1 / 24]]))

    def test_relu_is_exact_however_small_the_step_over_its_bend(self):
        text, without = torch.tensor([[3e-7]]), torch.tensor([[-1e-7]])
        assert_close(multipliers(lambda x: F.relu(x)[:, 0], text, without), torch.tensor([[0.75]]))


def block(x: Tensor) -> Tensor:
    """Attention, norm and a gated feed-forward layer over three tokens of width 4, one number a text."""
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = (torch.randn(4, 4, generator=generator, dtype=x.dtype) for _ in range(4))
    scores = torch.matmul(x @ a, (x @ b).transpose(1, 2)) / 2
    x = F.layer_norm(x + torch.matmul(F.softmax(scores, dim=-1), x @ c), (4,))
    x = x + F.gelu(x @ d) * torch.tanh(x @ a)
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))[:, 0, 0] + F.silu(x).sum((1, 2))


CURVES = {
    "gelu": (F.gelu, -6.0),
    "silu": (F.silu, -6.0),
    "tanh": (torch.tanh, -6.0),
    "sigmoid": (torch.sigmoid, -6.0),
    "erf": (torch.erf, -6.0),
    "relu": (F.relu, -6.0),
    "exp": (torch.exp, -6.0),
    "square": (torch.square, -6.0),
    "cube": (lambda x: x**3, -6.0),
    "sqrt": (torch.sqrt, 1e-3),
    "rsqrt": (torch.rsqrt, 1e-3),
    "reciprocal": (torch.reciprocal, 1e-3),
}


class TestLaws:
    @pytest.mark.parametrize("name", CURVES)
    @given(st.floats(0, 1), st.sampled_from([0.0, 1e-7, 1e-4, 0.019, 0.021, 0.1, 3.0]))
    @example(0.418370697012458, 0.021)
    def test_a_curve_has_the_slope_of_its_chord(self, name, place, step):
        curve, least = CURVES[name]
        ends = torch.tensor([[least + place * 6 + step], [least + place * 6]])
        actual = multipliers(lambda x: curve(x)[:, 0], *ends.split(1))
        # In double precision the chord's slope is good to about 1e-9 even for the smallest step.
        exact = ends.double().requires_grad_()
        values = curve(exact)
        run = exact[0] - exact[1]
        (slope,) = torch.autograd.grad(values[1].sum(), exact)
        expected = (values[0] - values[1]) / run if run else slope[1]
        # Where quotients of smooth curves switch to derivatives, near 0.02, those miss by 0.02 ** 2 / 12; below, a
        # quotient has the rounding of its values, which a step of 0.02 makes 50 times as large.
        rounding = float((curve(ends) - curve(ends.double())).abs().sum()) / max(abs(step), 0.02)
        assert_close(actual[0].double(), expected.detach(), atol=4e-5 + rounding, rtol=6e-5)

    @given(st.integers(0, 2**31), st.sampled_from([1e-2, 1.0, 10.0]))
    def test_differences_add_up_through_attention_norms_and_gates(self, seed, size):
        text, without = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        text = without + size * text
        shares = multipliers(block, text, without) * (text - without)
        # Double precision, but quotients of the smooth curves switch to derivatives at 2e-5 (an error below 1e-14).
        assert_close(shares.sum((1, 2)), block(text) - block(without), atol=1e-9, rtol=1e-9)

    @given(st.integers(0, 2**31))
    def test_text_and_baseline_can_change_places(self, seed):
        text, without = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        assert_close(multipliers(block, text, without), multipliers(block, without, text))

    @given(st.integers(0, 2**31))
    def test_close_to_the_baseline_multipliers_are_the_gradient(self, seed):
        text = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        point = text.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(block(point).sum(), point)
        assert_close(multipliers(block, text, text.clone()), gradient)

    @given(st.floats(-50, 50))
    def test_what_all_scores_gain_does_not_count_for_softmax(self, gain):
        text, without = torch.tensor([[1.0, -2.0, 0.5]]), torch.tensor([[0.0, 1.0, 0.2]])
        actual = multipliers(lambda x: x.softmax(-1)[:, 0], text, without)
        shifted = multipliers(lambda x: x.softmax(-1)[:, 0], text + gain, without)
        # A score of 50 is rounded to 4e-6.
        assert_close(shifted, actual, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU])
def test_captum_finds_the_same_where_it_has_rules(activation):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 3))
    text, without = torch.randn(4, 5), torch.randn(4, 5)
    target = torch.tensor([0, 1, 2, 0])
    rows = target[:, None]
    actual = multipliers(lambda x: network(x).gather(1, rows).squeeze(1), text, without) * (text - without)
    if activation is nn.GELU:  # captum has no rule for it, and falls back on the gradient
        assert_close(actual.sum(1), (network(text) - network(without)).gather(1, rows).squeeze(1))
    else:
        assert_close(actual, DeepLift(network).attribute(text.requires_grad_(), without, target=target).detach())


class Bag(PreTrainedModel):
    """A linear classifier: the sum of embeddings, weighted by position."""

    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, 6)
        self.head = nn.Linear(6, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        weights = attention_mask * torch.arange(1.0, input_ids.shape[1] + 1)
        return SimpleNamespace(logits=self.head((self.embedding(input_ids) * weights[..., None]).sum(1)))


class SineBert(BertForSequenceClassification):
    """BERT with an activation in its head that has no rule."""

    def forward(self, input_ids, attention_mask, **options):
        pooled = self.bert(input_ids, attention_mask=attention_mask, **options)[1]
        return SimpleNamespace(logits=self.classifier(torch.sin(3 * pooled)))


class TestClassifiers:
    @pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2", "fnet"])
    @pytest.mark.parametrize("replacement", ["pad", "zero"])
    def test_scores_add_up_to_the_change_of_the_logit(self, architecture, replacement):
        classifier = tiny_classifier(architecture)
        encoding = classifier.encode(TEXTS)
        base = baseline_embedding(classifier, replacement)
        scores = deeplift(classifier, encoding, TARGET, replacement=replacement)
        change = torch.stack([self.change(classifier, text, place, base) for place, text in enumerate(TEXTS)])
        # The padding embedding is 0, too. RMSNorm scales zeros and their rounding by 1000, most in Gemma.
        tolerance = 1e-3 if architecture == "gemma2" else 1e-4
        assert_close(scores.sum(1), change, atol=tolerance, rtol=0)

    @staticmethod
    def change(classifier, text, place, base):
        """By how much a text alone, without padding, moves its target's logit from that of the baseline."""
        alone = classifier.encode([text])
        model, given = classifier.model, alone.inputs("cpu")
        bare = run(model, given, embed=lambda raw: torch.where(alone.real[..., None], base, raw)).logits
        return (run(model, given).logits - bare)[0, TARGET[place]].detach()

    @pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2"])
    def test_the_rules_leave_the_logits_as_they_are(self, architecture):
        model, given = build(architecture), inputs()
        rules = Rules(architecture, torch.arange(len(given["input_ids"])))
        with differentiable():
            first = run(model, given, rules=rules.of_functions()).logits
            rules.replay()
            logits = run(
                model, given, embed=lambda raw: raw.detach().requires_grad_(), rules=rules.of_functions()
            ).logits
            expected = run(model, given).logits
        assert_close(logits, expected, atol=1e-5, rtol=1e-4)  # norms are taken apart, so sums have another order
        assert_close(first, expected, atol=1e-5, rtol=1e-4)

    def test_of_a_linear_classifier_they_are_weight_times_change(self):
        model = Bag(PretrainedConfig(vocab_size=len(tokenizer()), num_labels=3)).eval()
        classifier = Classifier(model, tokenizer())
        encoding = classifier.encode(TEXTS)
        change = model.embedding.weight[encoding.ids] - model.embedding.weight[classifier.mask_id]
        places = torch.arange(1, encoding.ids.shape[1] + 1) * encoding.real
        expected = (change * model.head.weight[TARGET][:, None]).sum(-1) * places
        assert_close(deeplift(classifier, encoding, TARGET), expected.detach())

    def test_a_function_without_a_rule_is_refused_with_the_gap(self):
        model = SineBert(build("bert").config).eval()
        classifier = Classifier(model, tokenizer())
        with pytest.raises(UnsupportedModelError, match=r"SineBert .* sum to -?\d.*, but its logit changes by -?\d"):
            deeplift(classifier, classifier.encode(TEXTS), TARGET)
