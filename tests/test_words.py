"""Words follow Unicode, lie on the text, and get the tokens that overlap them most."""

import inspect
from itertools import pairwise

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st

from expnet.errors import InputError
from expnet.texts import Text
from expnet.words import Span, join_words, split_words, words_of_tokens

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
        ("\u202eab\u202c cd\u00ad", ["\u202eab\u202c", "cd\u00ad"]),
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
    visible = {at for at, one in enumerate(text) if not regex.match(r"[\p{White_Space}\p{C}\p{DI}]", one)}
    words = [set(range(word.start, word.end)) for word in split_words(text)]
    assert visible <= set().union(*words)
    unassigned = {at for at, one in enumerate(text) if regex.match(r"[\p{Cn}\p{Co}]", one)}  # may be visible
    assert all(word & (visible | unassigned) for word in words)


@given(st.text(st.sampled_from("🇩🇪\u0301\u200d\u00ada .👩"), max_size=30))
@example("🇩\u200d🇪🇩👩" * 3)
def test_flags_are_split_as_the_plain_boundary_rule_splits_them(text):
    plain = [piece for piece in regex.findall(r"(?sw).+?\b", text) if regex.search(r"[^\s\p{Cf}\p{DI}]", piece)]
    assert split(text) == plain


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


def test_a_token_goes_to_the_word_it_overlaps_most_and_to_the_first_of_equals():
    words = [Span(0, 2), Span(3, 8), Span(8, 10)]
    tokens = [
        Span(0, 0),  # special
        Span(0, 2),
        Span(1, 5),  # one character of the first word, two of the second
        Span(2, 3),  # the space between
        Span(7, 9),  # one of each
        Span(7, 10),
        Span(10, 12),  # beyond
        Span(3, 8, 1),  # another segment
    ]
    assert words_of_tokens(tokens, words) == [-1, 0, 1, -1, 1, 2, -1, -1]


@st.composite
def spans(draw, segment: int, *, gaps_only: bool) -> list[Span]:
    """Words (`gaps_only`: without overlap) or tokens (which may share characters, or have none) in text order."""
    found, at = [], 0
    for _ in range(draw(st.integers(0, 8))):
        start = at + draw(st.integers(0, 2))
        end = start + draw(st.integers(1 if gaps_only else 0, 4))
        found.append(Span(start, end, segment))
        at = end if gaps_only else draw(st.integers(start, end))
    return found


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

    def naive(token: Span) -> int:
        shared = [characters(token, word) for word in words]
        return shared.index(max(shared)) if any(shared) else -1

    assert words_of_tokens(tokens, words) == [naive(token) for token in tokens]


def test_a_text_without_words_leaves_every_token_without_one():
    assert words_of_tokens([Span(0, 0), Span(0, 1), Span(0, 1, 1)], []) == [-1, -1, -1]


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
