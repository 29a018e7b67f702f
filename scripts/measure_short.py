"""What explaining one short text takes of the processor, in predictions; prints a row of a table for each length.

    python scripts/measure_short.py

Time of the processor, not of the clock, so that what else runs on the machine counts less. With `PYTHONPATH` at another
revision's `src` it measures that one.
"""

import argparse
import sys

import torch

import expnet
from expnet.timing import lengths
from expnet.timing.clock import interleave, quartiles

METHODS = ("expnet", "raw_attention", "grad_sam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    own, universal = expnet.load(device="cpu"), expnet.load(explainer="universal/attention", device="cpu")
    sys.stdout.write(
        "| tokens | prediction, ms | own ExpNet | `universal/attention` | `raw_attention` | `grad_sam` |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for tokens in args.tokens:
        texts = lengths.texts_of_length(own, tokens, 1)
        runs = lengths.contenders(own, texts, {name: {} for name in METHODS})
        del runs["pipeline"]
        runs["universal"] = lengths.contenders(universal, texts, {"expnet": {}})["expnet"]
        times = interleave(runs, reference=lengths.BARE, rounds=args.rounds)
        cells = []
        for name in ("expnet", "universal", "raw_attention", "grad_sam"):
            low, middle, high = quartiles(times[name].ratios("processor"))
            cells.append(f"{middle:.2f} ({low:.2f} – {high:.2f})")
        bare = 1000 * times[lengths.BARE].median("processor")
        sys.stdout.write(f"| {tokens} | {bare:.1f} | {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
