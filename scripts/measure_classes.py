"""Whether the backward passes of several classes are quicker together than one by one; prints a line a case.

    python scripts/measure_classes.py

Together they are one batched vector-Jacobian product (`is_grads_batched`), which gives the same gradients. The head is
made wide enough for all classes; its weights are random, and change no time.
"""

import argparse
import statistics
import sys

import torch
from torch import Tensor

import expnet
from expnet.attention.intercept import run
from expnet.timing import lengths
from expnet.timing.clock import interleave

SETTINGS = ((1, 32), (1, 128), (4, 64))
CLASSES = (2, 6, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    explainer = expnet.load(device="cpu")
    model = explainer.classifier.model
    model.set_submodule("classifier", torch.nn.Linear(model.config.hidden_size, max(CLASSES)))
    for batch, tokens in SETTINGS:
        encoding = explainer.classifier.encode(lengths.texts_of_length(explainer, tokens, batch))
        leaves: list[Tensor] = []

        def embed(raw: Tensor, leaves: list[Tensor] = leaves) -> Tensor:
            leaves.append(raw.detach().requires_grad_())
            return leaves[-1]

        done = run(model, encoding.inputs(), embed=embed, attend=lambda _, layer: layer)
        points = [*(layer.probabilities for layer in done.layers), *leaves]
        for classes in CLASSES:
            ratios, apart = compare(done.logits, points, classes, args.rounds)
            sys.stdout.write(
                f"{batch} x {tokens} tokens, {classes} classes: together {statistics.median(ratios):.2f} of the time "
                f"one by one; gradients differ by {apart:.1g} of the largest\n"
            )


def compare(logits: Tensor, points: list[Tensor], classes: int, rounds: int) -> tuple[list[float], float]:
    """Return how long the classes take together, in multiples of one by one, and how far the gradients are apart."""
    weights = torch.eye(logits.shape[1])[:classes, None].expand(-1, len(logits), -1)

    def one_by_one() -> list[tuple[Tensor, ...]]:
        return [torch.autograd.grad(logits, points, weight, retain_graph=True) for weight in weights]

    def together() -> tuple[Tensor, ...]:
        return torch.autograd.grad(logits, points, weights, retain_graph=True, is_grads_batched=True)

    times = interleave({"one by one": one_by_one, "together": together}, reference="one by one", rounds=rounds)
    pairs = zip(together(), zip(*one_by_one(), strict=True), strict=True)
    apart = max(float((ours - torch.stack(theirs)).abs().max() / ours.abs().max()) for ours, theirs in pairs)
    return times["together"].ratios("processor"), apart


if __name__ == "__main__":
    main()
