"""Captured attention is the model's own, and the model comes back as it was."""

import copy
import math
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel
from transformers import masking_utils as masking

from expnet.attention import fused, fused_layer, kernels
from expnet.attention.anchor import Anchor
from expnet.attention.bands import band_drawn_by
from expnet.attention.borrow import borrow, class_logits, modules_of
from expnet.attention.capture import Trace, capture
from expnet.attention.fused import NAME
from expnet.attention.signals import attention_signals
from expnet.errors import UnsupportedModelError
from tests.models import ARCHITECTURES, EVERY_ARCHITECTURE, FUSED, build, inputs

# float32 with scores up to about 30 is exact to 30 * 2**-24 = 2e-6 in each exponent; three layers of other summation
# order bring at most a few times that.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
# Both sides read the same matrices; only logarithm and exponential lie between.
SAME = {"atol": 1e-6, "rtol": 0}

# More tokens than one block of the pass that stands in for the kernel where there is none.
LONG = (150, 131, 97)
BATCHES = {
    "right": inputs((12, 9, 5)),
    "left": inputs((12, 9, 5), side="left"),
    "full": inputs((12, 12)),
    "long": inputs(LONG),
}


def anchor_of(architecture: str) -> Anchor:
    if architecture in ("gpt2", "llama"):
        return "last"
    return "mean" if architecture == "modernbert-mean" else "first"


def eager_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A copy that never saw our code, with transformers' own eager attention."""
    twin = copy.deepcopy(model)
    if twin._can_set_attn_implementation():
        twin.set_attn_implementation("eager")
    return twin


def naive_rows_and_columns(model: PreTrainedModel, batch: dict[str, Tensor], anchor: Anchor) -> Trace:
    """The definition, entry by entry, on the matrices that transformers gives."""
    with torch.no_grad():
        outputs = eager_copy(model)(**batch, output_attentions=True)
    mask = batch["attention_mask"].bool()
    shape = (len(mask), len(outputs.attentions), outputs.attentions[0].shape[1], mask.shape[1])
    rows, columns = torch.zeros(shape), torch.zeros(shape)
    for b, text in enumerate(mask):
        real = text.nonzero().flatten().tolist()
        anchors = {"first": real[:1], "last": real[-1:], "mean": real}[anchor]
        for layer, attention in enumerate(outputs.attentions):
            for head in range(shape[2]):
                for token in real:
                    from_anchor = [float(attention[b, head, i, token]) for i in anchors]
                    to_anchor = [float(attention[b, head, token, j]) for j in anchors]
                    rows[b, layer, head, token] = sum(from_anchor) / len(anchors)
                    columns[b, layer, head, token] = sum(to_anchor) / len(anchors)
    return Trace(outputs.logits, rows.log(), columns.log())


def assert_same_trace(ours: Trace, expected: Trace, tolerance: dict[str, float] = CLOSE) -> None:
    for name in ("logits", "rows", "columns"):
        assert_close(getattr(ours, name), getattr(expected, name), **tolerance, msg=lambda text, n=name: f"{n}: {text}")


class TestRowsAndColumns:
    @pytest.mark.parametrize("padding", ["right", "left", "full"])
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_the_eager_reference_reads_transformers_own_matrices(self, architecture, padding):
        model, batch, anchor = build(architecture), BATCHES[padding], anchor_of(architecture)
        trace = capture(model, batch, anchor=anchor, backend="eager")
        assert_same_trace(trace, naive_rows_and_columns(model, batch, anchor), SAME)

    @pytest.mark.parametrize("padding", BATCHES)
    @pytest.mark.parametrize("architecture", FUSED)
    def test_the_fused_backend_equals_the_eager_reference(self, architecture, padding):
        if (architecture, padding) == ("modernbert", "left"):
            pytest.skip("it pools the first position, a pad that sees no token: its own sdpa and eager differ by 0.3")
        model, batch, anchor = build(architecture), BATCHES[padding], anchor_of(architecture)
        fused = capture(model, batch, anchor=anchor)
        eager = capture(model, batch, anchor=anchor, backend="eager")
        assert_same_trace(fused, eager)
        assert_same_trace(fused, Trace(eager_copy(model)(**batch).logits.detach(), fused.log_rows, fused.log_columns))
        # The features are logarithms, down to a ten-thousandth of uniform attention; there 1e-5 is the same rounding
        # error of the exponent, only not multiplied by a small number.
        for name in ("log_rows", "log_columns"):
            assert_close(getattr(fused, name).clamp(min=-14), getattr(eager, name).clamp(min=-14), atol=1e-4, rtol=0)

    @pytest.mark.parametrize("padding", BATCHES)
    @pytest.mark.parametrize("architecture", FUSED)
    def test_without_the_cpu_kernel_the_same_comes_out(self, architecture, padding, monkeypatch):
        model, batch, anchor = build(architecture), BATCHES[padding], anchor_of(architecture)
        expected = capture(model, batch, anchor=anchor)
        monkeypatch.setattr(kernels, "_kernel_for", lambda scores, value: None)
        assert_same_trace(capture(model, batch, anchor=anchor), expected)

    @pytest.mark.parametrize("backend", ["fused", "eager"])
    @pytest.mark.parametrize("padding", ["right", "left"])
    @pytest.mark.parametrize("architecture", ["bert", "modernbert", "llama"])
    def test_what_tokens_receive_is_the_mean_of_all_rows(self, architecture, padding, backend):
        model, batch = build(architecture), BATCHES[padding]
        trace = capture(model, batch, anchor=anchor_of(architecture), backend=backend, received=True)
        assert_close(trace.received, naive_rows_and_columns(model, batch, "mean").rows, **CLOSE)
        assert capture(model, batch, anchor="first", backend=backend).received is None

    @pytest.mark.parametrize("anchor", ["first", "last", "mean"])
    @pytest.mark.parametrize("padding", ["right", "left", "full"])
    @pytest.mark.parametrize("architecture", ["bert", "llama"])
    def test_every_anchor_can_be_read_whatever_the_model_pools(self, architecture, padding, anchor):
        model, batch = build(architecture), BATCHES[padding]
        assert_same_trace(capture(model, batch, anchor=anchor), naive_rows_and_columns(model, batch, anchor))

    def test_a_model_of_one_sharp_head_attends_where_its_weights_say(self):
        """By hand: queries are 0, so every token attends evenly, to padding not at all."""
        model = build("bert", num_hidden_layers=1, num_attention_heads=1)
        attention = model.bert.encoder.layer[0].attention.self
        with torch.no_grad():
            attention.query.weight.zero_()
            attention.query.bias.zero_()
        trace = capture(model, inputs((4, 2)), anchor="first")
        expected = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])[:, None, None]
        assert_close(trace.rows, expected, **SAME)
        assert_close(trace.columns, expected, **SAME)

    @pytest.mark.parametrize("backend", ["fused", "eager"])
    @pytest.mark.parametrize("architecture", FUSED)
    def test_each_row_sums_to_one_and_padding_gets_nothing(self, architecture, backend):
        for batch in BATCHES.values():
            trace = capture(build(architecture), batch, anchor=anchor_of(architecture), backend=backend)
            # As above: a sum of probabilities, each exact to its exponent's rounding.
            assert_close(trace.rows.sum(-1), torch.ones(trace.rows.shape[:-1]), **CLOSE)
            padding = (batch["attention_mask"] == 0)[:, None, None].expand_as(trace.rows)
            assert (trace.log_rows[padding] == -math.inf).all()
            assert (trace.log_columns[padding] == -math.inf).all()

    @pytest.mark.parametrize("backend", ["fused", "eager"])
    def test_every_token_pays_the_mean_the_same(self, backend):
        lengths = (12, 9, 5)
        trace = capture(build("modernbert-mean"), inputs(lengths), anchor="mean", backend=backend)
        for columns, n in zip(trace.columns, lengths, strict=True):
            assert_close(columns[..., :n], torch.full_like(columns[..., :n], 1 / n), **SAME)

    @pytest.mark.parametrize("backend", ["fused", "eager"])
    @pytest.mark.parametrize("padding", ["right", "full"])
    def test_what_a_mask_hides_is_minus_infinity_and_nothing_else_is(self, padding, backend):
        batch = BATCHES[padding]
        causal = capture(build("llama"), batch, anchor="first", backend=backend)
        # The first token of a causal model sees itself only, and every later one sees it.
        assert (causal.log_rows[..., 1:] == -math.inf).all()
        assert_close(causal.rows[..., 0], torch.ones(causal.rows.shape[:-1]), **SAME)
        mask = batch["attention_mask"].bool()[:, None, None].expand_as(causal.log_columns)
        assert causal.log_columns[mask].isfinite().all()

        sliding = capture(build("modernbert"), batch, anchor="first", backend=backend)
        near = torch.arange(mask.shape[-1]) <= 4
        for log in (sliding.log_rows, sliding.log_columns):
            assert torch.equal(log[:, 1].isfinite(), mask[:, 1] & near)
            assert torch.equal(log[:, 0].isfinite(), mask[:, 0])

    def test_a_boolean_mask_made_for_another_implementation_is_read_as_one(self):
        """Models take masks of four axes as they are, and SDPA's are boolean."""
        model, batch = build("bert"), BATCHES["right"]
        expected = capture(model, batch, anchor="first")

        def boolean(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden_states, _mask, *rest = args
            return hidden_states, batch["attention_mask"].bool()[:, None, None].expand(-1, -1, 12, -1), *rest

        hooks = [layer.register_forward_pre_hook(boolean) for layer in model.bert.encoder.layer]
        trace = capture(model, batch, anchor="first")
        for hook in hooks:
            hook.remove()
        assert_same_trace(trace, expected)


class TestBands:
    """A mask function is read as a band only if it draws one."""

    @staticmethod
    def band(function: Callable[..., Any], size: int | None, tokens: int = 12) -> kernels.Band | None:
        return band_drawn_by(function, 2, tokens, {} if size is None else {"local_size": size})

    def test_windows_and_causal_masks_are_bands(self):
        assert self.band(masking.bidirectional_mask_function, None) == kernels.EVERYTHING
        assert self.band(masking.causal_mask_function, None) == kernels.CAUSAL
        for size in (1, 2, 5, 11, 12, 40):
            causal = self.band(masking.sliding_window_causal_mask_function(size), size)
            around = self.band(masking.sliding_window_bidirectional_mask_function(size), size)
            assert causal == kernels.Band(size - 1, 0)
            assert around == kernels.Band(size, size)

    def test_chunks_and_unknown_masks_are_none(self):
        chunks = masking.chunked_causal_mask_function(5, torch.tensor([0, 2]))
        assert self.band(chunks, 5) is None
        assert self.band(lambda _batch, _head, query, key: key <= query, None) is None
        packed = masking.packed_sequence_mask_function(torch.tensor([[0] * 6 + [1] * 6] * 2))
        window = masking.and_masks(masking.sliding_window_causal_mask_function(5), packed)
        assert self.band(window, 5) is None


class TestRefusals:
    def test_fused_capture_needs_the_attention_interface(self):
        with pytest.raises(UnsupportedModelError, match="RoFormerForSequenceClassification does not use"):
            capture(build("roformer"), inputs(), anchor="first")

    def test_a_model_without_attention_has_nothing_to_capture(self):
        with pytest.raises(UnsupportedModelError, match="FNetForSequenceClassification never called"):
            capture(build("fnet"), inputs(), anchor="first")
        with pytest.raises(UnsupportedModelError, match="FNetForSequenceClassification computed 0"):
            capture(build("fnet"), inputs(), anchor="first", backend="eager")

    def test_options_that_change_attention_in_unknown_ways_are_refused(self, monkeypatch):
        monkeypatch.setattr(fused, "_UNCOVERED", ("softcap",))
        with pytest.raises(UnsupportedModelError, match="Gemma2Attention attends with softcap"):
            capture(build("gemma2"), inputs(), anchor="last")


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
def test_the_modules_that_a_loan_looks_at_are_those_of_the_model(architecture):
    model = build(architecture)
    assert modules_of(model) == list(model.modules())


class Sizes(TorchDispatchMode):
    """Records the largest output and whether one has two axes of a length or more."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length, self.largest, self.square = length, 0, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                # A view that repeats costs nothing, so count what is stored.
                self.largest = max(self.largest, tensor.untyped_storage().nbytes() // tensor.element_size())
                if sum(axis >= self.length for axis in tensor.shape) > 1:
                    self.square.append(str(func))
        return result


class TestMemory:
    """Text of two thousand tokens: causal, windowed and capped attention too build nothing of tokens × tokens."""

    LENGTH = 2048  # longer than anything else in the model
    BATCH = inputs((2048, 1500))

    @pytest.mark.parametrize(
        ("architecture", "anchor", "layers", "kernel"),
        [
            ("bert", "first", 1, True),
            ("llama", "last", 1, True),
            ("modernbert", "first", 2, True),  # a global and a local layer
            ("gemma2", "last", 1, True),
            ("bert", "mean", 1, False),
        ],
    )
    def test_fused_capture_never_builds_a_matrix_of_tokens_by_tokens(
        self, architecture, anchor, layers, kernel, monkeypatch
    ):
        if not kernel:
            monkeypatch.setattr(kernels, "_kernel_for", lambda scores, value: None)
        model = build(architecture, max_position_embeddings=self.LENGTH, num_hidden_layers=layers)
        with Sizes(self.LENGTH) as sizes:
            capture(model, self.BATCH, anchor=anchor, received=True)
        assert sizes.square == []
        # The scores of one block of queries: the largest thing there is, and linear in the length.
        assert sizes.largest <= 2 * 4 * kernels.BLOCK * self.LENGTH

    def test_the_measure_sees_what_eager_attention_builds(self):
        with Sizes(211) as sizes:
            capture(build("bert"), inputs((211, 100)), anchor="first", backend="eager")
        assert len(sizes.square) > 3
        assert sizes.largest >= 2 * 4 * 211**2


def state_of(model: PreTrainedModel) -> dict[str, Any]:
    """Everything about a model that a borrower could leave changed, weights included."""
    tables = [name for name in vars(model) if name.endswith("_hooks") and isinstance(getattr(model, name), dict)]
    return {
        "training": [module.training for module in model.modules()],
        "compiled": [module._compiled_call_impl for module in model.modules()],
        "attention": [m.config._attn_implementation for m in model.modules() if isinstance(m, PreTrainedModel)],
        "hooks": [[list(getattr(module, table)) for table in tables] for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "grad": [None if p.grad is None else (id(p.grad), p.grad.tolist()) for p in model.parameters()],
        "weights": [(id(tensor), tensor.tolist()) for tensor in model.state_dict(keep_vars=True).values()],
        "config": model.config.to_dict(),
    }


def lent(implementation: str = "sdpa") -> PreTrainedModel:
    """A model in an awkward state: modes mixed, some weights frozen, some gradients there, a hook of its own."""
    model = build("bert")
    model.set_attn_implementation(implementation)
    model.train()
    model.bert.encoder.layer[1].eval()
    for index, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(index % 3 > 0)
        if index % 3 == 1:
            parameter.grad = torch.full_like(parameter, float(index))
    model.bert.encoder.layer[0].register_forward_hook(lambda *_: None)
    return model


def first_layer(model: PreTrainedModel) -> nn.Module:
    return next(module for module in model.modules() if isinstance(module, nn.ModuleList))[0]


class TestTheModelIsBorrowed:
    @pytest.mark.parametrize("backend", ["fused", "eager"])
    @pytest.mark.parametrize("implementation", ["sdpa", "eager"])
    def test_it_comes_back_as_it_was(self, backend, implementation):
        model = lent(implementation)
        before = state_of(model)
        capture(model, inputs(), anchor="first", backend=backend)
        assert state_of(model) == before

    @pytest.mark.parametrize("backend", ["fused", "eager"])
    @pytest.mark.parametrize("implementation", ["sdpa", "eager"])
    def test_it_comes_back_as_it_was_when_its_forward_raises(self, backend, implementation):
        model = lent(implementation)
        expected = capture(model, inputs(), anchor="first", backend=backend)

        def explode(*_: Any) -> None:
            raise OverflowError("in the third layer")

        hook = model.bert.encoder.layer[2].register_forward_pre_hook(explode)
        before = state_of(model)
        with pytest.raises(OverflowError, match="in the third layer"):
            capture(model, inputs(), anchor="first", backend=backend)
        assert state_of(model) == before
        hook.remove()
        assert_same_trace(capture(model, inputs(), anchor="first", backend=backend), expected, SAME)

    def test_it_is_in_evaluation_mode_while_borrowed(self):
        """Dropout of 1/2 would show: two captures would differ, and neither equal the one in evaluation mode."""
        model = build("bert", hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
        expected = capture(model, inputs(), anchor="first")
        for backend in ("fused", "eager"):
            assert_same_trace(capture(model.train(), inputs(), anchor="first", backend=backend), expected)

    def test_parts_with_their_own_implementation_keep_it(self):
        model = build("bert")
        model.bert.config = copy.deepcopy(model.config)
        model.bert.config._attn_implementation = "eager"
        with borrow(model, NAME):
            assert (model.config._attn_implementation, model.bert.config._attn_implementation) == (NAME, NAME)
        assert (model.config._attn_implementation, model.bert.config._attn_implementation) == ("sdpa", "eager")

    def test_it_may_be_borrowed_again_while_borrowed(self):
        model = lent()
        before = state_of(model)
        with borrow(model, "eager"):
            expected = model(**inputs()).logits
            with borrow(model, NAME):
                assert model.config._attn_implementation == NAME
                trace = capture(model, inputs(), anchor="first")
            assert model.config._attn_implementation == "eager"
            assert not any(module.training for module in model.modules())
        assert state_of(model) == before
        assert_close(trace.logits, expected.detach(), **CLOSE)

    def test_another_thread_waits_until_it_is_back(self):
        model, order = build("bert"), []
        holding, asked = threading.Event(), threading.Event()

        def hold() -> None:
            with borrow(model):
                holding.set()
                asked.wait(10)
                order.append("gave it back")

        def ask() -> None:
            holding.wait(10)
            asked.set()
            with borrow(model):
                order.append("got it")

        run_together(hold, ask)
        assert order == ["gave it back", "got it"]


class TestThreads:
    @pytest.mark.parametrize("architecture", ["bert", "gpt2", "modernbert-mean"])
    def test_many_threads_get_what_each_would_get_alone(self, architecture, short_switch_interval):
        model, anchor = build(architecture), anchor_of(architecture)
        jobs: dict[str, Callable[[], Tensor | Trace]] = {}
        for name, batch in BATCHES.items():
            jobs[f"fused {name}"] = lambda b=batch: capture(model, b, anchor=anchor)
            jobs[f"eager {name}"] = lambda b=batch: capture(model, b, anchor=anchor, backend="eager")
            jobs[f"direct {name}"] = lambda b=batch: model(**b).logits
        alone = {name: job() for name, job in jobs.items()}
        calls = random.Random(0).choices(list(jobs), k=160)

        def run(name: str) -> Tensor | Trace:
            with torch.no_grad():
                return jobs[name]()

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(run, calls))
        for name, result in zip(calls, together, strict=True):
            if isinstance(result, Trace):
                assert result.log_rows.shape == alone[name].log_rows.shape
                assert_same_trace(result, alone[name])
            else:
                assert_close(result, alone[name].detach(), **CLOSE, msg=lambda text, n=name: f"{n}: {text}")

    @pytest.mark.parametrize("backend", ["fused", "eager"])
    @pytest.mark.parametrize("padding", ["right", "full"])
    @pytest.mark.parametrize("architecture", ["bert", "gpt2", "modernbert"])
    def test_a_direct_call_keeps_its_numbers_when_capture_begins_or_ends_within_it(
        self, architecture, padding, backend
    ):
        """The direct call makes its mask under one implementation and attends under the other."""
        model, batch, anchor = build(architecture), BATCHES[padding], anchor_of(architecture)
        expected = model(**batch).logits.detach()
        results: list[Tensor] = []

        def direct() -> None:
            with torch.no_grad():
                results.append(model(**batch).logits)

        for first in ("direct", "capture"):
            in_direct, in_capture, done = threading.Event(), threading.Event(), threading.Event()
            capturing: list[int] = []

            def pause(*_: Any, first=first, a=in_direct, b=in_capture, end=done, who=capturing) -> None:
                if threading.get_ident() in who:
                    b.set()
                    (end if first == "direct" else a).wait(10)
                else:
                    a.set()
                    (b if first == "direct" else end).wait(10)

            def call(first=first, b=in_capture, end=done) -> None:
                if first == "capture":
                    b.wait(10)
                direct()
                end.set()

            def take(first=first, a=in_direct, end=done, who=capturing) -> None:
                who.append(threading.get_ident())
                if first == "direct":
                    a.wait(10)
                trace = capture(model, batch, anchor=anchor, backend=backend)
                results.append(trace.logits)
                if first == "capture":
                    end.set()

            hook = first_layer(model).register_forward_pre_hook(pause)
            run_together(call, take)
            hook.remove()
        assert len(results) == 4
        for result in results:
            assert_close(result, expected, **CLOSE)


def run_together(*functions: Callable[[], None]) -> None:
    with ThreadPoolExecutor(len(functions)) as pool:
        for future in [pool.submit(function) for function in functions]:
            future.result(timeout=60)


@pytest.fixture
def short_switch_interval() -> Iterator[None]:
    """Let threads take turns often, so that they meet inside a forward pass."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("together", [0, 2**17])  # read while the pass runs, or after it
@pytest.mark.parametrize("architecture", ["bert", "llama", "modernbert-mean"])
def test_what_is_read_in_inference_mode_may_be_used_in_a_graph(architecture, together, layers, monkeypatch):
    monkeypatch.setattr(fused_layer, "_TOGETHER", together)
    model, anchor = build(architecture, num_hidden_layers=layers), anchor_of(architecture)
    modes = []
    with monkeypatch.context() as patch:
        patch.setattr(
            fused, "class_logits", lambda *args: modes.append(torch.is_inference_mode_enabled()) or class_logits(*args)
        )
        trace = capture(model, BATCHES["right"], anchor=anchor, received=True)
        signals = attention_signals(model, BATCHES["right"], anchor=anchor, backend="fused")
    assert modes == [True, True]
    read = [trace.logits, trace.log_rows, trace.log_columns, trace.received]
    read += [value for name in signals.__slots__ if (value := getattr(signals, name)) is not None]
    assert not any(tensor.is_inference() for tensor in read)
