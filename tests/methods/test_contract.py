"""Every method keeps the contract, and the contract catches those that do not."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

import expnet
from expnet.attention.intercept import run
from expnet.errors import ContractError
from expnet.methods.contract.contract import check_method
from expnet.methods.contract.specimen import tiny_classifier as specimen
from expnet.methods.families.gradient import INTEGRATED_GRADIENTS
from expnet.methods.passes import differentiable, inputs_of, of_target, score_parts
from expnet.methods.registry import TABLE
from expnet.methods.shared_pass import PassNeeds
from expnet.methods.traced import by_trace
from tests.classifiers import tiny_network
from tests.plugin import FIRST_TOKEN
from tests.support import options_for


def variants():
    """Every method with its defaults, and with each value of its options that are a choice."""
    for method in TABLE:
        yield pytest.param(method, {}, id=method.name)
        for name, parameter in method.options.items():
            for value in get_args(parameter.annotation):
                if isinstance(value, str) and value != parameter.default:
                    yield pytest.param(method, {name: value}, id=f"{method.name}-{name}={value}")


@pytest.mark.parametrize(("method", "options"), list(variants()))
def test_every_method_and_every_choice_keeps_the_contract(method, options):
    classifier = specimen()
    network = tiny_network(classifier, method)
    report = check_method(method, classifier, options=options_for(method, classifier) | options, network=network)
    assert (report.residual is not None) == method.complete


def test_a_plugin_is_held_to_it_too():
    check_method(FIRST_TOKEN)


class TestPlantedFaults:
    """Methods that are right but for one fault each, which the contract must name."""

    @staticmethod
    def caught(function: Callable, message: str, **declared) -> None:
        declared = {"signed": True, "uses_target": True} | declared
        declared = {"forward": "1", "backward": "1"} | declared
        method = expnet.Method(name="faulty", family="gradient", function=function, paper="", **declared)
        with pytest.raises(ContractError, match=message):
            check_method(method)

    @staticmethod
    def honest(classifier, encoding, target, *, spoil=lambda part, inputs, scores: scores, alter=lambda inputs: inputs):
        """Gradient times input, with room for faults."""

        def score(part, chosen):
            leaf = []

            def embed(raw):
                leaf.append(raw.detach().requires_grad_())
                return leaf[0]

            with differentiable():
                inputs = alter(inputs_of(part, "cpu"))
                logits = run(classifier.model, inputs, embed=embed).logits
                (gradient,) = torch.autograd.grad(of_target(logits, chosen).sum(), leaf[0])
            return spoil(part, inputs, (gradient * leaf[0]).sum(-1))

        return score_parts(encoding, target, score)

    def test_the_honest_one_passes(self):
        method = expnet.Method(
            name="honest",
            family="gradient",
            function=lambda classifier, encoding, target: self.honest(classifier, encoding, target),
            paper="",
            forward="1",
            signed=True,
            uses_target=True,
        )
        check_method(method)

    @staticmethod
    def reading(change=lambda scores, trace: scores, spoil=lambda logits: logits):
        """Gradient times input that reads a pass of its own, with room for faults."""

        def own(classifier, part):
            leaf = []

            def embed(raw):
                leaf.append(raw.detach().requires_grad_())
                return leaf[0]

            with differentiable():
                logits = run(classifier.model, inputs_of(part, "cpu"), embed=embed).logits
            return spoil(logits), (logits, leaf[0])

        @by_trace(lambda _: PassNeeds(own=own))
        def function(classifier, part, target, *, trace):
            logits, leaf = trace.own
            with differentiable():
                (gradient,) = torch.autograd.grad(of_target(logits, target).sum(), leaf, retain_graph=trace.keep)
            return change((gradient * leaf).sum(-1), trace)

        return function

    def test_an_honest_one_that_reads_a_pass_is_right_but_must_say_that_classes_share_it(self):
        self.caught(self.reading(), "does not declare shares_forward=True")
        declared = {"forward": "1", "backward": "1", "signed": True, "uses_target": True, "shares_forward": True}
        method = expnet.Method(name="honest", family="gradient", function=self.reading(), paper="", **declared)
        check_method(method)

    def test_other_scores_in_the_pass_that_predicts(self):
        def change(scores, trace):
            return scores * (2 if trace.keep else 1) * 2 if seen.append(trace.keep) or any(seen) else scores

        seen = []
        self.caught(self.reading(change), "from those that it has by itself", shares_forward=True)

    def test_a_pass_that_predicts_something_else(self):
        function = self.reading(spoil=lambda logits: logits.flip(1))
        self.caught(function, "predicts something else than the model", shares_forward=True)

    def test_the_mask_is_not_passed(self):
        def function(classifier, encoding, target):
            return self.honest(
                classifier,
                encoding,
                target,
                alter=lambda inputs: inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])},
            )

        self.caught(function, "scores differently alone and in a batch")

    def test_the_wrong_target(self):
        def function(classifier, encoding, target):
            return self.honest(classifier, encoding, torch.zeros_like(target))

        self.caught(function, "declared to use the target, but another class has the same scores")

    def test_a_cost_that_nobody_can_count(self):
        self.caught(self.honest_plain, "'steps' cannot be counted", forward="steps")

    def test_a_target_that_was_not_declared(self):
        self.caught(self.honest_plain, "declared not to use the target", uses_target=False)

    @staticmethod
    def honest_plain(classifier, encoding, target):
        return TestPlantedFaults.honest(classifier, encoding, target)

    def test_the_target_of_the_row_before(self):
        def function(classifier, encoding, target):
            return self.honest(classifier, encoding, target.roll(1))

        self.caught(function, "alone and in a batch")

    def test_the_attention_backend_is_not_restored(self):
        def function(classifier, encoding, target):
            classifier.model.set_attn_implementation("eager")
            return self.honest(classifier, encoding, target)

        self.caught(function, "the attention implementation is not as before")

    def test_the_mode_is_not_restored_after_an_error(self):
        def function(classifier, encoding, target):
            modes = [module.training for module in classifier.model.modules()]
            classifier.model.eval()
            scores = self.honest(classifier, encoding, target)
            for module, mode in zip(classifier.model.modules(), modes, strict=True):
                module.training = mode
            return scores

        self.caught(function, "the training mode is not as before, after an error")

    def test_gradients_are_left_behind(self):
        def function(classifier, encoding, target):
            with torch.inference_mode(False):
                classifier.model(**encoding.inputs()).logits.sum().backward()
            return self.honest(classifier, encoding, target)

        self.caught(function, r"a weight's \.grad is not as before")

    def test_a_hook_is_left_behind(self):
        def function(classifier, encoding, target):
            classifier.model.classifier.register_forward_hook(lambda *_: None)
            return self.honest(classifier, encoding, target)

        self.caught(function, "a hook is not as before")

    def test_a_hook_is_left_behind_only_after_an_error(self):
        def function(classifier, encoding, target):
            hook = classifier.model.classifier.register_forward_hook(lambda *_: None)
            scores = self.honest(classifier, encoding, target)
            hook.remove()
            return scores

        self.caught(function, "a hook is not as before, after an error in the model's last module")

    def test_weights_are_frozen_for_good(self):
        def function(classifier, encoding, target):
            classifier.model.requires_grad_(False)
            return self.honest(classifier, encoding, target)

        self.caught(function, "a weight is not as before")

    def test_the_model_stays_in_training_mode(self):
        def function(classifier, encoding, target):
            with torch.no_grad():
                logits = classifier.model(**encoding.inputs()).logits  # dropout, where the caller left it on
            return self.honest(classifier, encoding, target) * of_target(logits, target)[:, None]

        self.caught(function, "a model in training mode gives other scores")

    def test_an_error_is_swallowed(self):
        def function(classifier, encoding, target):
            try:
                return self.honest(classifier, encoding, target)
            except Exception:
                return torch.zeros(encoding.ids.shape)

        self.caught(function, "an error of the model was swallowed")

    def test_a_tensor_that_came_in_is_written_to(self):
        def function(classifier, encoding, target):
            scores = self.honest(classifier, encoding, target)
            target += 0
            return scores

        self.caught(function, "a tensor that came in is not as before")

    @pytest.mark.parametrize("draw", [torch.rand, np.random.rand])
    def test_a_global_seed(self, draw):
        def function(classifier, encoding, target):
            draw(1)
            return self.honest(classifier, encoding, target)

        self.caught(function, "the global source of randomness is not as before")

    def test_randomness_that_was_not_declared(self):
        source = torch.Generator()

        def function(classifier, encoding, target):
            return self.honest(classifier, encoding, target) * torch.rand((), generator=source)

        self.caught(function, "the same call gave other scores")

    def test_noise_that_depends_on_the_place_in_the_batch(self):
        def function(classifier, encoding, target, *, generator):
            noise = torch.rand(encoding.ids.shape, generator=generator)
            return self.honest(classifier, encoding, target) * (1 + noise)

        self.caught(function, "alone and in a batch.*turned round", deterministic=False)

    def test_a_generator_that_is_not_used(self):
        def function(classifier, encoding, target, *, generator):
            return self.honest(classifier, encoding, target)

        self.caught(function, "another seed gave the same scores", deterministic=False)

    def test_scores_on_special_tokens(self):
        def function(classifier, encoding, target):
            return self.honest(classifier, encoding, target) + encoding.special.float()

        self.caught(function, "8 scores on special tokens or padding are not 0")

    def test_a_negative_score_that_was_not_declared(self):
        self.caught(self.honest_plain, "declared unsigned, but some scores are negative", signed=False)

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda scores: scores[:, 1:], r"returned \(4, 46\), expected a tensor of shape \(4, 47\)"),
            (lambda scores: scores.double(), r"torch\.float64 on cpu, expected float32"),
            (lambda scores: scores / 0, "scores are NaN or infinite"),
            (lambda scores: scores.requires_grad_(), "without a graph"),
        ],
    )
    def test_the_wrong_form(self, spoil, message):
        def function(classifier, encoding, target):
            return spoil(self.honest(classifier, encoding, target))

        self.caught(function, message)

    def test_a_sum_that_is_not_complete(self):
        method = replace(
            INTEGRATED_GRADIENTS,
            function=lambda *given, **options: 1.5 * INTEGRATED_GRADIENTS.function(*given, **options),
        )

        def function(classifier, encoding, target, *, replacement="mask"):
            return method.function(classifier, encoding, target, replacement=replacement)

        self.caught(function, "miss the difference they should sum to by", complete=True)

    def test_everything_wrong_is_named_at_once(self):
        def function(classifier, encoding, target):
            return self.honest(classifier, encoding, target) + encoding.special.float()

        self.caught(
            function, "special tokens.*declared not to use the target.*negative", uses_target=False, signed=False
        )

    def test_only_one_thread_may_call_it(self):
        owner = threading.get_ident()

        def function(classifier, encoding, target):
            if threading.get_ident() != owner:
                raise RuntimeError("another thread")
            return self.honest(classifier, encoding, target)

        self.caught(function, r"it raised RuntimeError \(another thread\) where .* several threads called")


def test_the_residual_of_a_complete_method_is_reported():
    report = check_method(INTEGRATED_GRADIENTS, options={"steps": 60})
    assert report.difference > 0.1
    assert report.residual < 1e-3
