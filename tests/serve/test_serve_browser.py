"""The page in a browser, used as a person would: typing, clicking, by keyboard alone, on a phone, without a script."""

import json
import time

import pytest
from PIL import Image

from expnet.explanation import colour
from expnet.serve import Limits
from tests import chromium
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.live import live
from tests.payloads import PAYLOADS, RUNS

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
TEXT = "the good film, another bad one"
RESULT = "document.querySelector('#result section.expnet')"
WORDS = "[...document.querySelectorAll('#result .expnet-text span')].map(each => each.textContent)"
STAYED = "window.stayed === true"


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier(id2label={0: PAYLOADS[0], 1: PAYLOADS[1], 2: PAYLOADS[2]}))


@pytest.fixture(scope="module")
def server(explainer):
    other = tiny_explainer(tiny_classifier(seed=1))
    with live({"tiny": explainer, "other": other}, Limits(seconds=20)) as server:
        yield server


@pytest.fixture
def page(browser, server):
    """The page as it is first seen, on a wide screen."""
    browser.show(1200, 900)
    browser.open(server.url)
    browser.value("window.stayed = true")
    yield browser
    assert browser.complaints() == []


def test_typing_and_a_click_show_the_words_without_leaving_the_page(page, explainer):
    page.click("#text")
    page.type(TEXT)
    page.click("#ask button")
    page.until(RESULT)
    assert page.value(WORDS) == [word.text for word in explainer.explain(TEXT).words]
    assert page.value("document.querySelector('#status').textContent").startswith("Done: ")
    assert page.value(STAYED)


def test_the_keyboard_alone_chooses_a_class_and_methods(page):
    page.type(TEXT)  # the field has the focus
    page.press("Tab")  # the second text
    page.press("Tab")  # the words to remove, as there is no class to choose yet
    page.press("Tab")
    page.press("Enter")  # open the methods
    chosen = "[...document.querySelectorAll('input:checked')].map(each => each.value)"
    while page.value("document.activeElement.value") != "saliency":
        page.press("Tab")
    page.press("Space")
    assert page.value(chosen) == ["expnet", "saliency"]
    while page.value("document.activeElement.id") != "target":
        page.press("Tab", modifiers=8)
    page.press("ArrowDown")  # every class
    page.press("ArrowDown")  # the first class
    assert page.value("document.querySelector('#target').value") == "0"
    page.click("#text")
    page.press("Enter", modifiers=2)
    page.until("document.querySelectorAll('#result .expnet tr').length === 2")
    assert page.value(STAYED)


def test_the_class_can_be_chosen_as_soon_as_a_method_depends_on_it(page):
    state = "[document.querySelector('#target').disabled, document.querySelector('#fixed').hidden]"
    assert page.value(state) == [True, False]
    page.click("#methods summary")
    page.click("input[value=saliency]")
    assert page.value(state) == [False, True]
    page.click("input[value=saliency]")
    page.click("input[value=rollout]")
    assert page.value(state) == [True, False]


def test_a_new_question_replaces_the_old_answer_and_an_error_takes_its_place(page):
    page.click("#text")
    page.type(TEXT)
    page.press("Enter", modifiers=2)
    page.until(RESULT)
    page.value("document.querySelector('#text').value = 'long '.repeat(5000)")
    page.press("Enter", modifiers=2)
    page.until("document.querySelector('#result [role=alert]')")
    assert "this server takes 20,000" in page.value("document.querySelector('#result').textContent")
    assert page.value(f"{RESULT} === null")
    assert page.value("document.querySelector('#status').textContent") == ""
    page.events[:] = [event for event in page.events if "422" not in str(event)]  # the browser notes the status


def test_without_a_script_the_form_does_the_same(page, server, explainer):
    page.show(1200, 900, script=False)
    page.open(server.url)
    page.click("#text")
    page.type(TEXT)
    page.click("#ask button")
    page.until(RESULT)
    assert page.value(WORDS) == [word.text for word in explainer.explain(TEXT).words]
    assert page.value("document.querySelector('#text').value") == TEXT
    hidden = "[...document.querySelectorAll('[data-does], #link')].map(each => getComputedStyle(each).display)"
    assert set(page.value(hidden)) == {"none"}, "these buttons need a script"


def test_a_download_holds_what_is_shown(page, tmp_path):
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#text")
    page.type(TEXT)
    page.press("Enter", modifiers=2)
    page.until(RESULT)
    begins = {"html": "<!DOCTYPE html>", "json": "{", "svg": "<svg", "latex": "% An", "markdown": "<strong>"}
    for kind, begin in begins.items():
        page.click(f"#result button[value={kind}]")
        end = time.monotonic() + 20
        ending = {"latex": "tex", "markdown": "md"}.get(kind, kind)
        while not (path := tmp_path / f"explanation.{ending}").exists():
            assert time.monotonic() < end, "nothing was downloaded"
            time.sleep(0.05)
        assert path.read_text().startswith(begin)
    (saved,) = json.loads((tmp_path / "explanation.json").read_text())["explanations"]
    assert [word["text"] for word in saved["words"]] == page.value(WORDS)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_everything_without_scrolling_sideways(page, server, dark):
    page.show(375, 800, dark=dark)
    page.open(server.url)
    page.click("#text")
    page.type("good " + "a" * 150 + " bad")
    page.click("#methods summary")
    for method in ("saliency", "conservative_propagation", "leave_one_out"):
        page.click(f"input[value={method}]")
    page.click("#ask button")
    page.until("document.querySelectorAll('#result .check tbody tr').length === 5")
    assert page.value("document.documentElement.scrollWidth") <= 375
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(23, 25, 29)" if dark else "rgb(255, 255, 255)")


def test_a_screen_reader_meets_names_for_all_there_is(page):
    page.click("#text")
    page.type(TEXT)
    page.press("Enter", modifiers=2)
    page.until(RESULT)
    tree = page.tree()
    for wanted in (
        ("heading", "expnet"),
        ("navigation", "Models"),
        ("textbox", "Text"),
        ("combobox", "Explain the class"),
        ("spinbutton", "Top words to remove"),
        ("button", "Explain"),
        ("region", "Without the top words"),
        ("columnheader", "without them"),
        ("button", "Download as JSON"),
    ):
        assert wanted in tree
    assert any(role == "status" for role, _ in tree)
    controls = {"textbox", "combobox", "spinbutton", "button", "checkbox", "link", "region"}
    assert not [role for role, name in tree if role in controls and not name]


def test_nothing_that_is_typed_or_named_runs(page):
    for payload in RUNS:
        page.value(f"document.querySelector('#text').value = {json.dumps('good ' + payload)}")
        page.value("document.querySelector('#result').replaceChildren()")
        page.click("#text")
        page.press("Enter", modifiers=2)
        page.until(RESULT)
        foreign = (
            "document.querySelectorAll('img, iframe, svg, script:not([src]), [onerror], [onfocus], [onload]').length"
        )
        assert page.value(foreign) == 0
    assert page.value(STAYED)
    assert page.value("window.ran === undefined")
    assert not [event for event in page.events if event.get("method") == "Page.javascriptDialogOpening"]


def test_what_would_slip_through_the_policy_of_the_page_stops(page):
    page.value("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = true\">')")
    page.value(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))"
    )
    page.value("new Promise(resolve => setTimeout(resolve, 200))")
    assert page.value("window.ran === undefined")
    assert sum("Content Security Policy" in text for text in page.complaints()) >= 2
    page.events.clear()


def explained(page):
    page.click("#text")
    page.type(TEXT)
    page.press("Enter", modifiers=2)
    page.until(RESULT)


def test_a_picture_of_pixels_is_drawn_in_the_browser(page, explainer, tmp_path):
    page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    explained(page)
    page.click("[data-does=png]")
    page.until("document.querySelector('#status').textContent === 'Saved as PNG.'", seconds=20)
    end = time.monotonic() + 20
    while not (path := tmp_path / "explanation.png").exists():
        assert time.monotonic() < end, "nothing was downloaded"
        time.sleep(0.05)
    with Image.open(path) as picture:
        assert picture.width == 2 * 760
        pixels = {pixel for _, pixel in picture.convert("RGB").getcolors(10**6)}
    explanation = explainer.explain(TEXT)
    scale = colour.scale_of(explanation)
    tints = {colour.tint(word.score, scale) for word in explanation.words} - {""}
    assert {tuple(bytes.fromhex(tint[1:])) for tint in tints} <= pixels


def test_copying_gives_markdown_and_shades(page, server):
    page.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    explained(page)
    page.click("[data-does=copy]")
    page.until("document.querySelector('#status').textContent.startsWith('Copied')", seconds=20)
    types = page.value("navigator.clipboard.read().then(([item]) => item.types)")
    assert set(types) == {"text/plain", "text/html"}
    assert "| score | word |" in page.value("navigator.clipboard.readText()")


def filled(page):
    return json.loads(page.value("JSON.stringify([...new FormData(document.querySelector('#ask'))])"))


def test_a_copied_link_fills_the_form_and_sends_nothing(page, server):
    page.send("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.open(f"{server.url}?model=other")
    page.click("#text")
    page.type(f"{RUNS[0]} & 100 % = #1 +\n\n naïve 世界 😀")
    for selector in ("#methods summary", "input[value=saliency]", "input[value=expnet]"):
        page.click(selector)
    page.value("document.querySelector('#target').value = '1'")
    page.value("document.querySelector('#count').value = '5'")
    asked = filled(page)
    page.click("#link")
    page.until("document.querySelector('#status').textContent.startsWith('The link is copied')", seconds=20)
    link = page.value("navigator.clipboard.readText()")
    page.open(server.url)
    page.open(link)
    assert filled(page) == asked
    assert ["model", "other"] in asked
    assert page.value("document.querySelector('#result').textContent.trim()") == ""
    assert page.value("document.querySelector('#status').textContent").startswith("Filled in from the link")
    sent = [event["params"]["request"] for event in page.events if event.get("method") == "Network.requestWillBeSent"]
    assert {request["method"] for request in sent} == {"GET"}
    assert not [request for request in sent if "100" in request["url"]]
    assert page.value("window.ran === undefined")


def test_what_a_link_names_and_the_page_does_not_have_is_left_as_it_was(page, server):
    before = filled(page)
    page.open(f"{server.url}#text=good&target=99&method=none&colour=red&model=other&__proto__=1")
    assert filled(page) == [[name, "good" if name == "text" else value] for name, value in before]
    page.value("location.hash = '#text=another'")
    page.until("document.querySelector('#text').value === 'another'")
    page.value("location.hash = '#elsewhere'")
    assert page.value("document.querySelector('#text').value") == "another"
