"""The page in a browser, used as a person would: typing, clicking, by keyboard alone, on a phone, without a script."""

import json
import time
from urllib.parse import parse_qs

import pytest
from PIL import Image

from expnet.explainer import explain_heads
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
READY = "document.activeElement.id === 'text'"  # the field gets the focus by itself, a moment after the page is there


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


def tab_to(page, reached, *, modifiers=0):
    """Press Tab until the focus is there, and fail if it never is."""
    for _ in range(80):
        if page.value(reached):
            return
        page.press("Tab", modifiers=modifiers)
    raise AssertionError(f"Not reached by keyboard: {reached}")


def test_the_keyboard_alone_chooses_a_class_and_methods(page):
    page.until(READY)
    page.type(TEXT)
    tab_to(page, "document.activeElement === document.querySelector('#methods summary')")
    page.press("Enter")  # open the methods
    chosen = "[...document.querySelectorAll('input:checked')].map(each => each.value)"
    tab_to(page, "document.activeElement.value === 'saliency'")
    page.press("Space")
    assert page.value(chosen) == ["expnet", "saliency"]
    tab_to(page, "document.activeElement.id === 'target'", modifiers=8)
    page.press("ArrowDown")  # every class
    page.press("ArrowDown")  # the first class
    assert page.value("document.querySelector('#target').value") == "0"
    page.click("#text")
    page.press("Enter", modifiers=2)
    page.until("document.querySelectorAll('#result .expnet > table tr').length === 2")
    assert page.value(STAYED)


def test_an_example_is_explained_by_a_press_and_enter_in_a_field_explains_what_was_typed(page):
    example = page.value("document.querySelector('.example').value")
    page.click(".example")
    page.until(RESULT)
    assert page.value("document.querySelector('#text').value") == example
    assert page.value("document.querySelector('#examples') === null")
    assert page.value(STAYED)
    page.open(page.value("location.href"))
    page.value(f"document.querySelector('#text').value = {json.dumps(TEXT)}")
    page.value("document.querySelector('#count').focus()")
    page.press("Enter")
    page.until(RESULT)
    assert page.value("document.querySelector('#text').value") == TEXT


def test_what_takes_too_long_can_be_stopped(page):
    page.value(f"document.querySelector('#text').value = {json.dumps(TEXT)}")
    page.value("window.fetch = (_, {signal}) => new Promise((_, fail) => signal.onabort = () => fail(signal.reason))")
    page.value("document.querySelector('#ask').requestSubmit()")
    page.until("!document.querySelector('#stop').hidden")
    assert page.value("document.querySelector('#status').textContent") == "The model reads …"
    page.click("#stop")
    assert page.value("document.querySelector('#stop').hidden")
    assert page.value("document.querySelector('#status').textContent").startswith("Stopped.")
    assert not page.value("document.querySelector('#result').hasAttribute('aria-busy')")


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
    page.until("document.readyState === 'complete'")  # until then its style sheet may be on its way
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


def test_on_a_phone_the_name_of_a_class_beside_its_words_is_not_folded_letter_by_letter(page, server):
    page.show(375, 800)
    page.open(server.url)
    page.click("#text")
    page.type(TEXT)
    page.click("#methods summary")
    page.click("input[value=expnet]")
    page.click("input[value=deeplift]")
    page.value("document.querySelector('#target').value = 'all'")
    page.click("#ask button")
    page.until("document.querySelectorAll('#result .expnet th[scope=row]').length === 3")
    widths = page.value("[...document.querySelectorAll('#result .expnet th')].map(each => each.offsetWidth)")
    assert min(widths) >= 0.2 * 375
    assert page.value("document.documentElement.scrollWidth") <= 375


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


HEADS = "document.querySelector('#grids table')"


def test_a_click_shows_the_heads_of_a_word_and_arrows_lead_to_the_next(page, explainer):
    explained(page)
    page.click("#heads summary")
    page.click("#heads .word:nth-child(2)")
    page.until(HEADS)
    assert page.value("document.querySelector('#grids caption').textContent").startswith(
        'What each head did to the score of "good"'
    )
    assert page.value("document.querySelector('#status').textContent") == (
        "Done: the heads of “good” are below the words."
    )
    for key, wanted in (("ArrowRight", "film"), ("End", "one"), ("ArrowRight", "one"), ("Home", "the")):
        page.press(key)
        assert page.value("document.activeElement.textContent") == wanted
    assert page.value("[...document.querySelectorAll('#heads .word')].filter(each => each.tabIndex === 0).length") == 1
    page.press("Enter")
    page.until(f"{HEADS}?.caption.textContent.includes('\"the\"')")
    pressed = "[...document.querySelectorAll('#heads [aria-pressed=true]')].map(each => each.textContent)"
    assert page.value(pressed) == ["the"]
    effects = explain_heads(explainer, TEXT)
    cells = page.value("[...document.querySelectorAll('#grids td')].map(each => Number(each.textContent))")
    expected = [
        number for row, layer in zip(effects.heads[0], effects.layers[0], strict=True) for number in (*row, layer)
    ]
    assert cells == pytest.approx([float(number) for number in expected], abs=6e-3)
    assert page.value(STAYED)


def test_without_a_script_a_word_shows_its_heads_on_the_next_page(page, server):
    page.show(375, 800, script=False)
    page.open(server.url)
    page.until(READY)
    page.type(TEXT)
    page.click("#ask button")
    page.until(RESULT)
    page.click("#heads summary")
    page.click("#heads .word:nth-child(3)")
    page.until(HEADS)
    assert page.value("document.querySelector('#heads').open && location.hash === '#heads'")
    assert page.value("document.querySelector('[aria-pressed=true]').textContent") == "film"
    assert page.value("document.documentElement.scrollWidth") <= 375


EDITED = "document.querySelector('#edit .compared:not([hidden])')"
STATUS = "document.querySelector('#status').textContent"


def sequence(page):
    """Words of the part that edits: those with - are removed, those with + are new."""
    return page.value(
        "[...document.querySelectorAll('#edit .word')].map(each => [each.getAttribute('aria-pressed') === 'true' ? '-' "
        ": each.textContent.includes(' new') ? '+' : '', each.firstChild.textContent].join('')).join(' ')"
    )


def sent(page):
    """What the browser posted, from the last time it was asked."""
    requests = [e["params"]["request"] for e in page.events if e.get("method") == "Network.requestWillBeSent"]
    return [(request["url"], parse_qs(request["postData"])) for request in requests if request["method"] == "POST"]


def test_a_word_is_removed_and_put_back_and_what_moves_is_said(page, server, explainer):
    explained(page)
    assert page.value(f"{EDITED} === null")
    page.events.clear()
    page.click("#edit .word:nth-child(2)")
    page.until(EDITED)
    assert page.value("document.querySelector('#text').value") == "the film, another bad one"
    assert sent(page) == [
        (
            server.url,
            {
                "model": ["tiny"],
                "text": [page.value("document.querySelector('#text').value")],
                "count": ["3"],
                "method": ["expnet"],
            },
        )
    ]
    assert sequence(page) == "the -good film , another bad one"
    before, now = explainer.explain(TEXT), explainer.explain("the film, another bad one")
    told = page.value(STATUS)
    assert told.startswith("Without “good”: ")
    assert f"{100 * now.probability:.1f} %" in told
    assert f"{100 * before.probabilities[before.label]:.1f} %" in told
    moved = {word.text: word.score for word in now.words}
    moves = {word.text: moved[word.text] - word.score for word in before.words if word.text in moved}
    assert f"“{max(moves, key=lambda word: abs(moves[word]))}”" in told or "No score moved" in told
    for name, number in moves.items():
        shown = page.value(
            f"[...document.querySelectorAll('#edit .word')].find(each => each.firstChild.textContent === '{name}')"
            ".querySelector('small')?.textContent ?? '0'"
        )
        assert float(shown) == pytest.approx(number, abs=6e-3)
    cells = page.value("[...document.querySelectorAll('#edit tbody tr')].map(each => each.textContent)")
    assert len(cells) == 3
    for name, share in now.probabilities.items():
        change = 100 * (share - before.probabilities[name])
        (row,) = [cell for cell in cells if f"{100 * share:.1f} %" in cell and f"{abs(change):.1f} points" in cell]
        assert ("-" in row[-12:]) == (round(change, 1) < 0)
    assert page.value("document.activeElement.firstChild.textContent") == "good"
    page.press("Enter")
    page.until(f"document.querySelector('#text').value === '{TEXT}' && {STATUS}.startsWith('The words are those')")
    assert page.value(STAYED)


def test_words_are_changed_by_keyboard_and_in_the_field_and_compared_with_one_text(page):
    explained(page)
    page.value("document.querySelector('#edit .word').focus()")
    page.press("End")
    page.press("Space")
    page.until(EDITED)
    assert sequence(page) == "the good film , another bad -one"
    assert page.value("document.activeElement.textContent") == "one"
    page.value("document.querySelector('#text').value = 'the bad film, another bad'")
    page.click("#edit .word")
    assert page.value(STATUS).endswith("press Explain first.")
    page.click("#text")
    page.press("Enter", modifiers=2)
    page.until(f"{STATUS}.startsWith('Without “good”, “one”, with “bad”')")
    assert sequence(page) == "the -good +bad film , another bad -one"
    page.click("[data-edit=back]")
    page.until(f"document.querySelector('#text').value === '{TEXT}' && {STATUS}.startsWith('The words are those')")
    page.click("#edit .word")
    page.until(f"{STATUS}.startsWith('Without “the”')")
    page.click("[data-edit=from]")
    assert page.value(f"{EDITED} === null")
    assert sequence(page) == "good film , another bad one"
    page.value("document.querySelector('#text').value = 'first text'")
    page.click("#text")
    page.press("Enter", modifiers=2)
    page.until("document.querySelectorAll('#edit .word').length === 2")
    assert page.value(f"{EDITED} === null"), "another text is not a change of this one"
    page.click("#edit .word")
    page.until(EDITED)
    page.click("#edit .word:nth-child(2)")
    assert page.value(STATUS).startswith("The last word stays")


def test_the_text_comes_along_to_another_model(page):
    page.click("#text")
    page.type(TEXT)
    page.click("#methods summary")
    page.click("input[value=saliency]")
    page.events.clear()
    page.click("nav a:not([aria-current])")
    page.until("new URLSearchParams(location.search).get('model') === 'other'")
    page.until("document.readyState === 'complete'")
    assert dict(filled(page)) | {"method": ""} == {
        "model": "other",
        "text": TEXT,
        "pair": "",
        "target": "",
        "against": "",
        "count": "3",
        "method": "",
        "beside": "",
        "unit": "",
    }
    assert [value for name, value in filled(page) if name == "method"] == ["expnet", "saliency"]
    assert not [event for event in page.events if "good" in str(event.get("params", {}).get("request", {}).get("url"))]


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
