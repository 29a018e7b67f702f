"""What is shown is what was given: verbatim, readable, and harmless."""

import io
import re
import sys
import unicodedata
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color, ColorSystem
from rich.console import Console, RenderableType
from rich.style import Style

from expnet.errors import InputError
from expnet.explanation import colour, html, terminal
from expnet.explanation.escape import escape, printable
from expnet.explanation.result import Explanation, Word
from tests.payloads import PAYLOADS

GROUNDS = {  # ground and ink of pages that a fragment may land on
    "our page, light": ("#ffffff", "#1f2328"),
    "our page, dark": ("#17191d", "#dfe2e7"),
    "Jupyter, light": ("#ffffff", "#212121"),
    "Jupyter, dark": ("#111111", "#ffffff"),
    "VS Code, dark": ("#1f1f1f", "#cccccc"),
}


def explain(text: str, scores: list[float], pair: str | None = None, **fields) -> Explanation:
    """Score what stands between blanks, first in the text; once the scores run out, words are unseen."""
    spans = [(match, segment) for segment in (0, 1) for match in re.finditer(r"\S+", (text, pair or "")[segment])]
    words = tuple(
        Word(match[0], match.start(), match.end(), segment, *([scores[i]] if i < len(scores) else [0.0, False]))
        for i, (match, segment) in enumerate(spans)
    )
    known = {
        "label": "good",
        "output": 0.75,
        "outputs": {"good": 0.75, "bad": 0.25},
        "method": "expnet",
        "calibrated": not fields.get("signed"),
    }
    return Explanation(text=text, pair=pair, words=words, **known | fields)


class Reading(HTMLParser):
    """What a browser makes of some HTML: elements in order, shown text, and how each piece of it looks."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: list[str] = []
        self.looks: list[tuple[str, list[dict[str, str]]]] = []
        self._open: list[tuple[str, dict[str, str | None], dict[str, str]]] = []
        self.feed(source)
        self.close()
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), "no attribute is given twice"
        self.elements.append((tag, attributes))
        if attributes.get("class") == "expnet-text":
            self.blocks.append("")
        if tag != "meta":
            declarations = filter(None, (attributes.get("style") or "").split(";"))
            style = dict(declaration.split(":", 1) for declaration in declarations)
            self._open.append((tag, attributes, style))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if any(attributes.get("class") == "expnet-text" for _, attributes, _ in self._open):
            self.blocks[-1] += data
        self.looks.append((data, [style for _, _, style in self._open]))

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    unknown_decl = handle_pi = handle_comment

    def spans(self) -> list[dict[str, str | None]]:
        """Return the attributes of the words."""
        return [attributes for tag, attributes in self.elements if tag == "span" and "title" in attributes]


def everywhere(payload: str) -> Explanation:
    return Explanation(
        text=payload,
        pair=payload,
        words=tuple(Word(payload, 0, len(payload), segment, 0.5) for segment in (0, 1)),
        label=payload,
        output=0.2,
        outputs={payload: 0.2, payload + "!": 0.8},
        method=payload,
        signed=True,
        provenance={payload: payload},
    )


def printed(shown: RenderableType, *, width: int, color_system: str | None = None) -> str:
    Style.parse.cache_clear()
    Style._add.cache_clear()  # a style keeps the codes of the colours that it was first shown in
    console = Console(file=io.StringIO(), force_terminal=True, color_system=color_system, width=width)
    console.print(shown)
    return console.file.getvalue()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_string_adds_or_changes_an_element(payload):
    def skeleton(text: str) -> list[tuple[str, dict[str, str | None]]]:
        explanation = everywhere(text)
        fragments = [html.fragment(explanation), html.side_by_side([explanation, explanation])]
        elements = Reading(html.document(fragments, title=text)).elements
        return [(tag, attributes | {"aria-label": ""}) for tag, attributes in elements]

    assert skeleton(payload) == skeleton("harmless")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_are_shown_as_they_are_and_can_be_written(payload, tmp_path):
    everywhere(payload).save_html(tmp_path / "page.html")
    reading = Reading((tmp_path / "page.html").read_text(encoding="utf-8"))
    shown = [data for data, _ in reading.looks]
    assert reading.blocks == [printable(payload)] * 2
    assert shown.count(printable(payload)) >= 5  # label, method, two words, provenance key and value


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("color_system", ["truecolor", None])
@pytest.mark.parametrize("show", [terminal.render, lambda explanation: terminal.side_by_side([explanation] * 2)])
def test_a_terminal_receives_no_sequence_but_colours_and_no_markup_is_obeyed(payload, color_system, show):
    sent = re.sub(r"\x1b\[[0-9;]*m", "", printed(show(everywhere(payload)), width=300, color_system=color_system))
    assert all(char == "\n" or unicodedata.category(char) != "Cc" for char in sent)
    assert not set("\u202e\u2066\u2069") & set(sent)
    assert sent.startswith(printable(payload[:4]))
    assert sent.count(printable(payload)) >= 2


def test_the_page_forbids_scripts_and_outside_resources_and_has_none():
    explanation = explain("a b", [0.1, 0.9], provenance={"model": "m"})
    page = html.document([html.fragment(explanation), html.side_by_side([explanation])])
    elements = Reading(page).elements
    policy = {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'",
    }
    assert page.startswith("<!DOCTYPE html>")
    assert ("meta", {"charset": "utf-8"}) in elements
    assert ("meta", policy) in elements
    allowed = "html head meta title style body main h1 section div strong span table caption tbody tr th td"
    assert {tag for tag, _ in elements} <= {*allowed.split(), "details", "summary", "dl", "dt", "dd"}
    names = {name for _, attributes in elements for name in attributes}
    assert names <= {
        *("charset", "http-equiv", "content", "name"),
        *("class", "style", "title", "dir", "lang", "aria-label", "aria-hidden", "scope"),
    }
    assert not re.search(r"url\(|@import|expression", page)


@given(st.text(st.characters(exclude_categories=[])))
def test_printable_leaves_nothing_that_steers_a_terminal_and_no_more_to_do(text):
    shown = printable(text)
    assert {char for char in shown if unicodedata.category(char) == "Cc"} <= {"\n", "\t"}
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert shown.encode("utf-8").decode("utf-8") == printable(shown)


@pytest.mark.parametrize(
    "text",
    ["שלום\u200f, עולם", "جدًا", "e\u0301 नमस्ते", "👩‍👩‍👧‍👦❤️🇳🇴", "tab\tand\nline", "می\u200cخواهم", r"a\x1b"],
)
def test_ordinary_text_of_any_script_is_left_alone(text):
    assert printable(text) == text


def test_control_characters_are_spelled_out():
    assert printable("a\r\nb\rc\x1b[0m\x9b\u202e") == r"a" "\n" r"b\rc\x1b[0m\x9b\u202e"
    assert escape("<a href='x' title=\"y\">&\x1b") == r"&lt;a href=&#x27;x&#x27; title=&quot;y&quot;&gt;&amp;\x1b"


shown_text = st.text(st.characters(exclude_categories=["Cc", "Cs"])).filter(lambda text: printable(text) == text)
any_word = st.builds(
    Word,
    text=st.text(),
    start=st.integers(-3, 30),
    end=st.integers(-3, 30),
    segment=st.integers(0, 1),
    score=st.floats(-2, 2),
    seen=st.booleans(),
)


@given(shown_text, shown_text, st.lists(any_word).map(tuple), st.booleans())
def test_the_text_is_shown_verbatim_whatever_the_spans(text, pair, words, signed):
    explanation = Explanation(text, pair, words, "good", 0.5, {}, "m", signed)
    assert Reading(html.fragment(explanation)).blocks == [text, pair]
    assert f"\n\n{text}\n\n" in terminal.render(explanation).plain + "\n\n" or not text
    assert f"pair\n{pair}" in terminal.render(explanation).plain


def test_spacing_between_words_is_kept():
    text = "  Two  blanks,\n\n\ta tab "
    explanation = explain(text, [0.9] * 4)
    assert Reading(html.fragment(explanation)).blocks == [text]
    assert text in terminal.render(explanation).plain


def luminance(rgb):
    # WCAG 2.2, definition of relative luminance
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def rgb(colour_code):
    return tuple(bytes.fromhex(colour_code[1:7]))


def over(top, alpha, ground):
    return tuple(alpha * t + (1 - alpha) * g for t, g in zip(top, ground, strict=True))


def veiled(code, ground):
    return over(rgb(code), int(code[7:9] or "ff", 16) / 255, ground) if code.startswith("#") else ground


@pytest.mark.parametrize("name", GROUNDS)
@pytest.mark.parametrize("signed", [False, True])
def test_every_piece_of_text_in_html_has_a_contrast_of_4_5_in_light_and_dark(name, signed):
    ground, ink = map(rgb, GROUNDS[name])
    words = " ".join(f"w{i}" for i in range(220))
    scores = [i / 100 for i in range(-100 if signed else 0, 101)]
    fields = {"signed": signed, "threshold": 0.5, "windows": 2, "provenance": {"model": "m"}}
    explanation = explain(words, scores, "pair", **fields)
    reading = Reading(html.fragment(explanation) + html.side_by_side([explanation]))
    for data, styles in reading.looks:
        opacity, behind = 1.0, ground
        for style in styles:
            opacity *= float(style.get("opacity", 1))
            behind = veiled(style.get("background", "none"), behind)
        letters = over(ink, opacity, ground)
        assert contrast(letters, over(behind, opacity, ground)) >= 4.5, (data, styles)


@pytest.mark.parametrize("limit", [1.0, 0.03])
def test_every_terminal_shade_has_a_contrast_of_4_5_also_with_256_colours(limit):
    scale = colour.Scale(limit, signed=True)
    codes = {colour.block(limit * i / 200, scale) for i in range(-200, 201)} - {""}
    assert len(codes) > 100
    for style in map(Style.parse, codes):
        for convert in (lambda c: c, lambda c: Color.parse(c.name).downgrade(ColorSystem.EIGHT_BIT)):
            letters, ground = (convert(c).get_truecolor() for c in (style.color, style.bgcolor))
            assert contrast(letters, ground) >= 4.5, style


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "normal": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def seen_by(sight, rgb):
    """Return CIELAB coordinates (D65) of a colour as somebody with this sight sees it."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(rgb) / 255])
    seen = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in to_xyz @ seen / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("name", GROUNDS)
def test_scores_without_a_sign_have_a_colour_that_nobody_takes_for_one_that_speaks_for_or_against(name, sight):
    ground = rgb(GROUNDS[name][0])
    amount = colour.veil(1.0, colour.Scale(1.0, signed=False))
    for score in (1.0, -1.0):
        signed = colour.veil(score, colour.Scale(1.0, signed=True))
        apart = seen_by(sight, veiled(amount, ground)) - seen_by(sight, veiled(signed, ground))
        assert np.linalg.norm(apart) > 25  # 2.3 is just noticeable; blue and orange are 67 apart at least


@pytest.mark.parametrize("name", GROUNDS)
def test_a_higher_score_stands_out_more_without_any_colour(name):
    ground = rgb(GROUNDS[name][0])
    scale = colour.Scale(1.0, signed=False)
    steps = [contrast(veiled(colour.veil(i / 50, scale) or "none", ground), ground) for i in range(51)]
    assert steps == sorted(set(steps))


def test_a_higher_score_is_more_colourful_in_a_terminal_and_low_ones_stay_bare():
    scale = colour.Scale(1.0, signed=False)
    assert colour.block(0.19, scale) == ""
    grounds = [rgb(colour.block(i / 20, scale).split(" on ")[1]) for i in range(4, 21)]
    chroma = [max(ground) - min(ground) for ground in grounds]
    assert chroma == sorted(set(chroma))


@given(st.floats(0.01, 1e3), st.floats(0.0, 1.0))
def test_signed_shades_are_symmetric_and_differ_in_hue_only(limit, share):
    scale = colour.Scale(limit, signed=True)
    score = limit * share
    assert colour.strength(-score, scale) == -colour.strength(score, scale)
    one, other = colour.veil(score, scale), colour.veil(-score, scale)
    assert one[7:] == other[7:]
    assert one[:7] != other[:7] or one == other == ""


def test_calibrated_shades_mean_the_same_in_every_text_and_others_are_relative_to_it():
    def style(scores, **fields):
        return Reading(html.fragment(explain("a b", scores, **fields))).spans()[0].get("style")

    assert style([0.3, 0.3]) == style([0.3, 0.9])
    assert style([0.3, 0.3], signed=True) == style([0.9, -0.9], signed=True) != style([0.3, 0.9], signed=True)
    assert style([0.02, 0.03], calibrated=False) == style([20.0, 30.0], calibrated=False)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("scores", "fields", "scale"),
    [
        ([0.02, 0.03], {"calibrated": True}, colour.Scale(1.0, signed=False)),
        ([0.02, 0.03], {"calibrated": False}, colour.Scale(0.03, signed=False)),
        ([0.02, -0.03], {"calibrated": False}, colour.Scale(0.02, signed=False)),
        ([0.02, -0.03], {"signed": True}, colour.Scale(0.03, signed=True)),
        ([NAN, 0.02, INF], {"calibrated": False}, colour.Scale(0.02, signed=False)),
        ([NAN, 0.02, -INF], {"signed": True}, colour.Scale(0.02, signed=True)),
        ([0.0, 0.0], {"calibrated": False}, colour.Scale(0.0, signed=False)),
        ([], {"signed": True}, colour.Scale(0.0, signed=True)),
    ],
)
def test_a_scale_ends_at_1_or_at_the_largest_finite_score(scores, fields, scale):
    assert colour.scale_of(explain("a b c"[: 2 * len(scores)], scores, **fields)) == scale


@pytest.mark.parametrize(
    ("fields", "caption"),
    [
        ({}, "Scores run from 0 to 1, on the same scale for every text."),
        (
            {"calibrated": False},
            'Scores tell how much a word matters, not whether it speaks for "good". '
            "Shades and bars are relative to the largest score of this text, 0.030.",
        ),
        (
            {"signed": True},
            'Scores above 0 speak for "good", scores below 0 against it. '
            "Shades and bars are relative to the largest absolute score of this text, 0.030.",
        ),
    ],
)
@pytest.mark.parametrize("show", [str, html.fragment])
def test_a_caption_says_what_the_scale_means(fields, caption, show):
    assert escape(caption) in escape(unescape(show(explain("a b", [0.02, 0.03], **fields))))


@pytest.mark.parametrize("fields", [{}, {"calibrated": False}, {"signed": True}])
@pytest.mark.parametrize("scores", [[NAN, 0.0, 0.0], [INF, 0.0, NAN], [0.0] * 3, [5e-324, 0.0, 0.0]])
def test_scores_without_a_meaning_are_shown_without_a_shade_or_place_among_the_top(fields, scores):
    explanation = explain("a b c", scores, **fields)
    assert [span.get("style") for span in Reading(html.fragment(explanation)).spans()][1:] == [None, None]
    assert [word.text for word in colour.strongest(explanation, 3)] == ["a"] * (scores[0] > 0)
    assert str(explanation).startswith("good")


@pytest.mark.parametrize("score", [float("nan"), -0.5, 0.0])
def test_a_score_below_an_unsigned_scale_has_no_shade(score):
    assert colour.veil(score, colour.Scale(1.0, signed=False)) == ""
    assert colour.block(score, colour.Scale(1.0, signed=False)) == ""


@pytest.mark.parametrize(
    ("score", "scale", "written"),
    [
        (0.5, colour.Scale(1.0, signed=False), "0.50"),
        (-0.001, colour.Scale(1.0, signed=True), "+0.00"),
        (-0.42, colour.Scale(0.42, signed=True), "-0.42"),
        (0.00042, colour.Scale(0.0042, signed=True), "+0.0004"),
        (0.00042, colour.Scale(0.0042, signed=False), "0.0004"),
        (0.031, colour.Scale(0.031, signed=False), "0.031"),
        (NAN, colour.Scale(0.0, signed=False), "nan"),
        (31.4, colour.Scale(100.0, signed=True), "+31.40"),
        (0.0, colour.Scale(0.0, signed=True), "+0.00"),
    ],
)
def test_numbers_keep_two_digits_of_the_largest_score(score, scale, written):
    assert colour.number(score, scale) == written


def test_plain_text_tells_everything_without_colour():
    explanation = explain("A gripping  film,\ntoo long .", [0.0, 0.91, 0.46], "Yes", threshold=0.5, windows=3)
    assert str(explanation) == (
        "good  75.0 %   expnet\n"
        "\n"
        "A gripping[0.91]  film,\n"
        "[not read: too long .]\n"
        "\n"
        "pair\n"
        "[not read: Yes]\n"
        "\n"
        "   0.91  ###############   gripping\n"
        "   0.46  #######           film,\n"
        "\n"
        "Scores run from 0 to 1, on the same scale for every text.\n"
        "Words that score 0.50 or more are followed by their score.\n"
        "Read in 3 overlapping windows.\n"
        "4 of 7 words were not read: truncation was asked for."
    )


def test_plain_text_of_signed_scores_shows_both_directions():
    shown = str(explain("dull but lovely", [-0.06, 0.001, 0.03], signed=True))
    assert "dull[-0.060] but lovely[+0.030]" in shown
    assert re.findall(r"([+-]\S+)  (#+) +(\w+)$", shown, re.M) == [
        ("-0.060", "#" * 16, "dull"),
        ("+0.030", "#" * 8, "lovely"),
        ("+0.001", "#", "but"),
    ]


def test_plain_text_closes_what_was_not_read_where_reading_resumes():
    words = (Word("a", 0, 1, 0, 0.0, False), Word("b", 2, 3, 0, 0.9))
    assert "[not read: a ]b[0.90]" in str(Explanation("a b", None, words, "l", 1.0, {}, "m"))


class Tty(io.StringIO):
    def isatty(self):
        return True


def show_in_terminal(monkeypatch, explanation, show=str, **env):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **env}.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Tty())
        return show(explanation)


def test_a_terminal_gets_colours(monkeypatch):
    shown = show_in_terminal(monkeypatch, explain("dull gripping", [0.0, 1.0], threshold=0.5, signed=True))
    assert "dull \x1b[1;38;5;231;48;5;26mgripping\x1b[0m" in shown
    shown = show_in_terminal(monkeypatch, explain("dull gripping", [0.0, 1.0], threshold=0.5))
    assert re.search(r"dull \x1b\[1;38;5;231;48;5;\d+mgripping\x1b\[0m", shown)
    assert "48;5;26m" not in shown, "blue speaks for the class, and these scores have no sign"


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_plain_text(monkeypatch, env):
    shown = show_in_terminal(monkeypatch, explain("dull gripping", [0.0, 1.0]), **env)
    assert "\x1b" not in shown
    assert "gripping[1.00]" in shown


def test_each_word_tells_its_score_and_unseen_words_are_dim():
    spans = Reading(html.fragment(explain("a b c", [0.9123, 0.0]))).spans()
    assert [span["title"] for span in spans] == ["0.912", "0.000", "0.000, not read"]
    assert ["opacity" in (span.get("style") or "") for span in spans] == [False, False, True]
    shaded = terminal.render(explain("a b c", [0.9, 0.0]))
    assert [shaded.plain[span.start : span.end] for span in shaded.spans if span.style == "dim"][1] == "c"


def test_words_from_the_threshold_on_are_underlined_or_bold_and_the_reader_is_told():
    explanation = explain("a b c d", [0.49, 0.5, 0.51], threshold=0.5)
    reading = Reading(html.fragment(explanation))
    underlined = ["underline" in (span.get("style") or "") for span in reading.spans()]
    assert underlined == [False, True, True, False]
    shaded = terminal.render(explanation)
    bold = [shaded.plain[span.start : span.end] for span in shaded.spans if str(span.style).startswith("bold ")]
    assert bold == ["b", "c"]
    assert "Words that score 0.50 or more are underlined." in [data for data, _ in reading.looks]


@pytest.mark.parametrize("show", [str, html.fragment])
def test_notes_appear_only_where_they_apply(show):
    quiet = show(explain("a", [0.5]))
    for words in ("windows", "not read", "No words", "target", "or more"):
        assert words not in quiet
    assert "No words to explain." in show(explain(" \n", []))
    assert "Read in 4 overlapping windows." in show(explain("a", [0.5], windows=4))
    assert "2 of 3 words were not read" in show(explain("a b c", [0.5]))
    other = show(explain("a", [0.5], label="bad", output=0.25))
    assert re.search(r"The most probable class is .{1,6}good.{1,6} \(75.0 %\); another target", other)


def test_html_ranks_eight_words_and_five_classes_and_marks_the_explained_one():
    chances = {f"class{i}": (i + 1) / 36 for i in range(8)}
    scores = [(7 * i % 10) / 10 for i in range(10)]
    explanation = explain("a b c d e f g h i j", scores, label="class6", output=7 / 36, outputs=chances)
    reading = Reading(html.fragment(explanation))
    rows = [data for data, styles in reading.looks if any("tabular-nums" in style.values() for style in styles)]
    assert rows[:8] == ["0.90", "0.80", "0.70", "0.60", "0.50", "0.40", "0.30", "0.20"]
    assert rows[8:13] == ["22.2 %", "19.4 %", "16.7 %", "13.9 %", "11.1 %"]
    strong = [data for data, styles in reading.looks if any(style.get("font-weight") == "600" for style in styles)]
    assert strong == ["class6", "class6", "19.4 %"]
    assert "Classes, 5 of 8" in [data for data, _ in reading.looks]


def test_strongest_words_are_ranked_by_size_and_of_equals_the_first():
    words = colour.strongest(explain("a b c d e", [0.2, -0.9, 0.0, 0.2, 0.5], signed=True), 4)
    assert [word.text for word in words] == ["b", "e", "a", "d"]


def test_a_very_long_word_or_label_is_cut_in_lists_but_not_in_the_text():
    explanation = explain("x" * 5000, [1.0], label="y\nz" * 500)
    lines = str(explanation).splitlines()
    assert len(lines[0]) < 80
    assert "x" * 5000 in lines[2]
    assert lines[4].endswith("x" * 40 + "...")


def test_fifty_thousand_words_take_linear_time():
    # Anything quadratic would take minutes here.
    text = "word  " * 50_000
    explanation = explain(text, [(i % 100) / 100 for i in range(50_000)], threshold=0.5)
    assert terminal.render(explanation).plain.count("word") == 50_000 + 8
    assert html.fragment(explanation).count("text-decoration:underline") == 25_000
    assert str(explanation).count("[0.99]") == 500


GRAPE = "A gripping film"
METHODS = [
    explain(GRAPE, [0.0, 0.8, 0.4], threshold=0.5),
    explain(GRAPE, [0.01, 0.04, 0.02], method="attention", calibrated=False),
    explain(GRAPE, [0.0, 3.0, -1.5], method="lime", signed=True),
]


@given(
    st.lists(st.tuples(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.booleans(), st.booleans()), min_size=1)
)
def test_side_by_side_every_row_is_shaded_as_in_the_picture_of_its_own_method(methods):
    explanations = [
        explain(GRAPE, scores, signed=signed, calibrated=calibrated) for scores, signed, calibrated in methods
    ]
    alone = [span for explanation in explanations for span in Reading(html.fragment(explanation)).spans()]
    assert Reading(html.side_by_side(explanations)).spans() == alone


def test_side_by_side_shades_are_relative_to_the_largest_score_of_the_row_or_to_1():
    spans = Reading(html.side_by_side(METHODS)).spans()
    assert [span["title"] for span in spans] == [
        *("0.000", "0.800", "0.400"),
        *("0.0100", "0.0400", "0.0200"),
        *("+0.000", "+3.000", "-1.500"),
    ]
    styles = [re.findall("background:(#[0-9a-f]+)", span.get("style") or "") for span in spans]
    lines = [re.findall("border-bottom:([0-9]px solid #[0-9a-f]+)", span.get("style") or "") for span in spans]
    # Alpha is 0.6 of the share of the scale: 0.8, 0.4; 0.25, 1, 0.5; 1, 0.5.
    blue, orange, plum = "#0060df", "#c04f00", "#8c648c"
    assert styles == [
        *([], [f"{plum}7a"], [f"{plum}3d"]),
        *([f"{plum}26"], [f"{plum}99"], [f"{plum}4c"]),
        *([], [f"{blue}99"], [f"{orange}4c"]),
    ]
    assert lines == [
        *([], [f"2px solid {plum}"], [f"1px solid {plum}"]),
        *([f"1px solid {plum}"], [f"3px solid {plum}"], [f"2px solid {plum}"]),
        *([], [f"3px solid {blue}"], [f"2px solid {orange}"]),
    ]


def test_side_by_side_in_plain_text_ranks_the_words_of_each_method_on_one_line():
    assert terminal.plain_side_by_side(METHODS) == (
        "good  75.0 %\n"
        "\n"
        "A gripping film\n"
        "\n"
        "expnet     0.80 gripping  0.40 film\n"
        "attention  0.040 gripping  0.020 film  0.010 A\n"
        "lime       +3.00 gripping  -1.50 film\n"
        "\n"
        'Of the top 3 words, expnet and attention share "gripping", "film"; only attention has "A".\n'
        'Of the top 3 words, expnet and lime share "gripping", "film".\n'
        'Every method has units of its own. Scores with a sign speak for "good" (+) or against it (-), those without '
        "tell only how much a word matters."
    )


def test_side_by_side_in_a_terminal_wraps_texts_within_their_column():
    text = "one two three four five six"
    explanations = [explain(text, [1.0] * 6, "seven eight nine", method=name) for name in ("a", "longest")]
    assert [line.rstrip() for line in printed(terminal.side_by_side(explanations), width=24).splitlines()[:9]] == [
        "good  75.0 %",
        "",
        "a        one two three",
        "         four five six",
        "pair     seven eight",
        "         nine",
        "longest  one two three",
        "         four five six",
        "pair     seven eight",
    ]


def test_side_by_side_in_a_terminal_shades_each_row_on_its_own_scale():
    shown = printed(terminal.side_by_side(METHODS), width=80, color_system="truecolor")
    full, half, amount = "48;2;0;96;223", "48;2;149;92;53", "48;2;140;100;140"
    assert len(re.findall(f"{full}m *gripping", shown)) == 1  # lime
    assert len(re.findall(f"{amount}m *gripping", shown)) == 1  # attention; 0.8 of expnet is no full shade
    assert f"{half}mfilm" in shown
    assert "attention" in shown
    assert "lime\u00a0±" in shown


@pytest.mark.parametrize(
    ("chosen", "caption"),
    [
        (
            METHODS,
            "Shades are relative to each method's own largest score (expnet: to 1). In rows marked ±, blue speaks for "
            '"good" and orange against it; other rows tell only how much a word matters.',
        ),
        (
            METHODS[1:2],
            "Shades are relative to each method's own largest score. They tell how much a word matters, not whether "
            'it speaks for "good".',
        ),
    ],
)
def test_side_by_side_one_caption_says_what_shades_mean(chosen, caption):
    assert caption in " ".join(printed(terminal.side_by_side(chosen), width=300).split())
    assert [data for data, _ in Reading(html.side_by_side(chosen)).looks][-1] == caption


def test_side_by_side_in_html_every_method_and_pair_has_a_row_in_the_order_given():
    explanations = [explain("a b", [0.5], "c", method=f"method {i}") for i in range(40)]
    reading = Reading(html.side_by_side(explanations))
    assert reading.blocks == ["a b", "c"] * 40
    names = [data for data, styles in reading.looks if any("max-content" in style.values() for style in styles)]
    assert names == [name for i in range(40) for name in (f"method {i}", "pair")]
    notes = [data for data, _ in reading.looks][-2:]
    assert notes[1] == "2 of 3 words were not read: truncation was asked for."
    assert notes[0].startswith("Shades are relative")


def test_side_by_side_does_not_mark_words_by_the_threshold_of_one_method():
    assert "underline" in html.fragment(METHODS[0])
    assert "underline" not in html.side_by_side(METHODS)
    assert "or more" not in terminal.plain_side_by_side(METHODS)


def test_side_by_side_a_blank_text_is_said_to_have_no_words_and_gets_no_caption():
    blank = [explain(" ", [], method=name) for name in ("one", "two")]
    assert terminal.plain_side_by_side(blank) == "good  75.0 %\n\n \n\none\ntwo\n\nNo words to explain."
    for shown in (printed(terminal.side_by_side(blank), width=80), html.side_by_side(blank)):
        assert shown.count("No words to explain.") == 1
        assert "Shades" not in shown


@pytest.mark.parametrize(
    "show",
    [html.side_by_side, terminal.side_by_side, terminal.plain_side_by_side, terminal.plain_or_coloured_side_by_side],
)
@pytest.mark.parametrize(
    ("explanations", "message"),
    [
        ([], "several methods, got none"),
        (
            [explain("a", []), explain("b", []), explain("c", [])],
            "same text, got 3 different ones, such as 'a' and 'b'",
        ),
        ([explain("a", []), explain("a", [], "b")], "same pair, got 2 different ones, such as None and 'b'"),
        ([explain("a", []), explain("a", [], label="bad")], "same label, got 2 .* such as 'good' and 'bad'"),
        ([explain("a" * 99, []), explain("b", [])], "such as 'a{40}...' and 'b'"),
    ],
)
def test_only_explanations_of_one_text_and_label_stand_side_by_side(show, explanations, message):
    with pytest.raises(InputError, match=message):
        show(explanations)


def test_side_by_side_a_terminal_gets_colours_only_if_it_wants_them(monkeypatch):
    show = terminal.plain_or_coloured_side_by_side
    assert re.search(r"\x1b\[[0-9;]+mgripping\x1b\[0m", show_in_terminal(monkeypatch, METHODS, show))
    uncoloured = show_in_terminal(monkeypatch, METHODS, show, NO_COLOR="1")
    assert uncoloured.split() == terminal.plain_side_by_side(METHODS).split()  # its lines are cut to the terminal


def test_a_page_is_a_document_of_one_fragment_for_each_explanation():
    assert html.page(METHODS, "t") == html.document([html.fragment(explanation) for explanation in METHODS], "t")
