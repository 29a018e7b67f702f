"""The studio in a browser, used as a person would: mouse, keyboard, phone, screen reader; then Fit."""

import json

import pytest

from expnet.errors import InputError
from expnet.rationales import read_records
from expnet.serve import Limits
from expnet.studio import create_app
from tests import chromium
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.live import running
from tests.payloads import PAYLOADS
from tests.studios import TEXTS, desk

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")
READY = "document.readyState === 'complete' && !document.querySelector('#save').disabled"
PRESSED = "[...document.querySelectorAll('.word[aria-pressed=true]')].map(each => each.textContent)"


@pytest.fixture
def studio(browser, tmp_path):
    """A desk, the page of its first text on a wide screen, and the address of the server."""
    explainer = tiny_explainer(tiny_classifier(id2label={0: PAYLOADS[0], 1: PAYLOADS[1], 2: PAYLOADS[2]}))
    session = desk(tmp_path, (*TEXTS, f"bad {PAYLOADS[4]}"), explainer=explainer)
    with running(create_app(session), Limits()) as server:
        browser.show(1100, 800)
        browser.open(f"{server.url}texts/1")
        yield session, browser, server.url.rstrip("/")
        browser.value("typeof leaving === 'undefined' || (leaving = true)")  # unsaved marks would ask before they go
        browser.open("about:blank#end")  # connections that stay open would be waited for


def word(place):
    return f".word[data-word='{place}']"


def at(number):
    return f"location.pathname === '/texts/{number}' && {READY}"


def saved(session, place):
    """Return the words that are in the file."""
    record = read_records(session.marks.path)[place]
    return [record.text.word(span) for span in record.annotations[0].spans]


def press(page, *keys):
    for key in keys:
        page.press(key.removeprefix("+"), modifiers=8 if key.startswith("+") else 0)


def test_the_mouse_marks_with_a_click_or_over_several_words_and_clears_likewise(studio):
    session, page, _ = studio
    page.click(word(1))
    page.drag(word(4), word(5), word(6))
    assert page.value(PRESSED) == ["good", "another", "bad", "one"]
    page.drag(word(6), word(5))
    assert page.value(PRESSED) == ["good", "another"]
    page.click("#undo")
    assert page.value(PRESSED) == ["good", "another", "bad", "one"]
    page.click("#undo")
    page.click("#undo")
    assert page.value(PRESSED) == []
    page.drag(word(2), word(0))
    page.click("#save")
    page.until(at(2))
    assert saved(session, 0) == ["the", "good", "film"]
    assert page.complaints() == []


def test_the_keyboard_alone_marks_undoes_saves_and_goes_on(studio):
    session, page, _ = studio
    press(page, "ArrowRight", "Space")  # the first word has the focus
    assert page.value(PRESSED) == ["good"]
    press(page, "End", "+ArrowLeft", "+ArrowLeft", "+ArrowRight", "Shift")
    assert page.value(PRESSED) == ["good", "bad", "one"]
    press(page, "u")
    assert page.value(PRESSED) == ["good"]
    press(page, "Home", "+ArrowRight", "Shift", "Enter")
    page.until(at(2))
    assert saved(session, 0) == ["the", "good"]
    press(page, "ArrowRight", "Space", "Enter")
    page.until(at(3))
    assert saved(session, 1) == ["bad"]
    assert page.value("document.querySelector('#progress').textContent") == "2 of 7 marked"
    assert page.complaints() == []


def test_arrows_lead_to_the_line_above_and_below(studio):
    _, page, url = studio
    page.show(220, 760)
    page.open(f"{url}/texts/1")
    top = "document.activeElement.getBoundingClientRect().top"
    left = "document.activeElement.getBoundingClientRect().left"
    press(page, "ArrowRight")
    before = page.value(f"[{top}, {left}]")
    press(page, "ArrowDown")
    below = page.value(f"[{top}, {left}]")
    assert below[0] > before[0]
    assert abs(below[1] - before[1]) < 60
    press(page, "ArrowUp")
    assert page.value(top) == before[0]


def test_a_finger_marks_too(studio):
    _, page, _ = studio
    page.send("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        box = page.value(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(word(1))}).getBoundingClientRect())"
        )
        page.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": box[0], "y": box[1]}])
        page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        page.until(f"{PRESSED}.join() === 'good'")
    finally:
        page.send("Emulation.setTouchEmulationEnabled", enabled=False)


def test_a_screen_reader_meets_words_as_buttons_that_are_pressed_or_not(studio):
    _, page, _ = studio
    page.click(word(1))
    tree = page.tree()
    assert ("group", "Words of the text") in tree
    assert {name for role, name in tree if role == "button"} >= {
        "the",
        "good",
        "film",
        "Save and go on",
        "Skip",
        "Undo",
    }
    assert ("combobox", "Which words are the reason for") in tree
    assert page.value(f'document.querySelector("{word(1)}").getAttribute("aria-pressed")') == "true"
    page.value(f'document.querySelector("{word(2)}").click()')  # as a screen reader does
    assert page.value(PRESSED) == ["good", "film"]
    assert page.value("document.querySelector('#status').textContent") == "2 words are marked."


def test_undo_covers_the_class(studio):
    _, page, _ = studio
    before = page.value("document.querySelector('#label').value")
    press(page, "ArrowRight", "Space")
    choose = "label.value = '{}'; label.dispatchEvent(new Event('change', {{bubbles: true}}))"
    page.value(choose.format((int(before) + 1) % 3))
    page.click("#undo")
    assert page.value("document.querySelector('#label').value") == before
    assert page.value(PRESSED) == ["good"]
    page.click("#undo")
    assert page.value(PRESSED) == []
    assert page.value("document.querySelector('#undo').disabled")


def test_a_server_that_is_gone_loses_no_marks(studio):
    session, page, _ = studio
    press(page, "ArrowRight", "Space")
    page.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    press(page, "Enter")
    page.until("document.querySelector('#status').textContent.startsWith('Nothing was saved')")
    assert page.value(PRESSED) == ["good"]
    page.send("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    press(page, "Enter")
    page.until(at(2))
    assert saved(session, 0) == ["good"]


def test_a_reason_not_to_save_is_said_where_the_marks_still_are(studio, monkeypatch):
    _, page, _ = studio

    def full(*_, **__):
        raise InputError("The disk is full.")

    monkeypatch.setattr("expnet.studio.marks.write_atomic", full)
    press(page, "ArrowRight", "Space", "Enter")
    page.until("document.querySelector('#status').textContent.endsWith('The disk is full.')")
    assert page.value(PRESSED) == ["good"]


def test_marks_can_be_seen_where_a_system_forces_its_own_colours(studio):
    _, page, _ = studio
    press(page, "ArrowRight", "Space")
    page.send("Emulation.setEmulatedMedia", features=[{"name": "forced-colors", "value": "active"}])
    look = "(({{backgroundColor, color}}) => backgroundColor + color)(getComputedStyle(document.querySelector('{}')))"
    assert page.value(look.format(".word[aria-pressed=true]")) != page.value(look.format(".word[aria-pressed=false]"))
    page.show(1100, 800)


def test_two_tabs_lose_no_marks(studio):
    session, page, _ = studio
    record = session.texts[0]
    session.marks.save(record, "ann", record.text.words[6:], None)  # another tab was quicker
    page.click(word(1))
    press(page, "Enter")
    page.until(f"document.querySelector('[role=alert] q')?.textContent === 'one' && {READY}")
    assert page.value(PRESSED) == ["good"]
    assert saved(session, 0) == ["one"]
    press(page, "Enter")
    page.until(at(2))
    assert saved(session, 0) == ["good"]


def test_marking_fitting_and_seeing_before_and_after(studio):
    session, page, url = studio
    for number in range(1, 5):
        press(page, "ArrowRight", "Space", "Enter")
        page.until(at(number + 1))
    page.click(".notice button")
    page.until(f"document.querySelector('#explanation section.expnet') && {READY}")
    assert page.value("location.pathname") == "/texts/4"
    page.click("nav a[href$='fit']")
    page.until("document.querySelector('#fit button:not(:disabled)')")
    page.click("#fit button")
    page.until("document.querySelector('.figures') && document.readyState === 'complete'", seconds=120)
    rows = page.value("[...document.querySelectorAll('.pair th')].map(each => each.textContent)")
    assert rows == ["before", "after", "change\u00a0±"] * 3
    shown = page.value("[...document.querySelectorAll('.pair .expnet-text')].map(each => each.textContent)")
    assert shown[::3] == shown[1::3] == shown[2::3] == [record.text.text for record in reversed(session.texts[4:])]
    assert "on 4 texts" in page.value("document.querySelector('.figures').textContent")
    assert (session.output / "model.safetensors").is_file()
    page.show(375, 760, dark=True)
    for path in ("/fit", "/texts", "/texts/7"):
        page.open(f"{url}{path}")
        assert page.value("document.documentElement.scrollWidth") <= 375, path
        assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 29)"
        foreign = "img, iframe, svg, script:not([src]), [onerror], [onfocus], [onload], [onmouseover]"
        assert page.value(f"document.querySelectorAll('{foreign}').length") == 0
        assert page.complaints() == []


def test_without_a_script_nothing_can_be_saved_by_mistake(studio):
    session, page, url = studio
    page.show(1100, 800, script=False)
    page.open(f"{url}/texts/1")
    assert page.value("document.querySelector('#save').disabled")
    assert "needs JavaScript" in page.value("document.querySelector('noscript').textContent")
    assert not session.marks.path.exists()
