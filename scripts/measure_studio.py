"""How long Fit takes in `expnet studio`, from the press to the new explainer and to its figures; and how many clicks.

    python scripts/measure_studio.py DATA --threads 2
    python scripts/measure_studio.py DATA --clicks

DATA is a folder of sets in the shared format. For each set and number of texts a desk is laid out with marks that
people made, and Fit pressed through the page's own address, as a browser would. The processor's time tells more than
the clock where other processes run. With `--clicks` a person's mouse is counted instead, in Chromium: from the first
page, with the words that people marked in the set, to an explainer fitted to sixteen texts. Writes docs/studio.json, in
which either leaves what the other measured; scripts/tables.py makes the tables of it.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from starlette.testclient import TestClient
from tests.chromium import Chromium
from tests.live import running

from expnet.explainer import load
from expnet.rationales import read_records
from expnet.studio import Desk, Marks, create_app
from expnet.studio.comparing import usable
from expnet.studio.fitting import RECOMMENDED
from expnet.timing.clock import Stopwatch, Took
from expnet.web.limits import Limits

SETS = {"fair_sst/test.jsonl.gz": "demo/sentiment", "hatexplain/test.jsonl.gz": "demo/hate-speech"}
UNMARKED = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--marked", type=int, nargs="+", default=[4, 16, 32])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "studio.json")
    parser.add_argument("--clicks", action="store_true", help="count clicks instead of seconds")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    before = json.loads(args.output.read_text()) if args.output.exists() else {}
    if args.clicks:
        before["clicks"] = {
            name.split(".")[0]: clicks(load(model), usable(read_records(args.data / name))[: RECOMMENDED + 2])
            for name, model in SETS.items()
        }
        args.output.write_text(json.dumps(before, indent=1) + "\n", encoding="utf-8")
        return
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
    report = before | {
        "threads": args.threads,
        "processors": os.cpu_count(),
        "load average": load_average,
        "rows": rows,
    }
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def clicks(explainer: Any, texts: list[Any]) -> dict[str, int]:
    """Mark words as people did, with a mouse, until an explainer is fitted; return the clicks by their purpose."""
    bare = [replace(record, rationale=None, annotations=()) for record in texts]
    took = Counter[str]()
    browser = Chromium()

    def click(what: str, *selectors: str) -> None:
        browser.drag(*selectors)
        took[what] += 1

    with tempfile.TemporaryDirectory() as folder:
        marks = Marks(Path(folder) / "marks.jsonl")
        desk = Desk(explainer, bare, marks, annotator="people", output=Path(folder) / "explainer")
        with running(create_app(desk), Limits()) as server:
            browser.show(1280, 900)
            browser.open(server.url)
            for number, record in enumerate(texts[:RECOMMENDED], start=1):
                browser.until(f"location.pathname === '/texts/{number}' && !document.querySelector('#save').disabled")
                if record.label != browser.value("document.querySelector('#label').selectedOptions[0].textContent"):
                    place = explainer.classifier.labels.index(record.label)
                    browser.value(f"document.querySelector('#label').value = '{place}'")
                    took["another class"] += 2  # to open the list, and to choose
                for run in strokes(record):
                    click("words", *(f".word[data-word='{word}']" for word in dict.fromkeys((run[0], run[-1]))))
                click("save", "#save")
            browser.until("document.querySelector('#fit-now')")
            click("fit", "#fit-now")
            browser.until("document.querySelector('#ready')")
    browser.close()
    return {"texts": RECOMMENDED, "all": took.total(), **took}


def strokes(record: Any) -> list[list[int]]:
    """Return the marked words of a text, those that stand together as one stroke of the mouse."""
    runs: list[list[int]] = []
    for place, marked in enumerate(record.word_marks(record.rationale)):
        if marked and runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        elif marked:
            runs.append([place])
    return runs


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
