"""What the scripts behind docs/research.md share: the ring's plan, its data, and the results of its run."""

import argparse
from pathlib import Path

import torch

from expnet.benchmark.plan import read_plan
from expnet.benchmark.prepare.data import Data
from expnet.benchmark.prepare.making import Workshop

ROOT = Path(__file__).parents[1]


def opened(parser: argparse.ArgumentParser) -> tuple[Workshop, argparse.Namespace]:
    """Read the command line, set the threads, and open the workshop of the ring."""
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, help="the output folder of the benchmark")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = read_plan(ROOT / "benchmarks" / "ring.toml")
    return Workshop(plan, Data(args.data, plan), args.runs), args
