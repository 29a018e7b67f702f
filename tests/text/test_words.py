"""Words follow Unicode and lie on the text; tokens cover every word that they share a character with."""

import inspect
import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expnet.errors import InputError
from expnet.text.texts import Text
from expnet.text.words import _PIECE, Span, _kinds, join_words, split_words, words_of_tokens

# Letters of several scripts beside everything that makes word boundaries hard.
CHARACTERS = st.sampled_from(
    "abZ é1.,'’-_ \t\n\r\u00a0\u0301\u0308\u200b\u200d\u00ad\ufeff\u202e\x00字かカשаक्ๆ👩👍🏽🇩🇪❤️"
)
TEXTS = st.text(CHARACTERS | st.characters(exclude_categories=["Cs"]), max_size=40)


def split(text: str) -> list[str]:
    return [text[word.start : word.end] for word in split_words(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A touching, funny film.", ["A", "touching", ",", "funny", "film", "."]),
        ("can't stop, won’t stop", ["can't", "stop", ",", "won’t", "stop"]),
        ("well-known", ["well", "-", "known"]),
        ("1,000.50 is 3.14x", ["1,000.50", "is", "3.14x"]),
        ("...!?", [".", ".", ".", "!", "?"]),
        ("cafe\u0301 na\u0308ive", ["cafe\u0301", "na\u0308ive"]),
        ("हिन्दी है", ["हिन्दी", "है"]),
        ("👩‍👩‍👧 ok 👍🏽!", ["👩‍👩‍👧", "ok", "👍🏽", "!"]),
        ("🇩🇪🇫🇷🇮🇹", ["🇩🇪", "🇫🇷", "🇮🇹"]),
        ("🇩🇪🇫", ["🇩🇪", "🇫"]),
        ("❤️❤️", ["❤️", "❤️"]),
        ("שלום, עולם", ["שלום", ",", "עולם"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("漢字かな", ["漢", "字", "か", "な"]),
        ("カタカナ 한국어", ["カタカナ", "한국어"]),
        ("ไทย", ["ไ", "ท", "ย"]),  # needs a dictionary, which we have not
        ("two\u200bwords", ["two", "words"]),
        ("a\r\nb\tc\u00a0d", ["a", "b", "c", "d"]),
        # What has nothing before it to belong to is a piece of its own (WB4 begins after a first character).
        ("\u202eab\u202c cd\u00ad", ["ab\u202c", "cd\u00ad"]),
        ("\n\u00ad\u00adb", ["b"]),
        ("\u0301a", ["\u0301", "a"]),
        ("a\u202eb", ["a\u202eb"]),
        ("צה״ל ר' ב\"ג", ["צה״ל", "ר'", 'ב"ג']),
        ("ר'.ר\"a 1,2.a", ["ר'", ".", "ר", '"', "a", "1,2", ".", "a"]),
        ("_a_1_カ_ aカ", ["_a_1_カ_", "a", "カ"]),
        ("a:b c:: http://x.y", ["a:b", "c", ":", ":", "http", ":", "/", "/", "x.y"]),
        ("a\u200d👩 ℹ️\u200dⓂa", ["a\u200d👩", "ℹ️\u200dⓂa"]),
        ("", []),
        (" \t\r\n\u2003\u00a0", []),
        ("\x00\x07\x1b", []),
        ("\u200b\u200d\ufeff\u00ad\u3164\ufff9", []),
    ],
)
def test_words_end_where_unicode_says(text, words):
    assert split(text) == words


def test_a_word_knows_its_characters_and_its_segment():
    assert split_words("ab cd", 1) == (Span(0, 2, 1), Span(3, 5, 1))
    assert split_words("ab cd")[1] == Span(3, 5, 0)


@given(TEXTS)
def test_words_ascend_within_the_text_without_overlap(text):
    words = split_words(text)
    assert all(0 <= word.start < word.end <= len(text) for word in words)
    assert all(before.end <= after.start for before, after in pairwise(words))


@given(TEXTS)
def test_every_visible_character_is_in_a_word_and_every_word_has_one(text):
    visible = {at for at, one in enumerate(text) if chr(_kinds()[ord(one)]).isupper()}
    words = [set(range(word.start, word.end)) for word in split_words(text)]
    assert visible <= set().union(*words)
    assert all(word & visible for word in words)


def test_blanks_controls_and_formats_are_what_is_not_seen():
    for character in map(chr, range(0x110000)):
        category = unicodedata.category(character)
        if category in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            assert chr(_kinds()[ord(character)]).islower(), ascii(character)
        elif category[0] in "LNPS" and character not in "\u115f\u1160\u3164\uffa0":  # fillers of Hangul
            assert chr(_kinds()[ord(character)]).isupper(), ascii(character)


def boundary(kinds: str, at: int) -> bool:
    """UAX #29, rule by rule, on kinds in upper case."""
    before, after = kinds[at - 1], kinds[at]
    if before + after == "CF":  # WB3
        return False
    if before in "CFB" or after in "CFB":  # WB3a, WB3b
        return True
    if (before == "Z" and after in "PQ") or before + after == "WW":  # WB3c, WB3d
        return False
    if after in "EZ":  # WB4
        return False

    # From here on, what extends a character counts as part of it.
    def base(stretch: str) -> str:
        return re.sub(r"(?<=[^CFB])[EZ]+", "", stretch)

    left, right = base(kinds[:at]), kinds[at] + base("X" + kinds[at + 1 :])[1:]
    last = re.sub(r"[AQ]", "A", left[-2:]).rjust(2)
    following = re.sub(r"[AQ]", "A", right[:2]).ljust(2)
    letters, quotes = "AH", "MS"
    joined = (
        (last[1] in letters and following[0] in letters)  # WB5
        or (last[1] in letters and following[0] in "L" + quotes and following[1] in letters)  # WB6
        or (last[0] in letters and last[1] in "L" + quotes and following[0] in letters)  # WB7
        or (last[1] == "H" and following[0] == "S")  # WB7a
        or (last[1] == "H" and following == "OH")  # WB7b
        or (last == "HO" and following[0] == "H")  # WB7c
        or (last[1] in letters + "D" and following[0] in letters + "D")  # WB8 to WB10
        or (last[0] == "D" and last[1] in "N" + quotes and following[0] == "D")  # WB11
        or (last[1] == "D" and following[0] in "N" + quotes and following[1] == "D")  # WB12
        or (last[1] + following[0] == "KK")  # WB13
        or (last[1] in letters + "DKU" and following[0] == "U")  # WB13a
        or (last[1] == "U" and following[0] in letters + "DK")  # WB13b
        or (following[0] == "R" and len(left) - len(left.rstrip("R")) & 1)  # WB15, WB16
    )
    return not joined


@given(st.text(st.sampled_from("aⓂאカ1_'\".:,\u0301\u200d🇩 \r\n\u2028👩-"), max_size=12))
@example("🇩\u200d🇪🇩👩" * 3)
@example('א\'\u03011א"\u0301א"a')
@example("1.\u0301\u200dⓂ_")
def test_pieces_end_where_the_rules_one_by_one_say(text):
    kinds = "".join(chr(_kinds()[ord(one)]) for one in text)
    ends = [at for at in range(1, len(text)) if boundary(kinds.upper(), at)]
    pieces = [(start, end) for start, end in pairwise([0, *ends, len(text)]) if start < end]
    assert [word[:2] for word in split_words(text)] == [(a, b) for a, b in pieces if not kinds[a:b].islower()]


def test_a_lone_surrogate_is_a_word_and_no_error():
    assert split("a \ud83d b") == ["a", "\ud83d", "b"]  # texts refuse it by place


def test_a_long_run_of_flags_takes_no_quadratic_time():
    # Counting each flag from the first would take minutes here.
    assert len(split_words("🇩🇪" * 100_000)) == 100_000


@given(st.lists(st.text(min_size=1, max_size=5), max_size=8))
def test_joined_words_are_found_at_their_spans_one_space_apart(words):
    text, spans = join_words(words, 1)
    assert [text[span.start : span.end] for span in spans] == words
    assert all(span.segment == 1 for span in spans)
    assert text == " ".join(words)
    assert len(text) == sum(map(len, words)) + max(0, len(words) - 1)


def test_a_token_covers_every_word_that_it_shares_a_character_with():
    words = [Span(0, 2), Span(3, 8), Span(8, 10), Span(0, 4, 1)]
    tokens = {
        Span(0, 2): (0, 1),
        Span(1, 5): (0, 2),
        Span(2, 3): (0, 0),  # the space between
        Span(2, 10): (1, 3),
        Span(7, 9): (1, 3),
        Span(10, 12): (0, 0),  # beyond
        Span(3, 8, 1): (3, 4),
        Span(4, 8, 1): (0, 0),
    }
    assert words_of_tokens(list(tokens), words, [False] * len(tokens)) == list(tokens.values())


def test_a_special_token_covers_nothing_wherever_it_stands():
    assert words_of_tokens([Span(0, 0), Span(0, 2), Span(1, 1)], [Span(0, 2)], [True, True, True]) == [(0, 0)] * 3


def test_a_token_without_characters_covers_the_word_it_stands_in_or_next_to_one_that_has_no_token():
    words = [Span(0, 2), Span(2, 3), Span(4, 6)]

    def covered(*tokens: Span) -> list[tuple[int, int]]:
        return words_of_tokens(tokens, words, [False] * len(tokens))

    assert covered(Span(1, 1)) == [(0, 1)]
    assert covered(Span(0, 2), Span(3, 3), Span(4, 6)) == [(0, 1), (1, 2), (2, 3)]  # at the end of "!"
    assert covered(Span(0, 2), Span(2, 2), Span(4, 6))[1] == (1, 2)  # between the first, which has a token, and "!"
    assert covered(Span(2, 2), Span(2, 3))[0] == (0, 1)
    assert covered(Span(0, 2), Span(2, 2), Span(2, 3))[1] == (0, 0)  # both have one: it stands between words
    assert covered(Span(4, 4), Span(4, 6)) == [(0, 0), (2, 3)]  # a blank before a word
    assert covered(Span(7, 7)) == [(0, 0)]


@st.composite
def spans(draw, segment: int, *, gaps_only: bool) -> list[Span]:
    """Words (`gaps_only`: without overlap) or tokens (which may share characters, or have none) in text order."""
    spans, at = [], 0
    for _ in range(draw(st.integers(0, 8))):
        start = at + draw(st.integers(0, 2))
        end = start + draw(st.integers(1 if gaps_only else 0, 4))
        spans.append(Span(start, end, segment))
        at = end if gaps_only else draw(st.integers(start, end))
    return spans


@given(st.data())
def test_the_sweep_finds_what_comparing_every_token_with_every_word_finds(data):
    words = [word for segment in (0, 1) for word in data.draw(spans(segment, gaps_only=True))]
    parts = [data.draw(spans(segment, gaps_only=False)) for segment in (0, 1)]
    tokens = parts[0] + parts[1]
    # Windows read some stretch of the text once more; special tokens stand between the parts.
    for _ in range(data.draw(st.integers(0, 3))):
        part = data.draw(st.sampled_from(parts))
        tokens = [*tokens, Span(0, 0), *part[data.draw(st.integers(0, len(part))) :]]

    def characters(token: Span, word: Span) -> int:
        same = token.segment == word.segment
        return len(set(range(token.start, token.end)) & set(range(word.start, word.end))) if same else 0

    def naive(token: Span) -> set[int]:
        return {index for index, word in enumerate(words) if characters(token, word)}

    covered = words_of_tokens(tokens, words, [False] * len(tokens))
    assert [set(range(*c)) for c, t in zip(covered, tokens, strict=True) if t.start < t.end] == [
        naive(token) for token in tokens if token.start < token.end
    ]


def test_a_text_without_words_leaves_every_token_without_one():
    assert words_of_tokens([Span(0, 0), Span(0, 1), Span(0, 1, 1)], [], [False] * 3) == [(0, 0)] * 3


def test_a_text_holds_its_own_words_before_those_of_its_pair():
    text = Text.of("A film.", "No!")
    assert [text.word(span) for span in text.words] == ["A", "film", ".", "No", "!"]
    assert [span.segment for span in text.words] == [0, 0, 0, 1, 1]
    assert (text.part(0), text.part(1), Text.of("x").part(1)) == ("A film.", "No!", "")


def test_given_words_stay_as_given():
    text = Text.from_words(["can't-stop", " x "], ["don't"])
    assert (text.text, text.pair) == ("can't-stop  x ", "don't")
    assert [text.word(span) for span in text.words] == ["can't-stop", " x ", "don't"]
    assert Text.from_words(["x"]).pair is None
    assert Text.from_words([]) == Text("", None, ())


def test_what_is_no_unicode_text_is_refused_by_place():
    for make in (lambda: Text.of("ab\ud83d"), lambda: Text.of("x", "ab\udfff"), lambda: Text.from_words(["ab\ud83d"])):
        with pytest.raises(InputError, match="lone surrogate at character 2"):
            make()


def test_words_must_be_strings_with_characters():
    with pytest.raises(InputError, match="empty string"):
        Text.from_words(["x", ""])
    with pytest.raises(InputError, match="empty string"):
        Text.from_words(["x"], ["", "y"])


def test_other_types_than_strings_are_refused_by_name():
    of, from_words = (inspect.unwrap(make.__func__) for make in (Text.of, Text.from_words))  # without type checks
    with pytest.raises(InputError, match="Expected a string, got int: '3'"):
        of(Text, 3)
    with pytest.raises(InputError, match="Expected a string, got bytes"):
        of(Text, "x", b"y")
    with pytest.raises(InputError, match="Expected a string, got NoneType"):
        from_words(Text, ["x", None])


def test_one_string_is_no_list_of_words():
    for words, pair in (("two words", None), (["two"], "words")):
        with pytest.raises(InputError, match=r"list of words, got one string: .* Text\.of"):
            Text.from_words(words, pair)


def test_no_group_has_a_possessive_repeat_which_old_pythons_get_wrong():
    # Python 3.11.0 to 3.11.4, Debian 12's among them, split "A funny film." into "A", "", " funn", "", "y fi", "".
    assert re.search(rb"\)[*+?]\+|\}\+", _PIECE.pattern) is None
    assert re.search(rb"\)[*+?]\+", rb"(?:x)*+")
