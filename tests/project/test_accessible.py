"""No page and no document has what axe-core calls a violation, on light and dark grounds."""

import pytest

from expnet.audit.pages import decision_page, file_page
from expnet.explanation import html
from expnet.serve import Limits
from expnet.studio import create_app
from expnet.text.texts import Text
from tests import axe, chromium
from tests.audits import decision_of, file_of
from tests.benchmark.test_report import EXAMPLE, everything, read_examples, report, write
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.live import live, running
from tests.studio.test_studio import mark
from tests.studios import desk

pytestmark = [
    pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(not axe.PROGRAM.is_file(), reason="axe-core is not installed: npm install --no-save axe-core"),
]
TEXT = "the good film, another bad one"


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def page(request, browser):
    browser.show(1200, 900, dark=request.param)
    return browser


def explained(explainer, name, text):
    methods = ("expnet", "saliency", "leave_one_out")
    match name:
        case "one":
            return html.fragment(explainer.explain(text))
        case "signed":
            return html.fragment(explainer.explain(Text.of(text, "a pair"), method="leave_one_out"))
        case "several":
            return html.side_by_side([explainer.explain(text, method=method, target=0) for method in methods])
        case _:
            return html.ranked(explainer.explain(text, method="saliency", target="all"))


@pytest.mark.parametrize("name", ["one", "signed", "several", "ranked"])
def test_saved_explanations(page, explainer, tmp_path, name):
    check(page, tmp_path, html.document([explained(explainer, name, text) for text in (TEXT, "one bad film")]))


@pytest.mark.parametrize("kind", ["decision", "file"])
def test_records(page, tmp_path, kind):
    check(page, tmp_path, decision_page(decision_of("name")) if kind == "decision" else file_page(file_of("name")))


def test_the_report(page, tmp_path):
    check(page, tmp_path, report(everything(), read_examples(write(tmp_path / "e.jsonl", EXAMPLE))))


def check(page, folder, content):
    (folder / "page.html").write_text(content, encoding="utf-8")
    page.open((folder / "page.html").as_uri())
    page.value("for (const each of document.querySelectorAll('details')) each.open = true")
    assert axe.violations(page) == []


def test_the_page_of_the_server(page, explainer):
    other = tiny_explainer(tiny_classifier(seed=1))
    with live({"tiny": explainer, "other": other}, Limits(seconds=20)) as server:
        page.open(server.url)
        page.value("for (const each of document.querySelectorAll('details')) each.open = true")
        assert axe.violations(page) == []
        for methods in ("", "saliency", "leave_one_out"):
            page.value(f"document.querySelector('#text').value = '{TEXT}'")
            page.value("document.querySelector('#result').replaceChildren()")
            if methods:
                page.click(f"input[value={methods}]")
            page.value("document.querySelector('#ask').requestSubmit()")
            page.until("document.querySelector('#result section.expnet')")
            page.click("#heads summary")
            page.click("#heads .word")
            page.until("document.querySelector('#grids table')")
            assert axe.violations(page) == []
        page.value("document.querySelector('#text').value = 'long '.repeat(9000)")
        page.value("document.querySelector('#ask').requestSubmit()")
        page.until("document.querySelector('#result [role=alert]')")
        assert axe.violations(page) == []


def test_the_page_of_requests_and_answers(page, explainer):
    with live({"tiny": explainer}, Limits()) as server:
        page.open(f"{server.url}docs")
        page.value("for (const each of document.querySelectorAll('details')) each.open = true")
        assert axe.violations(page) == []


def test_the_pages_of_the_studio(page, explainer, tmp_path):
    session = desk(tmp_path, explainer=explainer)
    with running(create_app(session), Limits()) as server:
        pages = ["", "texts", "texts/1", "fit", "texts/99"]
        for path in pages:
            page.open(server.url + path)
            assert axe.violations(page) == [], path
        mark(session)
        session.fit(read=False)
        session.fitting.join(60)
        for path in ("texts/1?saved=1", "texts", "fit"):
            page.open(server.url + path)
            assert axe.violations(page) == [], path
