"""Live models as their owners have them: wrapped, adapted, quantised, frozen, offloaded, with odd weights or tuples."""

import gc
import os
import re
import signal
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from peft import LoraConfig, PromptTuningConfig, get_peft_model, inject_adapter_in_model
from torch import nn
from torch.testing import assert_close

import expnet
from expnet import Text
from expnet.attention.borrow import borrow
from expnet.errors import InputError, ModelError, NoGradientError, UnsupportedModelError
from expnet.explainer import Explainer
from expnet.identity import models
from expnet.methods.registry import TABLE
from expnet.model.classifier import Classifier
from expnet.model.weights import state_bytes
from expnet.network.universal import named
from expnet.runtime.locks import Lock
from tests.models import build, tokenizer

pytestmark = pytest.mark.usefixtures("unchecked")
LORA = {"task_type": "SEQ_CLS", "r": 2, "target_modules": ["query", "value"], "init_lora_weights": False}
# Methods that declare a backward pass; what they sum up must not be 0 for want of one.
WITH_GRADIENTS = [method.name for method in TABLE if method.backward != "0"]


def explainer_of(model, network="universal/attention", **settings):
    return Explainer(Classifier(model, tokenizer(**settings)), named(network))


def scores_of(explainer, method="expnet"):
    return torch.tensor([word.score for word in explainer.explain("a good film", method=method).words])


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch of its own code
@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, lambda model: torch.compile(nn.DataParallel(model))])
def test_what_others_put_around_a_model_is_taken_off(wrap):
    model = build("bert")
    classifier = Classifier(wrap(model), tokenizer())
    assert classifier.model is model
    assert_close(scores_of(Explainer(classifier, named("universal/attention"))), scores_of(explainer_of(model)))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT's use of transformers
def test_adapters_are_refused_until_they_are_merged():
    adapted = get_peft_model(build("bert"), LoraConfig(**LORA)).eval()
    with pytest.raises(ModelError, match=r"adapters that are not merged .*layer\.0.*merge_and_unload\(\)"):
        Classifier(adapted, tokenizer())
    injected = build("bert")
    inject_adapter_in_model(LoraConfig(**LORA), injected)
    with pytest.raises(ModelError, match=r"merge_and_unload\(\)"):
        Classifier(injected, tokenizer())
    prompted = get_peft_model(build("bert"), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2))
    with pytest.raises(ModelError, match="a learned prompt"):
        Classifier(prompted, tokenizer())


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_merged_adapters_are_explained_and_so_are_those_switched_off():
    adapted = get_peft_model(build("bert"), LoraConfig(**LORA)).eval()
    with adapted.disable_adapter():
        assert_close(scores_of(explainer_of(adapted)), scores_of(explainer_of(build("bert"))))
    batch = Classifier(build("bert"), tokenizer()).encode([Text.of("a good film")])
    logits = adapted(**batch.inputs()).logits
    adapted.merge_adapter()
    classifier = Classifier(adapted, tokenizer())
    assert_close(classifier.trace(batch).logits, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("given", [nn.Linear(2, 2), "bert", None])
def test_what_is_no_model_of_transformers_is_refused(given):
    with pytest.raises(ModelError, match=f"Expected a sequence classifier of transformers, got {type(given).__name__}"):
        Classifier(given, tokenizer())


def test_weights_that_are_not_in_memory_are_refused():
    with torch.device("meta"):
        model = build("bert")
    with pytest.raises(ModelError, match=r"weights that are not in memory, first bert\.embeddings"):
        Classifier(model, tokenizer())


def test_a_model_that_gives_tuples_is_explained_and_still_gives_tuples():
    for architecture in ("bert", "llama"):
        model = build(architecture, return_dict=False)
        assert_close(scores_of(explainer_of(model)), scores_of(explainer_of(build(architecture))))
        assert model.config.return_dict is False


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_weights_are_hashed_by_their_values_however_they_are_stored():
    complex_ = torch.tensor([1 + 2j])
    assert state_bytes(complex_.conj()) == state_bytes(torch.tensor([1 - 2j])) != state_bytes(complex_)
    assert state_bytes(complex_.conj().imag) == state_bytes(torch.tensor([-2.0])) != state_bytes(complex_.imag)
    assert state_bytes(torch.ones(1).expand(3)) == state_bytes(torch.ones(3))
    nested = torch.nested.nested_tensor([torch.ones(1), torch.ones(2)])
    for value, what in ((nested, "nested tensor"), (nn.LazyLinear(2).weight, "without a shape")):
        with pytest.raises(ModelError, match=what):
            state_bytes(value)


@pytest.fixture
def fresh_accelerate():
    """A process settles on one precision for good; another test's training may have settled on another."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_accelerate")
def test_a_model_prepared_for_mixed_precision_is_refused_until_it_is_unwrapped():
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    prepared = accelerator.prepare(build("bert").eval())
    with pytest.raises(ModelError, match=r"Pass accelerator\.unwrap_model\(model, keep_fp32_wrapper=False\)"):
        Classifier(prepared, tokenizer())
    unwrapped = Explainer(Classifier(accelerator.unwrap_model(prepared, keep_fp32_wrapper=False), tokenizer()))
    plain = Explainer(Classifier(build("bert"), tokenizer()))
    explanation, wanted = (explainer.explain("good film", method="saliency") for explainer in (unwrapped, plain))
    assert explanation.words == wanted.words


def test_a_model_that_cannot_run_by_itself_is_refused_with_its_own_reason():
    model = build("bert").bfloat16()
    model.classifier.float()
    with pytest.raises(ModelError, match=r"fails on a short text: RuntimeError: .*without autocast around it"):
        Classifier(model, tokenizer())


def test_the_fingerprint_takes_scalars_and_packed_weights_and_changes_with_them():
    model = build("bert")
    classifier = Classifier(model, tokenizer())
    before = classifier.fingerprint()
    model.register_parameter("temperature", nn.Parameter(torch.tensor(1.0)))
    with_scalar = classifier.fingerprint()
    model.temperature.data.fill_(2.0)
    assert len({before, with_scalar, classifier.fingerprint()}) == 3
    packed = [quantised(build("bert", seed=seed)) for seed in (0, 0, 1)]
    first, again, other = (Classifier(module, tokenizer()).fingerprint() for module in packed)
    assert first == again != other
    assert models(Explainer(Classifier(packed[0], tokenizer())))["classifier_hash"] == first


def test_state_without_bytes_of_its_own_is_an_error_of_ours():
    model = build("bert")
    model.__class__ = type("Odd", (type(model),), {"get_extra_state": lambda _: {"scale": 1}})
    with pytest.raises(ModelError, match="state holds a dict, which cannot be hashed"):
        Classifier(model, tokenizer()).fingerprint()


def quantised(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will drop this kind of quantisation
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def without_gradient(model):
    forward = model.forward
    model.forward = torch.no_grad()(forward)
    return model


def encoder_quantised(model):
    model.bert.encoder = quantised(model.bert.encoder)
    return model


def one_layer_without_gradient(model):
    attention = model.bert.encoder.layer[1].attention.self
    attention.forward = torch.no_grad()(attention.forward)
    return model


MAIMED = {
    "quantised": quantised,
    "its encoder quantised": encoder_quantised,
    "forward under no_grad": without_gradient,
    "one attention layer under no_grad": one_layer_without_gradient,
}


@pytest.mark.parametrize("method", WITH_GRADIENTS)
@pytest.mark.parametrize("maim", MAIMED.values(), ids=MAIMED)
def test_a_model_without_its_whole_gradient_is_an_error_and_never_zeros(maim, method):
    classifier = Classifier(maim(build("bert")), tokenizer())
    encoding = classifier.encode(["a good film"])
    network = named("universal/gradient") if method.startswith("expnet_") else None
    network = named("universal/difference") if method == "expnet_difference" else network
    attribution = next(candidate for candidate in TABLE if candidate.name == method)
    with pytest.raises(NoGradientError, match="BertForSequenceClassification has no gradient"):
        attribution.attribute(classifier, encoding, torch.tensor([1]), network=network)


@pytest.mark.parametrize("maim", MAIMED.values(), ids=MAIMED)
def test_methods_without_gradients_still_explain_it(maim):
    classifier = Classifier(maim(build("bert")), tokenizer())
    assert scores_of(Explainer(classifier), "leave_one_out").abs().sum() > 0


def test_frozen_weights_and_weights_made_in_inference_mode_have_the_same_gradients():
    expected = {name: scores_of(explainer_of(build("bert")), name) for name in WITH_GRADIENTS if "expnet" not in name}
    frozen = build("bert").requires_grad_(False)
    with torch.inference_mode():
        inferred = build("bert")
    for model in (frozen, inferred):
        explainer = explainer_of(model, "universal/gradient")
        for name, scores in expected.items():
            assert_close(scores_of(explainer, name), scores, atol=1e-6, rtol=1e-5)
        assert all(weight.is_inference() for weight in inferred.parameters())


def test_a_token_without_an_embedding_is_named_and_other_texts_are_explained():
    words = tokenizer()
    words.add_tokens(["<user>"])
    explainer = Explainer(Classifier(build("bert"), words), named("universal/attention"))
    message = r"'bad <user> film' holds the token '<user>' with the id 71, but the model has embeddings for 71 ids"
    for door in (explainer.explain, explainer.classifier.encode):
        with pytest.raises(InputError, match=message):
            door(["good film", "bad <user> film"])
    assert explainer.explain("good film").words


def test_special_tokens_without_an_embedding_count_as_none():
    words = tokenizer(mask_token=None)
    words.add_special_tokens({"mask_token": "<mask>"})
    assert Classifier(build("bert"), words).mask_id is None


@pytest.mark.parametrize("shape", [(2, 3, 4), None])
def test_logits_of_another_shape_are_refused_in_every_way(shape):
    model = build("bert")
    logits = None if shape is None else torch.zeros(shape)
    model.forward = lambda **_: type("Outputs", (), {"logits": logits})()
    with pytest.raises(UnsupportedModelError, match=r"expected \(batch, classes\)"):
        Classifier(model, tokenizer())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_while_another_thread_explains_explains_too_with_the_model_as_it_was():
    model = build("bert").train()
    explainer = explainer_of(model)
    expected, held, leave = scores_of(explainer), threading.Event(), threading.Event()

    def other():
        with borrow(model, "expnet"):
            held.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        try:
            same = torch.allclose(scores_of(explainer), expected)
            os._exit(0 if same and model.training and model.config._attn_implementation != "expnet" else 1)
        finally:
            os._exit(2)
    leave.set()
    thread.join()
    assert ended(child) == 0
    assert model.training


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_every_lock_of_the_package_is_free_in_a_forked_child():
    locks = [candidate for candidate in gc.get_objects() if type(candidate) is Lock]
    assert len(locks) >= 3
    held, leave = threading.Event(), threading.Event()

    def other():
        for lock in locks:
            lock.__enter__()
        held.set()
        leave.wait()
        for lock in locks:
            lock.__exit__(None, None, None)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        for lock in locks:
            with lock:
                pass
        os._exit(0)
    leave.set()
    thread.join()
    assert ended(child) == 0


def test_the_package_makes_no_lock_that_a_fork_would_leave_locked():

    unsafe = re.compile(r"threading\.(R?Lock|Condition|Semaphore)\b|cached_property")
    paths = Path(expnet.__file__).parent.rglob("*.py")
    made = [path.name for path in paths if path.name != "locks.py" and unsafe.search(path.read_text())]
    assert made in ([], ["data.py"])  # the benchmark's data are no part of what a service runs


def ended(child):
    """Return the status of a child; one that hangs is killed."""
    for _ in range(600):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1
