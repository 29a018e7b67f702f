"""Largest difference between the fused capture and eager attention, on tiny random models of each architecture.

python scripts/measure_capture.py
"""

import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.models import ARCHITECTURES, build, inputs

from expnet.attention.capture import capture
from expnet.attention.probe import probe


def main() -> None:
    print(f"float32, 3 layers × 4 heads, 3 texts of 61, 40 and 7 tokens, seed 0; torch {torch.__version__}, ", end="")
    print(f"transformers {transformers.__version__}\n")
    print("| architecture | anchor | backend | padding | logits | rows | columns |")
    print("|---|---|---|---|---|---|---|")
    worst = 0.0
    for name in ARCHITECTURES:
        model = build(name)
        support = probe(model, inputs((12, 7)))
        for side in ("right", "left"):
            batch = inputs((61, 40, 7), side=side)
            eager = capture(model, batch, anchor=support.anchor, backend="eager")
            ours = capture(model, batch, anchor=support.anchor, backend=support.backend)
            gaps = [
                float((a - b).abs().max())
                for a, b in (
                    (ours.logits, eager.logits),
                    (ours.rows, eager.rows),
                    (ours.columns, eager.columns),
                )
            ]
            worst = max(worst, *gaps)
            cells = " | ".join(f"{gap:.1e}" for gap in gaps) if support.backend == "fused" else "– | – | –"
            print(f"| {name} | {support.anchor} | {support.backend} | {side} | {cells} |")
    print(f"\nlargest: {worst:.1e}")


if __name__ == "__main__":
    main()
