"""Each token's own vector, followed through the whole model to its share of the logit."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.borrow import borrow
from expnet.attention.gradients import check_one_pass
from expnet.attention.intercept import run
from expnet.attention.stack import require_one_stack
from expnet.errors import UnsupportedModelError
from expnet.methods.families.propagation import norm_scale, scaled_norm
from expnet.methods.layers import between_layers, check_layout
from expnet.methods.method import Method
from expnet.methods.passes import by_part, inputs_of, of_target
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

Bias = Literal["absdot", "none"]


@by_part(repeats=lambda tokens: tokens + 2)  # runs a window as itself, as each of its tokens, and as the biases
def decompx(
    classifier: Classifier, part: Encoding, target: Int[Tensor, " batch"], *, bias: Bias = "absdot"
) -> Float[Tensor, "batch tokens"]:
    """Split each hidden state into one vector a token and follow them to the target's logit; signed.

    Attention and the scale of norms stay as they are, an activation multiplies by its output over its input, and of
    a gated product the gate stays. With "absdot" the scores of all tokens, special ones included, sum to the logit.

    Args:
        classifier: The classifier.
        part: Windows that fit one pass.
        target: A class for each window.
        bias: Share each bias among the tokens as the size of their dot products with it ("absdot"; if all are 0 no
            token gets it), or leave the biases out ("none").

    Raises:
        UnsupportedModelError: If the vectors do not add up to the model's own logit.
    """
    check_one_pass(classifier.model, "decompx")
    require_one_stack(classifier.model)
    with torch.no_grad():
        model, length = classifier.model, part.ids.shape[1]
        own = of_target(run(model, inputs_of(part, model.device)).logits, target)
        rows = _Rows(len(part), length, bias)
        # Flash and compiled kernels give no hold; SDPA and eager attention have rules.
        switch = model.config._attn_implementation not in (None, "eager", "sdpa")
        with borrow(model, "sdpa" if switch else None), between_layers(model, enter=rows.enter):
            logits = run(model, inputs_of(part, model.device, copies=length + 2), rules=rows.rules()).logits
        shares = of_target(logits, target.repeat_interleave(length + 2)).view(len(part), length + 2)[:, 1:]
        _check(shares, own, logits.dtype)
        return shares[:, :-1]


DECOMPX = Method(
    name="decompx",
    family="propagation",
    measures="How much of the output comes from the word, followed through all layers",
    function=decompx,
    paper="Modarressi et al. 2023, arXiv:2306.02873",
    # Special tokens, mostly two, have parts as well.
    forward="tokens + 5",
    cost="quadratic",
    signed=True,
    uses_target=True,
)


def _check(shares: Tensor, own: Tensor, dtype: torch.dtype) -> None:
    gap = ((shares.sum(1) - own).abs() / (1 + shares.abs().sum(1))).max()
    if not gap <= (1e-3 if dtype in (torch.float32, torch.float64) else 5e-2):
        raise UnsupportedModelError(
            f"The tokens' shares miss the model's logit by {float(gap):.2g} of their size: something in this model is "
            "neither linear, nor attention, a norm, a known activation or a gate."
        )


class _Rows:
    """Runs a text, its tokens' parts and the biases' part side by side, as rows of one batch.

    A group of rows is: the text itself; one part for each token, which is all that came from it; the part that came
    from biases. Parts sum to the text. Each rule computes the text's row as the model does, and from it the linear
    map that the parts go through.
    """

    def __init__(self, batch: int, tokens: int, bias: Bias) -> None:
        self.batch, self.tokens, self.bias = batch, tokens, bias
        # What an activation gave last; a product with it is a gate.
        self.gate: Tensor | None = None
        # A layer goes from "attention" over "projection" to "residual". Until then its biases wait for the sum.
        self.stage: Literal["attention", "projection", "residual", ""] = ""

    def rules(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        constant = (torch.rsqrt, Tensor.rsqrt, torch.sigmoid, Tensor.sigmoid, torch.erf)
        slopes = (F.gelu, F.relu, F.silu, torch.tanh, torch.relu, Tensor.tanh, Tensor.relu)
        return {
            F.linear: lambda func, x, weight, bias=None: self._project(func(x, weight), bias),
            torch.addmm: lambda func, bias, x, weight: self._project(x @ weight, bias),
            F.layer_norm: self._layer_norm,
            F.scaled_dot_product_attention: self._attention,
            **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), self._softmax),
            **dict.fromkeys(constant, self._constant),
            **dict.fromkeys(slopes, self._slope),
            **dict.fromkeys((torch.mul, Tensor.mul), self._multiply),
            **dict.fromkeys((torch.add, Tensor.add), self._add),
        }

    def enter(self, index: int, hidden: Tensor) -> Tensor:
        """Make parts of what the first layer finds."""
        self.stage = "attention"
        if index > 0:
            return hidden
        check_layout(hidden, self.batch * (self.tokens + 2), self.tokens)
        own = self._grouped(hidden)[:, 0, 0]
        parts = torch.eye(self.tokens).to(own)[:, :, None] * own[:, None]
        return torch.cat([own[:, None], parts, torch.zeros_like(own)[:, None]], 1).flatten(0, 1)

    def _grouped(self, x: Tensor) -> Tensor:
        """View rows as [batch, text and parts, rest, ...]; rest is there where rows and tokens are one axis."""
        return x.reshape(self.batch, self.tokens + 2, -1, *x.shape[1:])

    def _in_rows(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x.ndim > 1 and x.shape[0] % (self.batch * (self.tokens + 2)) == 0

    def _project(self, y: Tensor, bias: Tensor | None) -> Tensor:
        waits = self.stage in ("attention", "projection")
        if self.stage == "projection":
            self.stage = "residual"
        return self._biased(y, bias, wait=waits)

    def _biased(self, y: Tensor, bias: Tensor | None, *, wait: bool = False) -> Tensor:
        if bias is None:
            return y
        if not self._in_rows(y):
            return y + bias
        groups = self._grouped(y := y.contiguous())  # a view, to be written to
        groups[:, 0] += bias
        groups[:, -1] += bias
        return y if wait else self._shared(y)

    def _shared(self, y: Tensor) -> Tensor:
        """Share what biases added among the tokens; what no token has a dot product with stays."""
        if self.bias == "none":
            return y
        groups = self._grouped(y := y.contiguous())
        parts, biases = groups[:, 1:-1], groups[:, -1:]
        size = (parts * biases).sum(-1, keepdim=True).abs()
        total = size.sum(1, keepdim=True)
        parts += size / total.where(total > 0, 1.0) * biases
        biases *= total == 0
        return y

    def _layer_norm(
        self,
        func: Callable[..., Tensor],
        x: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
    ) -> Tensor:
        if not self._in_rows(x):
            return func(x, normalized_shape, weight, bias, eps)
        groups = self._grouped(x)
        return self._biased(scaled_norm(groups, norm_scale(groups[:, :1], eps), weight).reshape(x.shape), bias)

    def _softmax(self, func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.stage = "projection" if self.stage == "attention" else self.stage
        return self._constant(func, x, *args, **kwargs)

    def _constant(self, func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Give all rows the text's result."""
        if not self._in_rows(x):
            return func(x, *args, **kwargs)
        groups = self._grouped(x)
        # Models view their probabilities in other shapes, which needs them in order.
        return func(groups[:, :1], *args, **kwargs).expand(groups.shape).reshape(x.shape).contiguous()

    def _slope(self, func: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Multiply all rows with what the activation multiplies the text's row with."""
        if not self._in_rows(x):
            return func(x, *args, **kwargs)
        groups = self._grouped(x)
        own = groups[:, :1].clone()
        slope = func(own.clone(), *args, **kwargs) / own.where(own != 0, 1.0)
        self.gate = (groups * slope).reshape(x.shape)
        return self.gate

    def _multiply(self, func: Callable[..., Tensor], x: Tensor, y: Any) -> Tensor:
        other = y if x is self.gate else x if y is self.gate else None
        if self.gate is None or not isinstance(other, Tensor) or other.shape != self.gate.shape:
            return func(x, y)
        return (self._grouped(other) * self._grouped(self.gate)[:, :1]).reshape(other.shape)

    def _add(self, func: Callable[..., Tensor], x: Tensor, y: Any, **kwargs: Any) -> Tensor:
        total: Tensor = func(x, y, **kwargs)
        if x is self.gate and not isinstance(y, Tensor):
            self.gate = total  # GELU written out: x (1 + tanh(...)) / 2
        elif self.stage == "residual" and isinstance(y, Tensor) and x.shape == y.shape and self._in_rows(total):
            self.stage = ""
            return self._shared(total)
        return total

    def _attention(
        self,
        func: Callable[..., Tensor],
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Let the text attend once, to the values of all rows."""
        self.stage = "projection"
        copies = self.tokens + 2
        values = value.unflatten(0, (-1, copies)).movedim(1, 3).flatten(3)
        if attn_mask is not None and attn_mask.ndim == 4:
            attn_mask = attn_mask[::copies]
        mixed: Tensor = func(query[::copies], key[::copies], values, attn_mask, *args, **kwargs)
        return mixed.view(*mixed.shape[:3], copies, -1).movedim(3, 1).flatten(0, 1)
