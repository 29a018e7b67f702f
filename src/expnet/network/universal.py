"""The ExpNets that come with the package and fit any classifier: trained on several families of tasks at once."""

import json
from pathlib import Path
from typing import Any

from expnet.errors import InputError
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.trust import CHECK, trust_in

FOLDER = Path(__file__).parent / "weights"
UNIVERSAL: dict[str, Tier] = {
    "universal": "gradient",
    "universal/gradient": "gradient",
    "universal/difference": "difference",
    "universal/attention": "attention",
}


def universal(tier: Tier = "gradient") -> ExpNet:
    """Load the ExpNet for classifiers and tasks that nobody has marked texts for.

    Args:
        tier: "gradient" agrees better with people and takes one forward and one backward pass; "attention" takes the
            forward pass of the prediction alone; "difference" is a little more faithful, and takes twice as long as
            "gradient".
    """
    return ExpNet.from_pretrained(FOLDER / tier)


def teacher_of(tier: Tier) -> ExpNet:
    """Load the ExpNet that teaches those of a tier: it sees more than those on attention alone."""
    return universal("gradient" if tier == "attention" else tier)


def named(name: str | Path) -> ExpNet:
    """Load an ExpNet by the name of a universal one, by its folder or by its hub id.

    Raises:
        InputError: If there is no such universal ExpNet.
        ModelError: If it cannot be loaded.
    """
    if not str(name).startswith("universal"):
        return ExpNet.from_pretrained(name)
    if str(name) not in UNIVERSAL:
        raise InputError(f"There is no ExpNet {str(name)!r}; there are: {', '.join(UNIVERSAL)}.")
    return universal(UNIVERSAL[str(name)])


def trust_of(network: ExpNet) -> str:
    """Say how far a network can be trusted: what is known of a universal one, else what it carries along."""
    tier = network.config.features.tier
    config = json.loads((FOLDER / tier / "config.json").read_text(encoding="utf-8"))
    provenance = {name: value for name, value in network.config.provenance.items() if name != CHECK}
    return trust(tier) if provenance == config["provenance"] else trust_in(provenance)


def trust(tier: Tier) -> str:
    """Say what a universal ExpNet has learned from, and how well those of its kind did on tasks left out for a test."""
    report: dict[str, Any] = json.loads((FOLDER / "report.json").read_text(encoding="utf-8"))[tier]
    sets = [report["sets"][name] for name in sorted(report["sets"])]
    means = {name: sum(figures[name] for figures in sets) / len(sets) for name in ("ours", "best", "random")}
    ahead = sum(figures["ours"] >= figures["best"] for figures in sets)
    families = "; ".join(f"{family} ({', '.join(names)})" for family, names in report["learned"].items())
    return (
        f"It has learned what words people mark in {len(report['learned'])} families of tasks: {families}; all texts "
        f"English, all classifiers fine-tuned from {report['base']}. If your task is among them, it has seen its like. "
        f"On {len(sets)} sets, each time by a network that had learned without that set's family, average precision "
        f"was {means['ours']:.2f} (from {min(e['ours'] for e in sets):.2f} to {max(e['ours'] for e in sets):.2f}); the "
        f"best fixed method of each set reached {means['best']:.2f}, random scores {means['random']:.2f}; it was ahead "
        f"of that best method on {ahead} of them. Mark 16 texts and run `expnet fit` for an explainer of your own task."
    )
