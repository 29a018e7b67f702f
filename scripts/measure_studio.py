"""How long Fit takes in `expnet studio`, from the press to the new explainer and to its figures.

    python scripts/measure_studio.py DATA --threads 2

DATA is a folder of sets in the shared format. For each set and number of texts a desk is laid out with marks that
people made, and Fit pressed through the page's own address, as a browser would. The processor's time tells more than
the clock where other processes run. Writes docs/studio.json; scripts/tables.py makes the table of it.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from starlette.testclient import TestClient

from expnet.explainer import load
from expnet.rationales import read_records
from expnet.studio import Desk, Marks, create_app
from expnet.studio.comparing import usable
from expnet.timing.clock import Stopwatch, Took

SETS = {"fair_sst/test.jsonl.gz": "demo/sentiment", "hatexplain/test.jsonl.gz": "demo/hate-speech"}
UNMARKED = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--marked", type=int, nargs="+", default=[4, 16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "studio.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for name, model in SETS.items():
        # The demo's own explainer was trained on this task; a user's model would have none.
        explainer = load(model, explainer="universal")
        texts = usable(read_records(args.data / name))[: max(args.marked) + UNMARKED]
        for count in args.marked:
            runs = [fit(explainer, texts[: count + UNMARKED], count) for _ in range(args.repeats)]
            rows.append({"set": name.split(".")[0], "model": model, "marked": count, "runs": runs})
            print(rows[-1], flush=True)
    load_average = round(os.getloadavg()[0], 1)
    report = {"threads": args.threads, "processors": os.cpu_count(), "load average": load_average, "rows": rows}
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def fit(explainer: Any, texts: list[Any], count: int) -> dict[str, Any]:
    """Press Fit with the first `count` texts marked, and wait for the explainer and for the figures."""
    bare = [replace(record, rationale=None, annotations=()) for record in texts]
    with tempfile.TemporaryDirectory() as folder:
        marks = Marks(Path(folder) / "marks.jsonl")
        for record in texts[:count]:
            marks.save(record, "people", record.rationale, record.label)
        desk = Desk(explainer, bare, marks, annotator="people", output=Path(folder) / "explainer")
        with TestClient(create_app(desk)) as client:
            watch = Stopwatch()
            client.post("/fit")
            ready: Took | None = None
            while (stage := client.get("/fit/state").json()["stage"]) in ("learning", "checking"):
                if stage == "checking" and ready is None:
                    ready = watch.read()
                time.sleep(0.05)
            checked = watch.read()
            if stage != "done" or desk.fitting is None or desk.fitting.agreement is None:
                raise SystemExit(f"Fit ended as {stage}: {desk.fitting and desk.fitting.error}")
        figures = {
            figure.name: (round(figure.before, 4), round(figure.after, 4)) for figure in desk.fitting.agreement.figures
        }
    ready = ready or checked  # where the figures were there before anybody asked again
    seconds = {"ready": ready.seconds, "ready, processor": ready.processor, "figures": checked.seconds}
    seconds = {name: round(value, 2) for name, value in seconds.items()}
    return {"seconds": seconds, "before and after": figures}


if __name__ == "__main__":
    main()
