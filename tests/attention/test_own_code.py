"""Models that attend in code of their own: made to ask while a pass of ours runs, and left as they were."""

import threading
from types import MethodType

import pytest
import torch
from torch.testing import assert_close
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

from expnet.attention.capture import capture
from expnet.attention.fused import run_fused
from tests.models import build, inputs


def attentions(model):
    return [module for module in model.modules() if isinstance(module, MPNetSelfAttention)]


def test_the_positions_of_words_count():
    """A model whose bias is forgotten would attend as if words had no order."""
    model = build("mpnet")
    with torch.no_grad():
        model.mpnet.encoder.relative_attention_bias.weight.mul_(20)
    fused = capture(model, inputs((12, 5)), anchor="first")
    eager = capture(model, inputs((12, 5)), anchor="first", backend="eager")
    assert_close(fused.rows, eager.rows, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        model.mpnet.encoder.relative_attention_bias.weight.zero_()
    assert (capture(model, inputs((12, 5)), anchor="first").rows - fused.rows).abs().max() > 0.1


@pytest.mark.parametrize("error", [None, RuntimeError("stop")])
def test_every_module_gets_its_own_code_back(error):
    model = build("mpnet")
    first, second, third = attentions(model)
    wrapped = MethodType(MPNetSelfAttention.forward, second)  # as hooks of other libraries do it
    second.forward = wrapped
    seen = []

    def see(_index, _layer):
        seen.append(vars(first)["forward"])
        if error is not None:
            raise error

    with torch.no_grad():
        if error is None:
            run_fused(model, inputs(), see)
        else:
            with pytest.raises(RuntimeError, match="stop"):
                run_fused(model, inputs(), see)
    assert len(seen) == (3 if error is None else 1)
    assert "forward" not in vars(first)
    assert "forward" not in vars(third)
    assert vars(second)["forward"] is wrapped


def test_another_thread_gets_the_modules_own_code_meanwhile():
    model = build("mpnet")
    with torch.no_grad():
        expected = model(**inputs()).logits
        matrices = model(**inputs(), output_attentions=True).attentions
    results = []

    def call():
        with torch.no_grad():
            results.append(model(**inputs()).logits)
            results.extend(model(**inputs(), output_attentions=True).attentions)

    def see(index, _layer):
        if index == 0:
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()

    layers = []
    with torch.no_grad():
        run_fused(model, inputs(), lambda index, layer: (see(index, layer), layers.append(layer)))
    assert len(layers) == 3  # what the other thread did was not shown
    for ours, theirs in zip(results, (expected, *matrices), strict=True):
        assert_close(ours, theirs, atol=0, rtol=0)
