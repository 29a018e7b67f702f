"""Contrast of letters, lines, bars, marks and edges on every page and document, as Chromium shows them.

    python scripts/measure_contrast.py ../shared/data
    python scripts/tables.py

Opens the server's page with explanations of every kind, the studio before and after a training, saved explanations, an
audit record, the page of an audited file and the benchmark's report, each on a light and on a dark ground, and writes
the least contrast of each kind of thing, with where it is, into docs/contrast.json. DATA is a folder of sets.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.audits import decision_of, file_of
from tests.benchmark.test_report import EXAMPLE, everything, report
from tests.chromium import Chromium
from tests.contrast import LEAST, measured, open_all, short_of
from tests.live import running

import expnet
from expnet.audit.pages import decision_page, file_page
from expnet.benchmark.present.report.examples import read_examples
from expnet.explanation import html
from expnet.rationales import read_records
from expnet.serve import Limits
from expnet.serve import create_app as serve
from expnet.studio import Desk, Marks
from expnet.studio import create_app as studio

ROOT = Path(__file__).parents[1]
TEXT = "A gripping, beautifully shot film with a wooden lead."
SET, MODEL = "fair_sst/test.jsonl.gz", "demo/sentiment"
MARKED, TEXTS = 6, 12
Figures = dict[str, tuple[float, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    args = parser.parse_args()
    browser, short = Chromium(), False
    rows: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, figures in everywhere(browser, args.data, Path(folder)):
            rows.setdefault(name, []).append(figures)
            print(name, figures, flush=True)
    merged = {name: least(figures) for name, figures in rows.items()}
    for name, figures in merged.items():
        for kind, (value, where) in short_of(figures).items():
            short = True
            print(f"{name}: {kind} has {value}, expected {LEAST[kind]} or more: {where!r}", file=sys.stderr)
    report = {"least": LEAST, "rows": merged}
    (ROOT / "docs" / "contrast.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.exit(short)


def least(measurements: list[Figures]) -> Figures:
    """Return the least of several measurements of each kind of thing."""
    kinds = [kind for figures in measurements for kind in figures]
    return {kind: min(figures[kind] for figures in measurements if kind in figures) for kind in dict.fromkeys(kinds)}


def everywhere(browser: Chromium, data: Path, folder: Path) -> Iterator[tuple[str, Figures]]:
    """Yield the name of each page and what is measured on it; a page is met once for each of its states and grounds."""
    explainer = expnet.load(MODEL)
    for dark in (False, True):
        browser.show(1280, 900, dark=dark)
        ground = "dark" if dark else "light"
        for name, content in documents(explainer, folder):
            (folder / "page.html").write_text(content, encoding="utf-8")
            browser.open((folder / "page.html").as_uri())
            yield f"{name}, {ground}", now(browser)
        for figures in on_the_page(browser, explainer):
            yield f"page, {ground}", figures
        for figures in in_the_studio(browser, data, folder / ground):
            yield f"studio, {ground}", figures


def now(browser: Chromium) -> Figures:
    open_all(browser)
    return measured(browser)


def documents(explainer: expnet.Explainer, folder: Path) -> Iterator[tuple[str, str]]:
    methods = ("expnet", "saliency", "integrated_gradients")
    alone = [explainer.explain(TEXT, method=method) for method in methods]
    ranked = explainer.explain(TEXT, method="integrated_gradients", target="all")
    cards = [*map(html.fragment, alone), html.side_by_side(alone), html.ranked(ranked)]
    yield "explanation", html.document(cards)
    yield "audit record", decision_page(decision_of("name"))
    yield "audited file", file_page(file_of("name"))
    (folder / "examples.jsonl").write_text(json.dumps(EXAMPLE), encoding="utf-8")
    yield "report", report(everything(), read_examples(folder / "examples.jsonl"))


def on_the_page(browser: Chromium, explainer: expnet.Explainer) -> Iterator[Figures]:
    """Yield what is measured on the empty page, with one explanation, with several side by side, and with a change."""
    other = expnet.load(MODEL, explainer="universal")
    with running(serve({"sentiment": explainer, "universal": other}, limits=Limits()), Limits()) as server:
        browser.open(server.url)
        yield now(browser)
        browser.value(f"document.querySelector('#text').value = {json.dumps(TEXT)}")
        for change in ("", "input[value=integrated_gradients]", "#beside"):
            if change == "#beside":
                browser.value("document.querySelector('#beside').value = 'universal'")
            elif change:
                browser.click(change)
            ask(browser, "document.querySelector('#ask').requestSubmit()")
            yield now(browser)
        ask(browser, "document.querySelectorAll('#edit .word')[3].click()")
        yield now(browser)


def ask(browser: Chromium, how: str) -> None:
    browser.value("document.querySelector('#result').replaceChildren()" if "requestSubmit" in how else "0")
    browser.value(f"document.querySelector('#result section')?.setAttribute('data-old', ''); {how}")
    browser.until("document.querySelector('#result section.expnet:not([data-old])')")


def in_the_studio(browser: Chromium, data: Path, folder: Path) -> Iterator[Figures]:
    """Yield what is measured where words are marked, in the list, and before and after a training."""
    folder.mkdir()
    texts = read_records(data / SET)[:TEXTS]
    marks = Marks(folder / "marks.jsonl")
    for record in texts[:MARKED]:
        marks.save(record, "people", record.rationale or (), record.label)
    bare = [replace(record, rationale=None, annotations=()) for record in texts]
    desk = Desk(expnet.load(MODEL), bare, marks, annotator="people", output=folder / "explainer")
    with running(studio(desk), Limits()) as server:
        for path in ("texts/1", "texts", "fit"):
            browser.open(server.url + path)
            yield now(browser)
        desk.fit(read=False)
        assert desk.fitting is not None
        desk.fitting.join(300)
        browser.open(server.url + "fit")
        yield now(browser)


if __name__ == "__main__":
    main()
