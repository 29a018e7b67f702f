"""Between the layers: what they find and give, read and replaced, by the thread that asked."""

import threading

import pytest
import torch
from torch.testing import assert_close

from expnet.attention.intercept import run
from expnet.errors import UnsupportedModelError
from expnet.methods.layers import between_layers, layer_stack
from tests.models import ARCHITECTURES, POSITIONS, build, inputs


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2"])
def test_layers_find_and_give_the_hidden_states_that_transformers_reports(architecture):
    batch, entered, given = inputs(), [], []

    def enter(_index, hidden):
        entered.append(hidden)
        return hidden

    with torch.no_grad():
        expected = build(architecture)(**batch, output_hidden_states=True).hidden_states
        model = build(architecture)
        with between_layers(model, enter=enter, leave=lambda _, hidden: given.append(hidden)):
            run(model, batch)
    assert len(entered) == len(given) == 3
    # The last state that transformers reports may have gone through a final norm.
    for ours, theirs in zip([*entered, *given[:2]], [*expected[:3], *expected[1:3]], strict=True):
        assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_what_a_layer_finds_can_be_replaced():
    model, batch, given = build("bert"), inputs(), []
    with torch.no_grad():
        with between_layers(model, enter=lambda index, hidden: hidden * 0, leave=lambda _, out: given.append(out)):
            model(**batch)
        assert_close(given[0], model.bert.encoder.layer[0](torch.zeros_like(given[0]))[0].expand_as(given[0]))


def test_other_threads_are_left_alone():
    model, batch, others = build("bert"), inputs(), []

    def enter(index, hidden):
        if index == 1:
            thread = threading.Thread(target=lambda: others.append(model(**batch).logits))
            thread.start()
            thread.join()
        return hidden * 0

    with torch.no_grad():
        expected = model(**batch).logits
        with between_layers(model, enter=enter):
            model(**batch)
    assert_close(others[0], expected)


def test_no_hook_stays_even_after_an_error():
    model = build("bert")
    with pytest.raises(RuntimeError), between_layers(model):
        run(model, {"input_ids": torch.full((1, POSITIONS + 1), 5)})
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_a_model_that_keeps_no_list_of_its_layers_is_refused():
    model = build("bert")
    model.config.num_hidden_layers = 7
    with pytest.raises(UnsupportedModelError, match="no list of 7 layers"):
        layer_stack(model)


def test_a_model_that_skips_a_layer_is_refused():
    model = build("bert")
    model.bert.encoder.layer[1].forward = model.bert.encoder.layer[2].forward
    model.bert.encoder.forward = lambda hidden, *_, **__: type("Outputs", (), {"last_hidden_state": hidden})()
    with pytest.raises(UnsupportedModelError, match=r"3 layers in the order \[\]"), between_layers(model):
        model.bert.encoder(torch.zeros(1, 2, 32))
