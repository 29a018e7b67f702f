"""How long it takes from a model's folder to a checked explanation, and from a clone to the first explanation.

    python scripts/measure_start.py ../shared/data
    python scripts/tables.py

Every step is the command that a user types, in a process of its own, with nothing in memory before. The classifier of
demo/sentiment stands for a user's: it is saved as a folder like any other, and explained as one. DATA is a folder of
sets. Installing the packages is not measured: it takes as long as they take to download. Where other processes run,
the processor's time tells more than the clock. Writes docs/start.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expnet.demo import demo_classifier
from expnet.rationales import read_records

ROOT = Path(__file__).parents[1]
SET, TEXTS = "fair_sst/test.jsonl.gz", 50
TEXT = "A gripping, beautifully shot film with a wooden lead."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [*own_model(Path(folder), args.data), *clone(Path(folder))]
    report = {"processors": os.cpu_count(), "load average": round(os.getloadavg()[0], 1), "texts": TEXTS, "rows": rows}
    (ROOT / "docs" / "start.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def own_model(folder: Path, data: Path) -> list[dict[str, Any]]:
    """Time the commands on a model's folder: explain with the universal explainer, and check that explainer."""
    save(folder / "my-classifier")
    lines = [record.text.text.replace("\n", " ") for record in read_records(data / SET)[:TEXTS]]
    (folder / "texts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    steps = (
        f"explain --model my-classifier '{TEXT}'",
        "trust my-classifier texts.txt",
    )
    return [timed(f"expnet {step}", folder) for step in steps]


def clone(folder: Path) -> list[dict[str, Any]]:
    """Time a clone of this repository, and the README's first command in it."""
    took = timed(f"git clone --quiet --depth 1 file://{ROOT} clone", folder, shown="git clone")
    source = {"PYTHONPATH": str(folder / "clone" / "src")}
    return [took, timed(f"expnet explain '{TEXT}'", folder / "clone", source)]


def save(folder: Path) -> None:
    """Write the demo's classifier as any user would have theirs."""
    classifier = demo_classifier("demo/sentiment")
    classifier.model.save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)


def timed(command: str, folder: Path, more: Mapping[str, str] | None = None, *, shown: str = "") -> dict[str, Any]:
    """Run a command, and return its seconds by the clock and of the processor."""
    line = command.replace("expnet", str(Path(sys.executable).with_name("expnet")), 1)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = {"PYTHONPATH": str(ROOT / "src"), **os.environ, **(more or {})}
    subprocess.run(line, shell=True, check=True, cwd=folder, env=environment, stdout=sys.stderr)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begun
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"command": shown or command, "seconds": round(seconds, 1), "processor": round(processor, 1)}


if __name__ == "__main__":
    main()
