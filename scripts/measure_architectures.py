"""How far capture is from transformers' own eager attention, on a tiny random model of each architecture.

    python scripts/measure_architectures.py

Writes docs/architectures.md. `tests/attention/test_architectures.py` measures the same and compares.
"""

import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.models import EVERY_ARCHITECTURE, build, inputs

from expnet.attention.anchor import Anchor, anchor_weights
from expnet.attention.borrow import declared_pad
from expnet.attention.capture import capture
from expnet.attention.probe import Support, probe
from expnet.errors import UnsupportedModelError

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
LENGTHS = (150, 61, 7)  # more than one block of queries, and many windows
# Further apart than by rounding: the model's own implementations disagree.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Row:
    """The measurements of one architecture; differences are the largest of logits, rows and columns."""

    name: str
    support: Support | None
    sides: str = ""
    exact: tuple[float, ...] = ()
    half: tuple[float, ...] = ()
    note: str = ""

    def cells(self) -> list[str]:
        if self.support is None:
            return [self.name, "–", "refused", "–", "–", "–", "–", "–", self.note]
        gaps = [f"{gap:.0e}" for gap in self.exact]
        half = " / ".join(f"{gap:.0e}" for gap in self.half)
        return [self.name, self.support.anchor, self.support.backend, self.sides, *gaps, half, self.note]


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for name in EVERY_ARCHITECTURE:
        rows.append(measure(name))
        print(*rows[-1].cells(), sep="  ", flush=True)
    PAGE.write_text(page(rows), encoding="utf-8")


def measure(name: str) -> Row:
    """Probe a tiny model and compare what is captured with what transformers itself reports under eager attention."""
    model = build(name)
    try:
        support = probe(model, inputs((12, 7), end=model.config.is_encoder_decoder))
    except UnsupportedModelError as error:
        return Row(name, None, note=str(error))
    sides, gaps, notes = [], [], [support.reason] if support.reason else []
    for side in ("right", "left"):
        batch = inputs(LENGTHS, side=side, end=model.config.is_encoder_decoder)
        with torch.no_grad():
            apart = float((model(**batch).logits - eager(model)(**batch).logits).abs().max())
        if apart > ROUNDING:
            notes.append(f"{side} padding has no meaning: its own logits under sdpa and eager are {apart:.1f} apart")
            continue
        sides.append(side)
        gaps.append(differences(model, batch, support))
    half = differences(build(name).bfloat16(), inputs(LENGTHS, end=model.config.is_encoder_decoder), support)
    return Row(name, support, ", ".join(sides), tuple(map(max, zip(*gaps, strict=True))), half, "; ".join(notes))


def differences(model: PreTrainedModel, batch: dict[str, Tensor], support: Support) -> tuple[float, ...]:
    ours = capture(model, batch, anchor=support.anchor, backend=support.backend)
    pairs = zip((ours.logits, ours.rows, ours.columns), own(model, batch, support.anchor), strict=True)
    return tuple(float((a - b).abs().max()) for a, b in pairs)


def own(model: PreTrainedModel, batch: dict[str, Tensor], anchor: Anchor) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits and the anchor's rows and columns from the matrices that transformers itself reports."""
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        outputs = eager(model)(**batch, output_attentions=True)
    pooled = anchor_weights(batch["input_ids"], mask, anchor, declared_pad(model))
    reported = outputs.cross_attentions if model.config.is_encoder_decoder else outputs.attentions
    maps = torch.stack(reported, dim=1).float()
    if not torch.allclose(maps.sum(-1), torch.ones(()), atol=0.1):
        maps = maps.softmax(-1)  # SqueezeBERT reports its scores
    maps = maps.masked_fill(~mask[:, None, None, :, None], 0)
    rows, columns = torch.einsum("bi,blhij->blhj", pooled, maps), torch.einsum("blhij,bj->blhi", maps, pooled)
    return outputs.logits, rows, columns


def eager(model: PreTrainedModel) -> PreTrainedModel:
    """Return a second model with the same weights that expnet never touched, under eager attention."""
    twin: PreTrainedModel = (
        type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager").to(model.dtype).eval()
    )
    twin.load_state_dict(model.state_dict())
    return twin


def page(rows: Iterable[Row]) -> str:
    texts = ", ".join(map(str, LENGTHS))
    head = ["architecture", "anchor", "backend", "padding", "logits", "rows", "columns", "bf16", "note"]
    lines = [
        "# Architectures",
        "",
        "Which architectures are supported, and how exactly their attention is captured. The table is written by "
        "`python scripts/measure_architectures.py`; `tests/attention/test_architectures.py` repeats the measurement.",
        "",
        f"Tiny random classifiers, 3 layers × 4 heads, texts of {texts} tokens in one batch, on the CPU; torch "
        f"{torch.__version__}, transformers {transformers.__version__}. *Anchor*: what the classifier pools, detected "
        "from gradients. *Backend*: how its attention is captured; the fused one never builds a tokens × tokens "
        "matrix. *Logits, rows, columns*: the largest absolute difference in float32 from a second model with "
        "transformers' own eager attention, over all entries, padded on either side. *bf16*: the same three "
        "differences with both models in bfloat16, which knows attention to about 0.004; the random weights have a "
        "large variance, which makes attention peaked.",
        "",
        "An encoder-decoder (BART, T5) pools a position of its decoder. Its layers are those of the decoder, its "
        "attention is the cross-attention from the decoder's positions to the encoder's tokens, and the position of a "
        "token counts as the token (see [Architecture](architecture.md)). mBART is supported likewise; but its own "
        "tokenizer puts the token of a language behind the end token, which is then not the last token, so that its "
        "attention is refused there. Funnel merges neighbouring tokens and needs 5 tokens or more (with three blocks, "
        "special tokens included); shorter texts are refused. Where attention is refused, gradient and perturbation "
        "methods work nevertheless.",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    return "\n".join([*lines, *(f"| {' | '.join(row.cells())} |" for row in rows)]) + "\n"


if __name__ == "__main__":
    main()
