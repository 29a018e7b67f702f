"""The site is built from the pages without a warning, opens offline, and nothing in it is wider than a phone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import expnet
from tests.chromium import PROGRAM, Chromium

for package in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(package, reason="the site needs the extra docs")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site):
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}


def test_lists_of_definitions_define_something_and_columns_that_have_a_header_name_it(site):
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.search(r"<dl[^>]*>\s*<dd", page), path.name
        assert not re.search(r"<th[^>]*>\s*(<p>\s*</p>)?\s*</th>", page), path.name
    assert 'class="sig-line"' in (site / "reference" / "explain.html").read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere(site):
    loads = re.compile(r"""(?:\bsrc=|<link\b[^>]*\bhref=|url\(|@import\s)["']?(?:https?:)?//[^"')\s]*""")
    loaded = {
        f"{path.name}: {match}"
        for path in [*site.rglob("*.html"), *site.rglob("*.css")]
        for match in loads.findall(path.read_text(encoding="utf-8"))
    }
    assert loaded == set()


def test_what_scrolls_is_reached_by_keyboard_and_headings_have_a_level(site):
    for page in ("index", "results", "reference/explain"):
        source = (site / f"{page}.html").read_text(encoding="utf-8")
        assert "<pre>" not in source
        assert all("tabindex" in box for box in re.findall(r"<div[^>]*class=\"table-wrapper[^>]*>", source))
        headings = re.findall(r"<[^>]*role=\"heading\"[^>]*>", source)
        assert headings
        assert all("aria-level" in heading for heading in headings)


def test_the_reference_has_every_public_name_and_every_command(site):
    pages = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    assert [name for name in expnet.__all__ if name != "__version__" and f'id="expnet.{name}"' not in pages] == []
    from expnet.cli.app import app

    commands = [command.name for command in app.registered_commands]
    assert [name for name in commands if f'id="expnet-{name}"' not in pages] == []


def test_the_notebook_is_shown_with_what_its_cells_show(site):
    page = (site / "tour.html").read_text(encoding="utf-8")
    assert page.count('class="highlight-python') == 5
    assert re.search(r'<span [^>]*title="0\.\d+"[^>]*>gripping<', page)
    assert "<th>label</th>" in page
    assert "threshold: 0." in page


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")
def test_the_site_is_searched_offline(site):
    browser = Chromium()
    try:
        browser.open((site / "search.html").as_uri() + "?q=traceparent")
        browser.until("document.querySelector('#search-results li')")
        links = browser.value("[...document.querySelectorAll('#search-results li a')].map(link => link.href)")
        assert any(link.split("?")[0].endswith("/serve.html") for link in links)
    finally:
        browser.close()


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")
def test_on_a_phone_wide_tables_scroll_and_pages_do_not(site):
    browser = Chromium()
    try:
        browser.show(375, 800)
        for page in (
            "index",
            "how-to",
            "results",
            "methods",
            "limits",
            "reference/methods",
            "gallery",
            "tour",
            "which-method",
        ):
            browser.open((site / f"{page}.html").as_uri())
            assert browser.value("document.documentElement.scrollWidth") == 375, page
            assert browser.value("[...document.images].every(image => image.naturalWidth > 0)"), page
            assert browser.complaints() == [], page
        browser.open((site / "results.html").as_uri())
        boxes = "[...document.querySelectorAll('article .table-wrapper')]"
        assert browser.value(f"{boxes}.length") > 5
        assert browser.value(f"{boxes}.some(box => box.scrollWidth > box.clientWidth)")
        assert browser.value(f"{boxes}.every(box => getComputedStyle(box).overflowX === 'auto')")
    finally:
        browser.close()
