"""What tokens add to the output: multipliers of a text's change from a baseline in which its tokens are replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from expnet.attention.anchor import Anchor, PooledTokens
from expnet.attention.difference_rules import Rules
from expnet.attention.gradients import check_one_pass, gradients
from expnet.attention.intercept import run
from expnet.attention.signals import Signals, evidence_of, signals_of
from expnet.attention.stack import Stack
from expnet.attention.targets import logit_of
from expnet.errors import UnsupportedModelError


class DifferencePass:
    """A forward pass over baselines, one over texts, and multipliers from any number of targets.

    A caller may be in inference mode.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        inputs: Mapping[str, Tensor],
        real: Bool[Tensor, "batch tokens"],
        blank: Float[Tensor, " width"],
        *,
        matrices: bool = False,
    ) -> None:
        """Run the forward passes.

        Args:
            model: A sequence classifier. It comes back as it was.
            inputs: Its keyword arguments.
            real: True for tokens that stand for text; the others are the same in the baseline.
            blank: Embedding that stands for each of them in the baseline.
            matrices: Whether multipliers of attention are asked for, too.

        Raises:
            UnsupportedModelError: If the model's embeddings or attention cannot be reached, if it computes other things
                for a text than for its baseline, or if it is a language model with a label of several tokens.
        """
        check_one_pass(model, "A pass of differences")
        ends: list[Tensor] = []

        def empty(raw: Tensor) -> Tensor:
            ends.append(torch.where(real[some][..., None], blank, raw.detach()))
            return ends[-1]

        def text(raw: Tensor) -> Tensor:
            ends.append(raw.detach().requires_grad_())
            return ends[-1]

        real = real.to(inputs["input_ids"].device)
        some, of_text = _different(inputs, real)
        rules = Rules(type(model).__name__, of_text)
        attend = (lambda _, layer: layer) if matrices else None
        with torch.inference_mode(False), torch.enable_grad():
            self._inputs = {name: tensor.clone() for name, tensor in inputs.items()}  # see `GradientPass`
            bare = {name: tensor[some] for name, tensor in self._inputs.items()}
            with torch.no_grad():
                before = run(model, bare, embed=empty, attend=attend, rules=rules.of_functions(), keep=False)
            rules.replay()
            self._pass = run(model, self._inputs, embed=text, attend=attend, rules=rules.of_functions())
        self._model, self._before, self._without, self._text = model, before.logits[of_text], ends[0][of_text], ends[1]
        self._known: tuple[Tensor, Signals] | None = None
        self._forward: Signals | None = None

    @property
    def logits(self) -> Float[Tensor, "batch classes"]:
        """Of the texts, as the model gives them."""
        return self._pass.logits.detach()

    def scores(self, target: Int[Tensor, " batch"], *, keep: bool = False) -> Float[Tensor, "batch tokens"]:
        """Return what each token adds to the target's logit, compared with the baseline; see `signals`."""
        return self._shared_out(target, [], keep=keep)[0]

    def signals(self, target: Int[Tensor, " batch"], anchor: Anchor, *, keep: bool = False) -> Signals:
        """Return what the forward pass says of the texts, and as evidence multipliers where others have slopes.

        Asked for the same target again, as by several methods that share the pass, it returns the same.

        Args:
            target: A class, or a contrast of two, for each text.
            anchor: What the model pools.
            keep: Whether another target may follow.

        Raises:
            NoGradientError: If the logits do not lead back to the tokens.
            UnsupportedModelError: If the scores do not add up, as the model computes something without a rule.
        """
        if self._known is not None and torch.equal(self._known[0], target):
            return self._known[1]
        scores, multipliers = self._shared_out(target, [layer.probabilities for layer in self._pass.layers], keep=keep)
        with torch.inference_mode(False), torch.no_grad():
            pooled, stack = PooledTokens.of(self._model, self._inputs, anchor), Stack.of(self._model)
            layers = [
                replace(layer, probabilities=layer.probabilities.detach(), value=layer.value.detach())
                for layer in self._pass.layers
            ]
            maps, of_maps = [layer.probabilities for layer in layers], multipliers[:-1]
            evidence = evidence_of(maps, of_maps, multipliers[-1], pooled, stack)
            if self._forward is None:  # what the forward pass alone says is the same for every target
                self._forward = signals_of(self.logits, stack.reading(layers), pooled)
            signals = replace(self._forward, evidence=replace(evidence, differences=scores.float()))
        self._known = target, signals
        return signals

    def _shared_out(
        self, target: Int[Tensor, " batch"], maps: Sequence[Tensor], *, keep: bool
    ) -> tuple[Float[Tensor, "batch tokens"], list[Tensor]]:
        """Return the scores, and the multipliers at the maps and at the tokens."""
        with torch.inference_mode(False), torch.enable_grad():
            of_class = target.clone().to(self._text.device)
            after, before = (logit_of(logits.float(), of_class) for logits in (self._pass.logits, self._before))
            multipliers = gradients(self._model, after.sum(), [*maps, self._text], keep=keep)
        scores = (multipliers[-1] * (self._text.detach() - self._without)).sum(-1)
        _check(scores, after.detach(), before, type(self._model).__name__, multipliers[-1].dtype)
        return scores, multipliers


def _different(inputs: Mapping[str, Tensor], real: Tensor) -> tuple[Int[Tensor, " some"], Int[Tensor, " batch"]]:
    """Return rows whose baselines differ from all others, and which of these baselines is each row's.

    Texts of the same number of tokens mostly have the same, which then runs once.
    """
    ids = inputs["input_ids"].masked_fill(real, -1)
    rows = torch.cat([ids, *(tensor.flatten(1) for name, tensor in inputs.items() if name != "input_ids")], 1)
    places = torch.arange(len(rows), device=rows.device)
    different, of_text = rows.unique(dim=0, return_inverse=True)
    if len(different) == len(rows):
        return places, places
    first = places.new_full((len(different),), len(rows)).scatter_reduce(0, of_text, places, "amin")
    return first, of_text


def difference_signals(
    model: PreTrainedModel,
    inputs: Mapping[str, Tensor],
    target: Int[Tensor, " batch"] | None,
    *,
    anchor: Anchor,
    real: Bool[Tensor, "batch tokens"],
    blank: Float[Tensor, " width"],
) -> Signals:
    """Run a `DifferencePass`, and read it toward each text's target, or its largest logit."""
    done = DifferencePass(model, inputs, real, blank, matrices=True)
    return done.signals(done.logits.argmax(1) if target is None else target, anchor)


def _check(scores: Tensor, text: Tensor, without: Tensor, name: str, dtype: torch.dtype) -> None:
    """Raise if the scores do not add up: the only proof that a model computes nothing but what has a rule."""
    gaps = (scores.sum(1) - (text - without)).abs()
    eps = torch.finfo(dtype).eps
    # The second part is the rounding of the logits themselves, which may be large beside their difference.
    allowed = 3 * eps**0.5 * scores.abs().sum(1) + 100 * eps * (text.abs() + without.abs())
    if not (gaps <= allowed).all():
        worst = int((gaps - allowed).nan_to_num(torch.inf).argmax())
        raise UnsupportedModelError(
            f"{name} computes something that DeepLIFT has no rule for: the scores of a window sum to "
            f"{float(scores[worst].sum()):.4g}, but its logit changes by {float(text[worst] - without[worst]):.4g}. "
            "Integrated gradients are complete for every model."
        )
