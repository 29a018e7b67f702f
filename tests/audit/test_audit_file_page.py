"""The page of a file's record in a browser: its rows are searched, filtered and ordered, and read without a script."""

from dataclasses import replace

import pytest

from expnet.audit.file_record import AuditedRow
from expnet.audit.pages import file_page
from expnet.audit.words import Driver
from tests import chromium
from tests.audits import file_of

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
ROWS = 40
SHOWN = (
    "[...document.querySelectorAll('#list > li')].filter((row) => !row.hidden).map((row) => Number(row.dataset.row))"
)
SAID = "document.querySelector('#shown').value"


def row(number):
    """Return a row: every third is of the class "b", every fourth holds "ﬁlm", and later ones are clearer."""
    clarity = float("nan") if number == 7 else number / 100
    return AuditedRow(
        row=number,
        text=f"Text {number} {'ﬁlm' if number % 4 == 0 else 'play'} & <b>",
        pair=None,
        label="b" if number % 3 == 0 else "a",
        probability=1 - number / 100,
        margin=0.5,
        concentration=clarity,
        clarity=clarity,
        top=("Text",),
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    listed = tuple(map(row, range(ROWS)))
    record = replace(
        file_of("x"),
        listed=listed,
        clearest=(row(39),),
        doubtful=(row(2),),
        labels={"a": 26, "b": 14},
        histogram={"a": (0,) * 19 + (26,), "b": (0,) * 19 + (14,)},
        drivers={"a": [], "b": [Driver("film", 4, 0.5, 1.5, 2.0, (36, 24, 12, 0))]},
    )
    path = tmp_path_factory.mktemp("page") / "file.html"
    path.write_text(file_page(record), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def page(browser, address):
    browser.show(1280, 900)
    browser.send("Page.navigate", url="about:blank")  # so that the page is read anew, wherever it was before
    browser.open(address)
    yield browser
    assert browser.complaints() == []


def choose(page, name, value):
    page.value(
        f"document.querySelector('#{name}').value = '{value}';"
        f"document.querySelector('#{name}').dispatchEvent(new Event('input', {{bubbles: true}}))"
    )


def test_the_first_rows_are_shown_and_more_on_demand(page):
    assert page.value(SHOWN) == list(range(25))
    assert page.value(SAID) == "40 of 40 match, 25 are shown"
    page.click("#more")
    assert page.value(SHOWN) == list(range(ROWS))
    assert page.value("document.querySelector('#more').hidden")


def test_rows_are_searched_by_keyboard_in_any_case_and_compatible_spelling(page):
    page.value("document.querySelector('#words').focus()")
    page.type("FILM text")
    assert page.value(SHOWN) == list(range(0, ROWS, 4))
    page.press("Enter")  # which sends no form
    assert page.value(SHOWN) == list(range(0, ROWS, 4))
    page.type(" nothing")
    assert (page.value(SHOWN), page.value(SAID)) == ([], "0 of 40 match")
    page.click("#all")
    assert page.value(SAID) == "40 of 40 match, 25 are shown"


def test_rows_are_filtered_by_class_and_ordered(page):
    choose(page, "class", "1")
    of_b = list(range(0, ROWS, 3))
    assert page.value(SHOWN) == of_b
    choose(page, "order", "clear")
    assert page.value(SHOWN) == of_b[::-1]
    choose(page, "order", "unsure")
    assert page.value(SHOWN) == of_b[::-1]
    choose(page, "class", "")
    choose(page, "order", "doubtful")
    page.click("#more")
    assert page.value(SHOWN) == [*range(7), *range(8, ROWS), 7]  # a row without clarity comes last


def test_a_word_leads_to_its_rows_and_a_number_to_its_row(page):
    choose(page, "class", "0")
    page.click("a.word")
    page.until("location.hash === '#rows'")
    assert page.value(SHOWN) == [0, 12, 24, 36]
    assert page.value(SAID) == "Rows that hold “film”, of its class: 4 of 40 match"
    assert page.value("document.activeElement.id") == "rows"
    page.click(".rows a[href='#row-39']")
    page.until("location.hash === '#row-39'")
    assert page.value(SHOWN) == list(range(ROWS))
    page.until("Math.abs(document.querySelector('#row-39').getBoundingClientRect().bottom) < innerHeight + 1")


def test_a_page_opened_at_a_row_shows_it(browser, address):
    browser.show(1280, 900)
    browser.open(address + "#row-38")
    assert not browser.value("document.querySelector('#row-38').hidden")


def test_without_a_script_every_row_is_there_to_read_and_nothing_that_does_not_work(browser, address):
    browser.show(375, 900, script=False)
    browser.open(address)
    read = dict.fromkeys(name for _, name in browser.tree())
    assert sum("play & <b>" in name or "ﬁlm & <b>" in name for name in read if name.startswith("Text ")) == ROWS
    assert "Search" not in read
    browser.show(375, 900)
    assert browser.value("document.documentElement.scrollWidth") <= 375
