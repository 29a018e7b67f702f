"""Whatever stands in texts, labels and names: no page runs it, and no element appears that the template did not make.

The pages are opened without their content security policy, so that escaping alone must do.
"""

import re

import numpy as np
import pytest

from expnet.audit.pages import decision_page, file_page
from expnet.explanation import html
from expnet.explanation.head_effects import HeadEffects
from tests import chromium
from tests.audits import decision_of, file_of
from tests.explanation.test_render import everywhere
from tests.payloads import PAYLOADS, RUNS

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")

SKELETON = """
[...document.querySelectorAll('*')].map(e => e.tagName + ' ' + [...e.attributes].map(a => a.name).sort()).join('\\n')
"""
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def explanation_page(payload: str) -> str:
    shown = everywhere(payload)
    words = len(shown.words)
    heads = HeadEffects(shown, np.full((words, 2, 3), 0.5), np.ones((words, 2)), np.ones(words))
    parts = [shown.to_html(), html.side_by_side([shown, shown]), html.headless([shown]), heads.to_html(0)]
    return html.document(parts, title=payload)


def report_page(payload: str, folder) -> str:
    pytest.importorskip("matplotlib")
    from expnet.benchmark.present import tables
    from expnet.benchmark.present.report.page import page
    from tests.benchmark.test_report import named

    rows, examples = named(payload, folder)
    return page(rows, tables.all_tables(rows), {}, examples)


@pytest.fixture(scope="module", autouse=True)
def seen(browser):
    """A page that is looked at: some payloads wait for that."""
    browser.show(800, 600)
    browser.send("Emulation.setFocusEmulationEnabled", enabled=True)


def open_page(browser, source: str, path) -> None:
    path.write_text(source, encoding="utf-8")
    browser.open(path.as_uri())


@pytest.mark.parametrize("payload", RUNS)
def test_each_payload_does_run_where_it_is_pasted_raw(browser, payload, tmp_path):
    open_page(browser, f"<!DOCTYPE html><title>x</title><body><p>{payload}", tmp_path / "raw.html")
    browser.until("window.ran", seconds=10)


@pytest.mark.parametrize("name", ["explanation", "decision", "file", "report"])
def test_no_payload_runs_or_makes_an_element_on_any_page(browser, name, tmp_path):
    make = {
        "explanation": explanation_page,
        "decision": lambda payload: decision_page(decision_of(payload)),
        "file": lambda payload: file_page(file_of(payload)),
        "report": lambda payload: report_page(payload, tmp_path),
    }[name]

    def opened(payload: str) -> str:
        source, policies = POLICY.subn("", make(payload))
        assert policies == 1
        open_page(browser, source, tmp_path / "page.html")
        return browser.value(SKELETON)

    expected = opened("harmless")
    for payload in RUNS[11:] if name == "report" else PAYLOADS:  # the report is slow, and test_report reads the rest
        assert opened(payload) == expected, payload
        browser.value("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # what is late may run
        assert browser.value("window.ran === undefined"), payload
        assert browser.complaints() == [], payload
    dialogs = [event for event in browser.events if event.get("method") == "Page.javascriptDialogOpening"]
    assert dialogs == []
