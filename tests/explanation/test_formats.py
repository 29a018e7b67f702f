"""SVG, LaTeX and Markdown show the same words and shades as HTML, and no text can break out of them."""

import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from expnet.explanation import colour, html, latex, markdown, svg, wrapping
from expnet.explanation.escape import printable
from tests.explanation.test_render import Reading, any_word, contrast, everywhere, explain, over, rgb
from tests.payloads import PAYLOADS

SVG = "{http://www.w3.org/2000/svg}"
MEANING = "How likely people would mark the word as the reason; no sign; the same for every class."
any_text = st.text(st.characters(exclude_categories=[]), max_size=40)
# Characters that mean something to Markdown or TeX, more often than by chance.
TRICKY = st.text(st.sampled_from("\\`*_{}[]<>()#+-.!|~&$:@^=\"'%,;/?\n\t 1aé́אwhtp"), max_size=30)


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", printable(text))


# Markdown


class Shown(HTMLParser):
    """What a browser shows of some HTML, and the elements that it is made of."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[tuple[str, dict]]()
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.text += "\n" if tag == "br" else ""

    def handle_data(self, data):
        self.text += data


def rendered(source: str) -> Shown:
    return Shown(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source))


@given(any_text | TRICKY)
@example("1. one")
@example("    code")
@example("a | b\n---|---")
@example("&lt; &#65; <!-- x -->")
def test_markdown_shows_any_text_as_it_is(text):
    shown = rendered(f"x {markdown.escape(text)} y")
    wanted = printable(text).replace("\t", "    ")
    # Blanks are no-break spaces where Markdown would drop them.
    assert shown.text.replace("\u00a0", " ") == f"x {wanted} y\n".replace("\u00a0", " ")
    assert {tag for tag, _ in shown.tags} <= {"p", "br"}


@given(any_text | TRICKY)
def test_markdown_that_begins_with_a_text_is_a_paragraph(text):
    shown = rendered(markdown.escape(text))
    assert "".join(shown.text.split()) == "".join(printable(text).split())
    assert {tag for tag, _ in shown.tags} <= {"p", "br"}


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_label_or_method_adds_an_element_to_markdown(payload):
    def skeleton(text):
        tags = rendered(everywhere(text).to_markdown()).tags
        return [(tag, attributes) for tag, attributes in tags if tag != "br"]

    assert skeleton(payload) == skeleton("harmless")


def test_markdown_shades_words_as_html_does_and_marks_the_strong_ones_where_shades_are_dropped():
    explanation = explain("dull gripping *film*", [0.0, 0.9, 0.4], threshold=0.5, meaning=MEANING)
    page = rendered(explanation.to_markdown())
    ours = [attributes["style"] for tag, attributes in page.tags if tag == "span"]
    theirs = [style for span in Reading(html.fragment(explanation)).spans() if (style := span.get("style"))]
    assert [style.split(";")[0] for style in theirs] == ours
    assert "<strong>gripping</strong>" in explanation.to_markdown()
    assert "| 0.40 | \\*film\\* |" in explanation.to_markdown()
    for told in (MEANING, "good 75.0 % (expnet)", "Words that score 0.50 or more are bold."):
        assert told in page.text


# LaTeX

COMMANDS = {
    r"\ ": " ",
    r"\textbackslash": "\\",
    r"\textasciitilde": "~",
    r"\textasciicircum": "^",
    r"\textless": "<",
    r"\textgreater": ">",
    r"\textbar": "|",
    r"\ss": "ß",
    r"\ae": "æ",
    r"\AE": "Æ",
    r"\oe": "œ",
    r"\OE": "Œ",
    r"\o": "ø",
    r"\O": "Ø",
    r"\l": "ł",
    r"\i": "ı",
    r"\L": "Ł",
    r"\textquoteleft": "‘",
    r"\textquoteright": "’",
    r"\textquotedblleft": "“",
    r"\textquotedblright": "”",
    r"\textendash": "–",
    r"\textemdash": "—",
    r"\textellipsis": "…",
    r"\textexclamdown": "¡",
    r"\textquestiondown": "¿",
    r"\nobreakspace": "\u00a0",
    r"\texteuro": "€",
    r"\textsterling": "£",
    r"\textyen": "¥",
    r"\textcent": "¢",
    r"\textsection": "§",
    r"\textparagraph": "¶",
    r"\textdegree": "°",
    r"\textpm": "±",
    r"\texttimes": "×",
    r"\textdiv": "÷",
    r"\textmu": "µ",
    r"\textperiodcentered": "·",
    r"\textbullet": "•",
    r"\textcopyright": "©",
    r"\textregistered": "®",
    r"\texttrademark": "™",
    r"\textonehalf": "½",
    **{rf"\{char}": char for char in "{}#$%&_"},
    r"\leavevmode": "",
    r"\null": "",
    r"\hfil": "",
    r"\break": "\n",
}
MARKS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0323\u0327"
ACCENTS = dict(zip("`'^~=u.\"rHvdc", MARKS, strict=True))
TOKENS = re.compile(r"\\(?:[A-Za-z]+ ?|.)|[{}]|[^\\{}]", re.DOTALL)


def typeset(source: str) -> str:
    """Read LaTeX as TeX does, as far as texts need it: every command must be known and every brace closed."""
    tokens = iter(TOKENS.findall(source))
    shown, depth, before = "", 0, ""
    for token in tokens:
        name = token.rstrip(" ") if token != r"\ " else token
        if token in "{}":
            depth += 1 if token == "{" else -1
            assert depth >= 0
        elif name == r"\char":
            digits = ""
            while (digit := next(tokens)).isdigit():
                digits += digit
            assert digit == " "
            shown += chr(int(digits))
        elif name == r"\expnetchar":
            (decimal, hexadecimal) = ("".join(iter(lambda: next(tokens), "}"))[1:] for _ in "12")
            assert int(decimal) == int(hexadecimal, 16)
            shown += chr(int(decimal))
        elif name in COMMANDS:
            assert token == name or not name[1:].isalpha(), "no blank is lost behind a command"
            shown += COMMANDS[name]
        elif len(name) == 2 and name[0] == "\\" and name[1] in ACCENTS:
            assert next(tokens) == "{"
            shown += next(tokens) + ACCENTS[name[1]]
            assert next(tokens) == "}"
        else:
            assert token not in '\\~#$%^&_\n\t"`<>|', f"{token!r} is not text"
            assert token.isascii()
            assert token + before not in ("--", "''", ",,", "  "), "TeX would make one character of two"
            shown += token
        before = token
    assert depth == 0
    return shown


@given(any_text | TRICKY)
def test_latex_shows_any_text_as_it_is(text):
    source = latex.escape(text)
    assert unicodedata.normalize("NFC", typeset(source)) == unicodedata.normalize(
        "NFC", composed(text).replace("\t", "    ")
    )
    assert not source.startswith(" ")
    assert not re.search(r"(?<!\\) $", source)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("50 % of {a_b}", r"50 \% of \{a\_b\}"),
        ("naïve Żółć", r"na\"{i}ve \.{Z}\'{o}\l{}\'{c}"),
        ("“a” -- b", r"\textquotedblleft{}a\textquotedblright{} {-}{-} b"),
        ("世 ש", r"\expnetchar{19990}{4E16} \expnetchar{1513}{05E9}"),
        ("a  b\n", r"a\ \ b\leavevmode\null\hfil\break{}"),
        ("\x1b\u202e", r"\textbackslash{}x1b\textbackslash{}u202e"),
        ("5 € ± ḍı", r"5 \texteuro{} \textpm{} \d{d}\i{}"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
    ],
)
def test_latex_by_hand(text, source):
    assert latex.escape(text) == source


def test_a_long_word_is_cut_where_latex_may_break_the_line_but_no_letter_loses_its_mark():
    word = "a" * 29 + "q\u0331" + "c" * 31
    source = explain(word, [0.9], threshold=0.5).to_latex()
    tint = colour.tint(0.9, colour.Scale(1.0, signed=False))[1:].upper()
    chunks = ["a" * 29 + r"q\expnetchar{817}{0331}", "c" * 30, "c"]
    boxes = [rf"\colorbox[HTML]{{{tint}}}{{\strut \underline{{{chunk}}}}}" for chunk in chunks]
    assert r"\allowbreak{}".join(boxes) in source


def test_latex_shades_words_with_the_colours_that_html_has_on_white():
    explanation = explain("dull, gripping film", [0.0, 0.9, 0.4], "Yes", threshold=0.5, meaning=MEANING)
    source = explanation.to_latex()
    boxes = re.findall(r"\\colorbox\[HTML\]\{([0-9A-F]{6})\}\{\\strut (.+)\}%", source)
    tints = [colour.tint(score, colour.scale_of(explanation))[1:].upper() for score in (0.9, 0.4)]
    assert boxes == list(zip(tints, [r"\underline{gripping}", "film"], strict=True))
    for told in (r"\textbf{good}\quad 75.0 \%", MEANING, r"\textcolor[gray]{0.45}{Yes}", "more are underlined."):
        assert told in source
    assert source.isascii()
    assert "\n\n" not in source, "an empty line would end a paragraph, and an argument"
    assert source.count("{") - source.count(r"\{") == source.count("}") - source.count(r"\}")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_label_or_method_adds_a_command_to_latex(payload):
    known = re.findall(r"\\([A-Za-z]+)", everywhere("harmless").to_latex())
    text = {"leavevmode", "null", "hfil", "break", "allowbreak", "char", "expnetchar", *(name[1:] for name in COMMANDS)}
    assert set(re.findall(r"\\([A-Za-z]+)", everywhere(payload).to_latex())) <= {*known, *text}


# SVG


def drawn(explanation) -> ElementTree.Element:
    return ElementTree.fromstring(svg.picture([explanation]))


@given(any_text, any_text, st.lists(any_word, max_size=6).map(tuple), st.booleans())
def test_a_picture_is_well_formed_and_holds_the_text_whatever_it_is(text, pair, words, signed):
    explanation = everywhere(text)
    known = {"pair": pair, "words": words, "signed": signed}
    root = drawn(type(explanation)(**{name: known.get(name, getattr(explanation, name)) for name in FIELDS}))
    assert root.tag == f"{SVG}svg"
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "desc", "rect", "text")
    }
    noncharacters = {0xFFFE: r"\ufffe", 0xFFFF: r"\uffff"}
    shown = "".join(sorted(printable(text + pair).translate(noncharacters)))
    texts = sorted("".join(element.text or "" for element in root.iter(f"{SVG}text")))
    for char in set(shown) - set(" \n\t"):
        assert char.isspace() or texts.count(char) >= shown.count(char)


FIELDS = tuple(everywhere("a").__dataclass_fields__)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_label_or_method_adds_an_element_to_a_picture(payload):
    names = {name for element in drawn(everywhere(payload)).iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name or name == "style"}


def test_a_picture_shades_and_underlines_words_and_says_what_scores_mean():
    explanation = explain("dull gripping film", [0.0, 0.9, 0.4], threshold=0.5, meaning=MEANING)
    root = drawn(explanation)
    texts = {element.text: element.attrib for element in root.iter(f"{SVG}text")}
    rects = [element.attrib for element in root.iter(f"{SVG}rect")]
    for word in explanation.words[1:]:
        (shade,) = (rect for rect in rects if rect["fill"] == colour.tint(word.score, colour.Scale(1.0, signed=False)))
        left, right = float(shade["x"]), float(shade["x"]) + float(shade["width"])
        assert left == float(texts[word.text]["x"])
        assert right - left == pytest.approx(float(texts[word.text]["textLength"]))
    assert sum(rect.get("height") == "2" for rect in rects) == 1
    shown = " ".join(texts)
    assert all(told in shown for told in ("good", "75.0", "expnet", "reason;", "underlined."))
    assert root.find(f"{SVG}title").text == "good 75.0 %"


@given(st.text(max_size=300), st.integers(80, 800))
def test_lines_fit_and_keep_every_character_but_blanks(text, room):
    lines = wrapping.wrap([(text, None)], size=17, room=room)
    assert sorted("".join(placed.text for line in lines for placed in line)) == sorted(
        "".join(re.split(r"\s", printable(text)))
    )
    for line in lines:
        spans = [(placed.x, placed.x + placed.width) for placed in line]
        assert all(left >= before - 1e-6 for (_, before), (left, _) in pairwise(spans))
        blanks_alone = len(line) == 1  # a first word keeps the blanks before it, however many
        assert blanks_alone or not line or spans[-1][1] <= room + 1e-6


def test_leftward_text_begins_at_the_right_and_words_of_the_other_direction_keep_their_order():
    (line,) = wrapping.wrap([("שלום עולם good film יפה", None)], size=17, room=700)
    assert [placed.text for placed in line] == ["יפה", "good", "film", "עולם", "שלום"]
    assert line[-1].x + line[-1].width == pytest.approx(700)
    (line,) = wrapping.wrap([("a good שלום עולם film", None)], size=17, room=700)
    assert [placed.text for placed in line] == ["a", "good", "עולם", "שלום", "film"]
    assert line[0].x == 0.0


def test_ideographs_wrap_without_blanks_and_words_do_not_lose_their_comma():
    lines = wrapping.wrap([("世" * 30, None)], size=20, room=200)
    assert [len(line) and line[0].text for line in lines] == ["世" * 10] * 3
    pieces = [("aaaa", None), (" ", None), ("bbbb", None), (",", None)]
    room = int(wrapping.width("aaaa bbbb", 20)) + 2
    assert [[placed.text for placed in line] for line in wrapping.wrap(pieces, size=20, room=room)] == [
        ["aaaa"],
        ["bbbb", ","],
    ]


@pytest.mark.parametrize("signed", [False, True])
def test_ink_on_every_tint_has_a_contrast_of_4_5_and_the_tint_is_the_veil_on_white(signed):
    scale = colour.Scale(1.0, signed=signed)
    for score in (step / 50 for step in range(-50 if signed else 0, 51)):
        tint, veil = colour.tint(score, scale), colour.veil(score, scale)
        assert bool(tint) == bool(veil)
        if tint:
            mixed = over(rgb(veil), int(veil[7:], 16) / 255, (255, 255, 255))
            assert rgb(tint) == pytest.approx(mixed, abs=0.51)  # rounded to whole channels
            assert contrast(rgb("#1f2328"), rgb(tint)) >= 4.5
