"""An encoder-decoder is captured as transformers reports it, and what replaces its embeddings replaces them twice."""

import copy

import pytest
import torch
from torch.testing import assert_close

import expnet
from expnet.attention.capture import capture
from expnet.attention.intercept import run
from expnet.attention.probe import Support, probe
from expnet.attention.signals import gradient_signals
from expnet.attention.stack import Stack
from expnet.errors import UnsupportedModelError
from expnet.export import export
from expnet.methods.families.attention import rollout
from expnet.methods.families.attention_gradient import generic_relevance
from expnet.methods.registry import find_method
from expnet.network.universal import universal
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, inputs

BOTH = pytest.mark.parametrize("architecture", ["bart", "t5"])
LENGTHS = (150, 61, 7)
# Sums of a few terms of size 1 in another order.
SAME = {"atol": 2e-6, "rtol": 0}


def reported(model, batch):
    """What a second model that expnet never touched reports under eager attention, in float32."""
    twin = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager").eval()
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        return twin(**batch, output_attentions=True)


@BOTH
def test_the_probe_takes_the_fused_backend_and_the_last_token(architecture):
    assert probe(build(architecture), inputs((12, 7), end=True)) == Support("last", "fused", 3, 4)


@BOTH
@pytest.mark.parametrize("backend", ["fused", "eager"])
def test_rows_columns_and_received_are_those_of_the_cross_attention(architecture, backend):
    model, batch = build(architecture), inputs(LENGTHS, end=True)
    trace = capture(model, batch, anchor="last", backend=backend, received=True)
    expected = reported(model, batch)
    assert_close(trace.logits, expected.logits, atol=1e-5, rtol=0)
    maps = torch.stack(expected.cross_attentions, 1)
    for row, length in enumerate(LENGTHS):
        last = length - 1
        assert_close(trace.rows[row], maps[row, :, :, last], **SAME)
        assert_close(trace.rows[row, ..., :length].sum(-1), torch.ones(3, 4), atol=1e-5, rtol=0)
        assert_close(trace.columns[row, ..., :length], maps[row, :, :, :length, last], **SAME)
        assert_close(trace.received[row], maps[row, :, :, :length].mean(2), **SAME)


@BOTH
def test_a_text_is_captured_alike_alone_and_in_a_batch(architecture):
    model, batch = build(architecture), inputs(LENGTHS, end=True)
    together = capture(model, batch, anchor="last")
    for row, length in enumerate(LENGTHS):
        alone = capture(model, {name: t[row : row + 1, :length] for name, t in batch.items()}, anchor="last")
        assert_close(alone.rows[0], together.rows[row, ..., :length], **SAME)
        assert_close(alone.logits[0], together.logits[row], atol=1e-5, rtol=0)


def test_a_model_that_crosses_in_another_order_is_refused(monkeypatch):
    monkeypatch.setattr(
        Stack, "kind", lambda _, index: "encoder" if index < 3 else ("cross", "decoder")[index % 2 == 0]
    )
    with pytest.raises(UnsupportedModelError, match=r"BartForSequenceClassification computes .* in another order"):
        probe(build("bart"), inputs((12, 7), end=True))


def test_a_config_that_does_not_say_how_deep_the_model_is_is_refused():
    model = build("bert", is_encoder_decoder=True)
    with pytest.raises(UnsupportedModelError, match=r"does not say how many layers .* encoder_layers and decoder"):
        Stack.of(model)


@BOTH
class TestEmbeddings:
    def test_those_of_another_text_give_its_logits(self, architecture):
        model, one, other = build(architecture), inputs(end=True), inputs(seed=1, end=True)
        table = model.get_input_embeddings().weight
        with torch.no_grad():
            swapped = run(model, one, embed=lambda _: table[other["input_ids"]]).logits
            assert_close(swapped, model(**other).logits, atol=1e-5, rtol=0)

    def test_the_gradient_is_that_of_both_readings(self, architecture):
        model, batch = build(architecture), inputs((6,), end=True)
        ids = batch["input_ids"] = torch.tensor([[5, 6, 7, 8, 9, 3]])
        leaves = []
        logits = run(model, batch, embed=lambda raw: leaves.append(raw.detach().requires_grad_()) or leaves[0]).logits
        (gradient,) = torch.autograd.grad(logits[0, 1], leaves)
        model.zero_grad()
        model(**batch).logits[0, 1].backward()
        # Each of these ids stands in the text once, so its row of the table has the gradient of one token.
        table = model.get_input_embeddings().weight.grad
        assert_close(gradient[0, :5], table[ids[0, :5]], atol=1e-5, rtol=1e-4)

    def test_a_decoder_that_reads_something_else_is_refused(self, architecture):
        model, batch = build(architecture), inputs((6,), end=True)
        batch["decoder_input_ids"] = batch["input_ids"]
        with pytest.raises(UnsupportedModelError, match="does not read the encoder's tokens one place later"):
            run(model, batch, embed=lambda raw: raw)


def joint(stack, blocks, tokens):
    """Matrices over the encoder's tokens and the decoder's positions together: who takes what from whom."""
    for index, block in enumerate(blocks):
        matrix = torch.zeros(2 * tokens, 2 * tokens, dtype=torch.float64)
        if index < stack.encoder:
            matrix[:tokens, :tokens] = block
        elif (index - stack.encoder) % 2:
            matrix[tokens:, :tokens] = block
        else:
            matrix[tokens:, tokens:] = block
        yield matrix


@BOTH
def test_rolling_down_is_a_product_of_matrices_over_tokens_and_positions_together(architecture):
    classifier = tiny_classifier(architecture)
    part = classifier.encode([Text.of("a good film, not a bad one")])
    model, tokens, target = classifier.model, part.ids.shape[1], torch.tensor([1])
    leaves = []
    done = run(
        model,
        part.inputs(),
        embed=lambda raw: leaves.append(raw.detach().requires_grad_()) or leaves[0],
        attend=lambda _, layer: layer,
    )
    maps = [layer.probabilities for layer in done.layers]
    slopes = torch.autograd.grad(done.logits[0, 1], maps)
    blocks = [(a * g).clamp(min=0)[0].mean(0).detach().double() for a, g in zip(maps, slopes, strict=True)]
    product = torch.eye(2 * tokens, dtype=torch.float64)
    for matrix in joint(Stack.of(model), blocks, tokens):
        product = product + matrix @ product
    expected = product[-1, :tokens].masked_fill(part.special[0], 0).float()
    assert_close(generic_relevance(classifier, part, target)[0], expected, atol=1e-6, rtol=1e-4)
    signals = gradient_signals(model, part.inputs(), target, anchor="last")
    assert_close(signals.evidence.relevance[0, part.real[0]], expected[part.real[0]], atol=1e-6, rtol=1e-4)

    kept = torch.eye(2 * tokens, dtype=torch.float64)
    for matrix in joint(Stack.of(model), [layer[0].mean(0).detach().double() for layer in maps], tokens):
        half = torch.full((2 * tokens, 1), 0.5, dtype=torch.float64)
        half[~matrix.any(1)] = 1  # what this attention does not touch stays whole
        kept = half * kept + 0.5 * matrix @ kept
    expected = kept[-1, :tokens].masked_fill(part.special[0], 0).float()
    assert_close(rollout(classifier, part, target)[0], expected, atol=1e-6, rtol=1e-4)


@BOTH
@pytest.mark.parametrize(
    "method", ["attention_flow", "transformer_attribution", "value_zeroing", "alti", "globenc", "decompx"]
)
def test_what_follows_tokens_through_one_stack_is_refused_with_the_reason(architecture, method):
    classifier = tiny_classifier(architecture)
    with pytest.raises(UnsupportedModelError, match=r"follows tokens through one stack .* encoder-decoder has two"):
        find_method(method).attribute(classifier, classifier.encode(["a good film"]), torch.tensor([0]))


@BOTH
class TestTexts:
    TEXTS = ("A good film", Text.of("a bad film, no", "one two"), "bad", "text [SEP] text", "", "good " * 300)

    def test_texts_with_other_numbers_of_end_tokens_are_explained_alike_alone_and_together(self, architecture):
        """The model itself refuses a batch of them."""
        explainer = tiny_explainer(tiny_classifier(architecture))
        for text, among in zip(self.TEXTS, explainer.explain(self.TEXTS), strict=True):
            alone = explainer.explain(text)
            assert [word.score for word in among.words] == pytest.approx([w.score for w in alone.words], abs=1e-4)
            assert among.probabilities == pytest.approx(alone.probabilities, abs=1e-5)

    @pytest.mark.parametrize("tier", ["attention", "gradient"])
    def test_the_universal_explainers_read_it(self, architecture, tier):
        network = universal(tier)
        explainer = expnet.Explainer(tiny_classifier(architecture), network, name=tier)
        scores = [word.score for word in explainer.explain("a good film, and the first one").words]
        assert all(0 <= score <= 1 for score in scores)
        assert max(scores) - min(scores) > 1e-3

    def test_no_graph_is_written_as_it_would_mix_up_texts(self, architecture, tmp_path):
        pytest.importorskip("onnxscript", reason="onnxscript (extra onnx) is not installed")
        pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
        with pytest.raises(UnsupportedModelError, match="hold the end token equally often"):
            export(tiny_explainer(tiny_classifier(architecture)), tmp_path / "graph")
