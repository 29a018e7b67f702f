"""What means something on a page stands out from what is behind it; docs/contrast.json says by how much."""

import json
from pathlib import Path

import pytest

from expnet.audit.pages import decision_page, file_page
from expnet.explanation import html
from expnet.serve import Limits
from expnet.studio import create_app
from tests import chromium
from tests.audits import decision_of, file_of
from tests.contrast import LEAST, measured, open_all, short_of
from tests.explanation.test_render import explain
from tests.live import live, running
from tests.studio.test_studio import mark
from tests.studios import desk

MEASURED = Path(__file__).parents[2] / "docs" / "contrast.json"


def test_everything_that_was_measured_reaches_what_is_asked_for():
    report = json.loads(MEASURED.read_text())
    assert report["least"] == LEAST
    assert {page: short for page, row in report["rows"].items() if (short := short_of(row))} == {}
    pages = ("explanation", "audit record", "audited file", "report", "page", "studio")
    assert set(report["rows"]) == {f"{page}, {ground}" for page in pages for ground in ("light", "dark")}
    for kind in LEAST:
        assert any(kind in row for row in report["rows"].values()), kind


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def page(request, browser):
    browser.show(1200, 900, dark=request.param)
    return browser


def opened(page, folder, content):
    (folder / "page.html").write_text(content, encoding="utf-8")
    page.open((folder / "page.html").as_uri())
    open_all(page)
    return measured(page)


@pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
class TestInChromium:
    @pytest.mark.parametrize("kind", ["marked", "signed", "several", "decision", "file"])
    def test_documents(self, page, tmp_path, kind):
        words, scores = " ".join("abcdefghij"), [place / 10 for place in range(1, 11)]
        plain, signed = explain(words, scores, threshold=0.5), explain(words, [0.5 - s for s in scores], signed=True)
        content = {
            "marked": lambda: html.document([html.fragment(plain)]),
            "signed": lambda: html.document([html.fragment(signed)]),
            "several": lambda: html.document([html.side_by_side([plain, signed])]),
            "decision": lambda: decision_page(decision_of("name")),
            "file": lambda: file_page(file_of("name")),
        }[kind]()
        figures = opened(page, tmp_path, content)
        assert short_of(figures) == {}
        assert figures.keys() >= ({"letters", "bar"} if kind == "file" else {"letters", "letters on shades", "line"})

    def test_a_pale_colour_is_noticed(self, page, tmp_path):
        pale = '<span title="1" style="background:#8080801a;border-bottom:2px solid #80808040;color:#888">word</span>'
        assert short_of(opened(page, tmp_path, html.document([pale]))).keys() >= {"letters", "line"}

    def test_marks_and_fields(self, page, tmp_path):
        session = desk(tmp_path)
        mark(session)
        with running(create_app(session), Limits()) as server:
            page.open(f"{server.url}texts/1")
            figures = measured(page)
        assert short_of(figures) == {}
        assert {"mark", "edge"} <= figures.keys()

    def test_the_page(self, page, tmp_path):
        explainer = desk(tmp_path).explainer
        with live({"tiny": explainer, "other": explainer}, Limits()) as server:
            page.open(server.url)
            open_all(page)
            figures = measured(page)
        assert short_of(figures) == {}
        assert "edge" in figures

    def test_shades_and_lines_stay_where_a_system_forces_its_own_colours(self, page, tmp_path):
        opened(page, tmp_path, html.document([html.fragment(explain("a good film", [0.1, 0.9, 0.5]))]))
        lined = "[...document.querySelectorAll('.expnet-text span[style*=border-bottom]')]"
        looks = lined + ".map(each => getComputedStyle(each).{})"
        before = [page.value(looks.format(name)) for name in ("backgroundColor", "borderBottomColor")]
        page.send("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
        assert [page.value(looks.format(name)) for name in ("backgroundColor", "borderBottomColor")] == before
