"""The probe finds what a model pools, trusts no capture that it has not compared, and says why."""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import AttentionInterface, AttentionMaskInterface, BertForTokenClassification

from expnet.attention import capture as capturing
from expnet.attention import fused
from expnet.attention.fused import NAME
from expnet.attention.fused_layer import FusedScores
from expnet.attention.intercept import run
from expnet.attention.probe import Support, find_anchor, probe
from expnet.errors import NonFiniteError, UnsupportedModelError
from tests.models import FUSED, build, inputs, pooling

ANCHORS = {
    "bert": "first",
    "roberta": "first",
    "distilbert": "first",
    "electra": "first",
    "modernbert": "first",
    "modernbert-mean": "mean",
    "mpnet": "first",
    "gpt2": "last",
    "llama": "last",
}


class TestTheAnchor:
    @pytest.mark.parametrize(("architecture", "anchor"), ANCHORS.items())
    def test_it_is_found_for_each_architecture(self, architecture, anchor):
        assert find_anchor(build(architecture), inputs()) == anchor

    def test_it_is_what_the_logits_depend_on_not_what_the_class_is_called(self):
        batch = inputs((6, 4))
        lasts = batch["attention_mask"].sum(1) - 1
        mean = pooling(lambda hidden, mask: (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
        assert find_anchor(pooling(lambda hidden, mask: hidden[:, 0]), batch) == "first"
        assert find_anchor(pooling(lambda hidden, mask: hidden[torch.arange(2), lasts]), batch) == "last"
        assert find_anchor(mean, batch) == "mean"

    def test_a_mean_that_counts_padding_in_is_no_anchor(self):
        with pytest.raises(
            UnsupportedModelError, match=r"\[\[0, 1, 2, 3\], \[0, 1, 2, 3\]\] of texts with \[4, 2\] tokens"
        ):
            probe(pooling(lambda hidden, mask: hidden.mean(1)), inputs((4, 2)))

    def test_another_pooling_is_refused_with_the_positions_it_reads(self):
        odd = pooling(lambda hidden, mask: hidden[:, 1:3].amax(1))
        # The maximum over two tokens takes some widths from one and some from the other.
        with pytest.raises(
            UnsupportedModelError, match=r"PoolingBert pools the tokens \[\[1, 2\], \[1, 2\]\] of texts"
        ):
            probe(odd, inputs((6, 4)))
        second = pooling(lambda hidden, mask: hidden[:, 1])
        with pytest.raises(
            UnsupportedModelError, match=r"\[\[1\], \[1\]\] of texts with \[6, 4\] tokens; expected the first"
        ):
            probe(second, inputs((6, 4)))

    def test_it_is_found_where_every_weight_is_frozen_and_gradients_are_off(self):
        model = build("bert").requires_grad_(False)
        for off in (torch.no_grad, torch.inference_mode):
            with off():
                assert find_anchor(model, inputs()) == "first"

    def test_it_is_found_in_inference_mode_with_inputs_and_weights_that_want_gradients(self):
        model = build("modernbert-mean")
        with torch.inference_mode():
            assert probe(model, inputs()).anchor == "mean"

    def test_no_gradient_and_no_hook_stays(self):
        model = build("bert")
        before = [len(module._forward_hooks) for module in model.modules()]
        probe(model, inputs())
        assert [len(module._forward_hooks) for module in model.modules()] == before
        assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())

    def test_calls_from_other_threads_neither_help_nor_suffer(self):
        """While the probe's hooks are on the model, another thread calls it, with gradients."""
        model, others = build("bert"), []

        def intrude(_module: nn.Module, _args: Any, _output: Any) -> None:
            hook.remove()
            with ThreadPoolExecutor(1) as pool:
                others.append(pool.submit(lambda: model(**inputs((3, 2), seed=1)).logits).result())

        # In the middle of the probe's own pass, after its embeddings and before its pooling.
        hook = model.bert.encoder.layer[0].register_forward_hook(intrude)
        assert find_anchor(model, inputs()) == "first"
        others[0].sum().backward()
        assert model.get_input_embeddings().weight.grad.abs().sum() > 0


class TestTheBackend:
    @pytest.mark.parametrize("architecture", FUSED)
    def test_it_is_fused_where_that_gives_what_the_model_gives(self, architecture):
        assert probe(build(architecture), inputs()) == Support(ANCHORS[architecture], "fused", 3, 4)

    @pytest.mark.parametrize("architecture", FUSED)
    def test_a_model_that_was_loaded_with_eager_attention_is_fused_too(self, architecture):
        model = build(architecture)
        model.set_attn_implementation("eager")
        assert probe(model, inputs()).backend == "fused"
        assert model.config._attn_implementation == "eager"

    def test_it_is_eager_where_the_code_does_not_ask_the_interface(self):
        reason = "the model's code does not use transformers' attention interface"
        assert probe(build("roformer"), inputs()) == Support("first", "eager", 3, 4, reason)

    def test_it_is_eager_where_the_code_attends_in_ways_that_are_not_covered(self, monkeypatch):
        monkeypatch.setattr(fused, "_UNCOVERED", ("softcap",))
        reason = "Gemma2Attention attends with softcap."
        assert probe(build("gemma2"), inputs()) == Support("last", "eager", 3, 4, reason)

    def test_a_model_without_attention_is_refused_with_both_reasons(self):
        with pytest.raises(UnsupportedModelError, match=r"neither way: .* computed 0 attention .* never called"):
            probe(build("fnet"), inputs())

    def test_a_model_that_gives_no_class_logits_is_refused(self):
        with pytest.raises(UnsupportedModelError, match=r"BertModel returns no logits, expected \(batch, classes\)"):
            probe(build("bert").bert, inputs())
        per_token = BertForTokenClassification(build("bert").config).eval()
        with pytest.raises(UnsupportedModelError, match=r"logits of shape \(2, 6, 3\), expected \(batch, classes\)"):
            probe(per_token, inputs((6, 4)))


@pytest.fixture
def plant() -> Iterator[Callable[..., None]]:
    """Put another attention or mask in the place of ours, until the test is over."""
    attending, masking = AttentionInterface()[NAME], AttentionMaskInterface()[NAME]

    def replace(*, attention: Any = attending, mask: Any = masking) -> None:
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, mask)

    yield replace
    replace()


ours = fused._attention


def ignores_the_mask(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, _mask: Any, **options: Any) -> Any:
    return ours(module, query, key, value, None, **options)


def scales_wrongly(module: nn.Module, *states: Any, scaling: float | None = None, **options: Any) -> Any:
    scale = states[0].shape[-1] ** -0.5 if scaling is None else scaling
    return ours(module, *states, scaling=1.05 * scale, **options)


def skips_a_layer(module: nn.Module, *states: Any, **options: Any) -> Any:
    if getattr(module, "layer_idx", None) != 1:
        return ours(module, *states, **options)
    token = fused._SINK.set(None)
    try:
        return ours(module, *states, **options)
    finally:
        fused._SINK.reset(token)


def captures_a_layer_twice(module: nn.Module, *states: Any, **options: Any) -> Any:
    if getattr(module, "layer_idx", None) == 1:
        ours(module, *states, **options)
    return ours(module, *states, **options)


class TestPlantedFaults:
    """Each fault changes what fused capture gives; the probe must see it and keep to the eager reference."""

    # To a causal model padding on the right is future, and hidden in any case.
    @pytest.mark.parametrize("architecture", ["bert", "modernbert", "modernbert-mean"])
    def test_a_mask_that_is_never_made(self, architecture, plant):
        plant(mask=lambda **_: None)
        support = probe(build(architecture), inputs())
        assert support.backend == "eager"
        assert "the logits of fused attention differ by" in support.reason

    @pytest.mark.parametrize(
        ("architecture", "fault"),
        [
            ("bert", ignores_the_mask),
            ("modernbert-mean", ignores_the_mask),
            ("bert", scales_wrongly),
            ("llama", scales_wrongly),
            ("modernbert-mean", scales_wrongly),
        ],
    )
    def test_an_attention_function_that_attends_differently(self, architecture, fault, plant):
        plant(attention=fault)
        support = probe(build(architecture), inputs())
        assert support.backend == "eager"
        assert "the logits of fused attention differ by" in support.reason

    @pytest.mark.parametrize(("fault", "times"), [(skips_a_layer, 2), (captures_a_layer_twice, 4)])
    def test_a_layer_that_is_not_captured_once(self, fault, times, plant):
        plant(attention=fault)
        reason = f"fused attention was called {times} times for 3 layers"
        assert probe(build("bert"), inputs()) == Support("first", "eager", 3, 4, reason)

    @pytest.mark.parametrize(
        ("name", "reader", "architecture"),
        [("rows", "log_row", "bert"), ("columns", "log_column", "bert"), ("rows", "mixed", "modernbert-mean")],
    )
    def test_attention_that_is_wrong_while_the_logits_are_right(self, name, reader, architecture, monkeypatch):
        read = getattr(FusedScores, reader)
        monkeypatch.setattr(FusedScores, reader, lambda layer, tokens: read(layer, tokens) + 0.01)
        support = probe(build(architecture), inputs())
        assert support.backend == "eager"
        assert f"the {name} of fused attention differ by" in support.reason

    def test_both_ways_broken_is_an_error_with_both_reasons(self, plant, monkeypatch):
        plant(mask=lambda **_: None)

        def ignores_padding(model: Any, given: Any, **edits: Any) -> Any:
            return run(model, {**given, "attention_mask": torch.ones_like(given["attention_mask"])}, **edits)

        monkeypatch.setattr(capturing, "run", ignores_padding)
        both = r"neither way: the logits of eager attention differ by .*; the logits of fused attention differ by"
        with pytest.raises(UnsupportedModelError, match=both):
            probe(build("bert"), inputs())


class TestDamagedWeights:
    @pytest.mark.parametrize("part", ["classifier", "embeddings"])
    @pytest.mark.parametrize("architecture", ["bert", "mpnet", "modernbert-mean", "gpt2"])
    def test_nan_is_an_error_of_its_own(self, architecture, part):
        model = build(architecture)
        head = {"gpt2": "score", "bert": "classifier"}.get(architecture, "classifier")
        damaged = model.get_submodule(head) if part == "classifier" else model.get_input_embeddings()
        with torch.no_grad():
            next(damaged.parameters()).fill_(float("nan"))
        with pytest.raises(NonFiniteError, match=r"returns 9 logits of 9 that are NaN or infinite"):
            probe(model, inputs())


def test_the_probe_changes_nothing_in_the_weights():
    model = build("modernbert-mean")
    before = copy.deepcopy(model.state_dict())
    probe(model, inputs())
    for name, tensor in model.state_dict().items():
        assert_close(tensor, before[name], atol=0, rtol=0)  # untouched bits
