"""Tokens are the tokenizer's own, remember their characters, and are all read, however long the text."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers, processors
from torch import Tensor
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

from expnet.errors import InputError, ModelError, TextTooLongError
from expnet.text.encoding import Encoding, TextTokenizer, encode, pool_words
from expnet.text.texts import Text
from tests.tiny_tokenizers import SlowTokenizer, bert_like, bert_like_with_wide_tokens, gpt_like, roberta_like

BORROWED = {make.__name__: make(1_000_000) for make in (bert_like, roberta_like, gpt_like, bert_like_with_wide_tokens)}
TOKENIZERS = {name: TextTokenizer.of(tokenizer) for name, tokenizer in BORROWED.items()}
BERT, ROBERTA, GPT, WIDE = TOKENIZERS.values()

each_tokenizer = pytest.mark.parametrize("name", TOKENIZERS)
PIECES = ["the", "film", "unbelievable", "goods", "É", "字", "🇩🇪", "can't", "x", ",", "[SEP]", "</s>"]
WIDE_PIECES = ["电影很好", "x!!!", "bad!"]
RAW = st.lists(st.sampled_from([*PIECES, *WIDE_PIECES]) | st.just("  "), min_size=1, max_size=12).map(" ".join)


PAIR = st.none() | st.sampled_from(["film", "a, b", ""])  # short enough for the windows below
SOME = st.lists(st.tuples(RAW, PAIR), min_size=1, max_size=4)


def wide(tokenizer: TextTokenizer, *texts: Text) -> Encoding:
    return encode(tokenizer, texts, max_length=1_000_000)


def tokens_of(encoding: Encoding, row: int, field: str = "ids") -> list:
    """Return a column of one window without its padding."""
    return getattr(encoding, field)[row][encoding.mask[row]].tolist()


def word_of(encoding: Encoding) -> Tensor:
    """Return the word of each token, -1 where it covers none; no token may cover several."""
    first, stop = encoding.covers.unbind(-1)
    assert (stop - first <= 1).all()
    return first.masked_fill(stop == first, -1)


def letters(count: int) -> str:
    """Return so many one-token words: "a b c a b c ..."."""
    return " ".join("abcdefghij"[at % 10] for at in range(count))


@each_tokenizer
@given(RAW, st.none() | RAW)
def test_ids_and_types_are_what_the_tokenizer_itself_gives(name, text, pair):
    encoding = wide(TOKENIZERS[name], Text.of(text, pair))
    expected = BORROWED[name](text, pair)
    assert encoding.ids.tolist() == [expected["input_ids"]]
    assert set(encoding.inputs()) == set(expected)
    for field, tensor in encoding.inputs().items():
        assert tensor.tolist() == [expected[field]]


@each_tokenizer
@given(RAW, st.none() | RAW)
def test_special_flags_are_the_tokenizers_and_all_other_tokens_stand_for_characters(name, text, pair):
    encoding = wide(TOKENIZERS[name], Text.of(text, pair))
    expected = BORROWED[name](text, pair, return_special_tokens_mask=True)["special_tokens_mask"]
    assert encoding.special.int().tolist() == [expected]
    assert torch.equal(encoding.real, ~encoding.special)


def test_special_tokens_written_in_a_text_are_text():
    encoding = wide(BERT, Text.of("a [SEP] b"))
    separator = BORROWED["bert_like"].sep_token_id
    assert (encoding.ids == separator).int().tolist() == [[0, 0, 1, 0, 1]]
    assert encoding.special.int().tolist() == [[1, 0, 0, 0, 1]]
    assert encoding.offsets[0, 2].tolist() == [2, 7]
    # The words are "a", "[", "SEP", "]", "b".
    assert encoding.covers.tolist() == [[[0, 0], [0, 1], [1, 4], [4, 5], [0, 0]]]


def test_tokens_of_a_word_remember_their_characters():
    text = Text.of("The  UNbelievable film", "gOODs")
    encoding = wide(BERT, text)
    parts = [
        text.part(segment)[start:end]
        for segment, (start, end) in zip(encoding.segment[0].tolist(), encoding.offsets[0].tolist(), strict=True)
    ]
    assert parts == ["", "The", "UN", "believ", "able", "film", "", "gOOD", "s", ""]
    assert encoding.segment.tolist() == [[-1, 0, 0, 0, 0, 0, -1, 1, 1, -1]]
    assert word_of(encoding).tolist() == [[-1, 0, 1, 1, 1, 2, -1, 3, 3, -1]]
    assert encoding.token_of.tolist() == [[-1, 1, 2, 3, 4, 5, -1, 7, 8, -1]]


def test_several_tokens_on_one_character_belong_to_its_word():
    encoding = wide(ROBERTA, Text.of("x é"))  # <s> x Ġ Ã © </s>
    assert encoding.offsets.tolist() == [[[0, 0], [0, 1], [2, 2], [2, 3], [2, 3], [0, 0]]]
    assert word_of(encoding).tolist() == [[-1, 0, -1, 1, 1, -1]]


def test_a_token_that_holds_the_space_before_its_word_belongs_to_the_word():
    encoding = wide(GPT, Text.of("x film"))
    assert encoding.offsets.tolist() == [[[0, 1], [1, 6]]]
    assert word_of(encoding).tolist() == [[0, 1]]


@each_tokenizer
def test_padding_stands_on_the_right_and_says_nothing(name):
    encoding = wide(TOKENIZERS[name], Text.of("x,"), Text.of("x"))
    assert encoding.mask[0].all()
    assert encoding.mask[1].tolist() == [True] * (encoding.ids.shape[1] - 1) + [False]
    last = (1, -1)
    assert encoding.ids[last] == (BORROWED[name].pad_token_id or 0)  # some tokenizers have no padding token
    assert [int(getattr(encoding, name)[last]) for name in ("token_of", "segment")] == [-1, -1]
    assert encoding.covers[last].tolist() == [0, 0]
    assert not encoding.real[last]
    assert not encoding.special[last]


@each_tokenizer
@given(SOME, st.integers(20, 40))
def test_a_text_gets_the_same_windows_alone_and_in_a_batch(name, parts, max_length):
    texts = [Text.of(*arguments) for arguments in parts]
    together = encode(TOKENIZERS[name], texts, max_length=max_length)
    assert together.text_of.tolist() == sorted(together.text_of.tolist())
    for index, text in enumerate(texts):
        alone = encode(TOKENIZERS[name], [text], max_length=max_length)
        rows = (together.text_of == index).nonzero().flatten().tolist()
        assert together.windows()[index] == alone.windows()[0] == len(rows)
        assert together.read[index] == alone.read[0] == (len(text.text), len(text.pair or ""))
        for own, row in enumerate(rows):
            for field in ("ids", "special", "offsets", "segment", "covers", "token_of"):
                assert tokens_of(alone, own, field) == tokens_of(together, row, field)


def test_windows_by_hand():
    encoding = encode(BERT, [Text.of(letters(8))], max_length=6, overlap=1)
    assert encoding.token_of.tolist() == [
        [-1, 1, 2, 3, 4, -1],
        [-1, 4, 5, 6, 7, -1],
        [-1, 5, 6, 7, 8, -1],  # drawn back: with an overlap of one it would hold two tokens only
    ]
    assert encoding.windows() == [3]
    assert encoding.text_of.tolist() == [0, 0, 0]


def test_neighbouring_windows_share_a_quarter_by_default():
    encoding = encode(BERT, [Text.of(letters(30))], max_length=14)  # twelve tokens of the text in each
    assert [tokens_of(encoding, row, "token_of")[1] for row in range(len(encoding))] == [1, 10, 19]


@each_tokenizer
@given(RAW, PAIR, st.integers(20, 40), st.data())
def test_windows_together_hold_every_token_in_order_with_all_special_tokens(name, raw, pair, max_length, data):
    text = Text.of(raw, pair)
    whole = wide(TOKENIZERS[name], text)
    room = max_length - int(whole.special.sum()) - int((whole.segment == 1).sum())
    overlap = data.draw(st.integers(0, room - 1))
    encoding = encode(TOKENIZERS[name], [text], max_length=max_length, overlap=overlap)
    special = whole.ids[whole.special].tolist()
    seen: list[int] = []
    for row in range(len(encoding)):
        assert len(tokens_of(encoding, row)) == min(max_length, whole.ids.shape[1])
        assert encoding.ids[row][encoding.special[row]].tolist() == special
        moving = [at for at in tokens_of(encoding, row, "token_of") if at >= 0 and whole.segment[0, at] == 0]
        assert all(after == before + 1 for before, after in pairwise(moving))
        if row:
            shared = len(set(seen).intersection(moving))
            assert shared == overlap if row < len(encoding) - 1 else overlap <= shared < len(moving)
        seen += moving
    assert set(seen) == {at for at in range(whole.ids.shape[1]) if whole.segment[0, at] == 0}


@each_tokenizer
@given(RAW, PAIR, st.integers(20, 40))
def test_a_token_in_a_window_is_the_token_of_the_whole_text(name, raw, pair, max_length):
    text = Text.of(raw, pair)
    whole, encoding = wide(TOKENIZERS[name], text), encode(TOKENIZERS[name], [text], max_length=max_length)
    for field in ("ids", "offsets", "segment", "covers"):
        assert torch.equal(
            getattr(encoding, field)[encoding.real], getattr(whole, field)[0][encoding.token_of[encoding.real]]
        )


def test_of_a_pair_the_longer_part_moves_and_the_other_stays_whole():
    for text, pair in ((letters(9), "the film"), ("the film", letters(9))):
        encoding = encode(BERT, [Text.of(text, pair)], max_length=10, overlap=2)
        stays = 0 if text == "the film" else 1
        assert (encoding.segment == stays).sum(1).tolist() == [2, 2, 2]
        assert (encoding.segment == 1 - stays).sum(1).tolist() == [5, 5, 5]
        assert encoding.special.sum(1).tolist() == [3, 3, 3]
        assert encoding.type_ids is not None
        assert torch.equal(encoding.type_ids[encoding.real], encoding.segment[encoding.real])
        tokens = [encoding.token_of[row][encoding.segment[row] == 1 - stays].tolist() for row in range(3)]
        first = tokens[0][0]
        assert [[at - first for at in row] for row in tokens] == [
            [0, 1, 2, 3, 4],
            [3, 4, 5, 6, 7],
            [4, 5, 6, 7, 8],
        ]


def test_a_pair_too_long_in_both_parts_is_refused_with_its_numbers():
    with pytest.raises(TextTooLongError, match=r"pair of 12 and 11 tokens .* windows of 16.* at least 4 tokens"):
        encode(BERT, [Text.of(letters(12), letters(11))], max_length=16)


def test_the_shorter_part_may_leave_no_less_than_a_quarter_of_the_window():
    assert encode(BERT, [Text.of(letters(12), letters(9))], max_length=16).windows() == [4]  # of 16 - 3 - 9 = 4 tokens
    with pytest.raises(TextTooLongError, match="12 and 10 tokens"):
        encode(BERT, [Text.of(letters(12), letters(10))], max_length=16)


@pytest.mark.parametrize("truncate", [False, True])
@pytest.mark.parametrize("max_length", [-1, 0, 1, 2])
def test_special_tokens_that_fill_the_window_are_refused_with_the_least_that_works(max_length, truncate):
    with pytest.raises(InputError, match=f"window of {max_length} tokens .* 2 special tokens; it needs 3"):
        encode(BERT, [Text.of("the film")], max_length=max_length, truncate=truncate)


def test_the_least_window_holds_one_token_of_the_text():
    encoding = encode(BERT, [Text.of("the film")], max_length=3)
    assert word_of(encoding).tolist() == [[-1, 0, -1], [-1, 1, -1]]
    with pytest.raises(InputError, match=r"window of 3 tokens .* 3 special tokens; it needs 4"):
        encode(BERT, [Text.of("the", "film")], max_length=3)


@pytest.mark.parametrize("overlap", [-1, 4, 5])
def test_an_overlap_without_room_to_move_is_refused(overlap):
    with pytest.raises(InputError, match=rf"over 4 tokens can share 0 to 3 of them, not {overlap}\b"):
        encode(BERT, [Text.of(letters(8))], max_length=6, overlap=overlap)


def test_truncation_keeps_the_first_window_and_reports_how_far_it_read():
    text = "the film, unbelievable"
    encoding = encode(BERT, [Text.of(text), Text.of("film ")], max_length=6, truncate=True)
    assert encoding.windows() == [1, 1]
    assert word_of(encoding)[0].tolist() == [-1, 0, 1, 2, 3, -1]
    assert encoding.read == ((text.index("believable"), 0), (5, 0))


def test_truncation_cuts_the_longer_part_of_a_pair_first():
    encoding = encode(BERT, [Text.of(letters(9), "the film ")], max_length=8, truncate=True)
    assert encoding.segment.tolist() == [[-1, 0, 0, 0, -1, 1, 1, -1]]
    assert encoding.read == ((len("a b c"), len("the film ")),)  # the second part is read to its last blank
    encoding = encode(BERT, [Text.of(letters(9), letters(8))], max_length=8, truncate=True)
    assert encoding.segment.tolist() == [[-1, 0, 0, 0, -1, 1, 1, -1]]
    assert encoding.read == ((len("a b c"), len("a b")),)


def test_a_truncated_text_is_read_no_further_than_its_last_token():
    text = Text.of(letters(8))
    encoding = encode(ROBERTA, [text], max_length=7, truncate=True)  # <s> a Ġ b Ġ c </s>
    assert encoding.read == ((len("a b c"), 0),)


@pytest.mark.parametrize("text", ["", "  \n", "\u200b", "\x00"])
def test_a_blank_text_is_legal_and_has_no_words(text):
    encoding = wide(BERT, Text.of("film"), Text.of(text), Text.of(text, ""))
    assert not (word_of(encoding)[1:] >= 0).any()
    assert encoding.windows() == [1, 1, 1]
    words = pool_words(torch.ones(encoding.ids.shape), encoding)
    assert [len(of_text) for of_text in words] == [1, 0, 0]


def test_a_blank_text_without_any_token_is_refused_with_its_number():
    with pytest.raises(InputError, match="number 1 is blank"):
        wide(GPT, Text.of("film"), Text.of(""))


def test_no_text_at_all_is_refused():
    with pytest.raises(InputError, match="at least one text"):
        encode(BERT, [], max_length=16)


def test_a_slow_tokenizer_is_refused_by_name():
    with pytest.raises(ModelError, match="SlowTokenizer is a slow tokenizer"):
        TextTokenizer.of(SlowTokenizer())


@pytest.mark.parametrize("make", [bert_like, roberta_like])
def test_the_borrowed_tokenizers_settings_neither_matter_nor_change(make: Callable[[], PreTrainedTokenizerFast]):
    borrowed = make()
    borrowed.backend_tokenizer.enable_truncation(4, stride=1)
    borrowed.backend_tokenizer.enable_padding(length=9, direction="left")
    settings = borrowed.backend_tokenizer.truncation, borrowed.backend_tokenizer.padding
    encoding = wide(TextTokenizer.of(borrowed), Text.of(letters(12)))
    assert int(encoding.real.sum()) >= 12
    assert encoding.mask.all()
    assert (borrowed.backend_tokenizer.truncation, borrowed.backend_tokenizer.padding) == settings


def test_threads_agree_while_the_borrowed_tokenizer_works_for_somebody_else():
    borrowed = bert_like()
    tokenizer = TextTokenizer.of(borrowed)
    texts = [Text.of(letters(count)) for count in range(1, 60)]
    expected = encode(tokenizer, texts, max_length=16)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(encode, tokenizer, texts, max_length=16) for _ in range(8)]
        for count in range(30):
            borrowed(letters(20), truncation=True, max_length=4 + count % 5, padding="max_length")
    for future in futures:
        encoding = future.result()
        assert torch.equal(encoding.ids, expected.ids)
        assert torch.equal(word_of(encoding), word_of(expected))


def test_a_megabyte_of_text_is_read_to_its_last_word():
    text = Text.of("unbelievable, the film is good. " * 32_768)
    encoding = encode(BERT, [text], max_length=512)
    assert len(text.text) == 1024**2
    assert int(word_of(encoding).max()) == len(text.words) - 1 == 7 * 32_768 - 1
    assert int(encoding.token_of.max()) == 9 * 32_768
    assert encoding.ids.shape[1] == 512


def test_rows_are_cut_and_the_texts_stay():
    encoding = encode(ROBERTA, [Text.of("x"), Text.of(letters(9)), Text.of("y")], max_length=12)
    part = encoding.rows(1, 3, 5)
    assert torch.equal(part.ids, encoding.ids[1:3, :5])
    assert torch.equal(part.text_of, encoding.text_of[1:3])
    assert part.type_ids is None
    assert part.texts == encoding.texts


def test_pooling_by_hand():
    encoding = wide(BERT, Text.of("unbelievable film", "goods"), Text.of("film"))
    assert word_of(encoding).tolist() == [[-1, 0, 0, 0, 1, -1, 2, 2, -1], [-1, 0, *[-1] * 7]]
    scores = torch.tensor([[9.0, 0.1, 0.5, 0.2, -0.3, 9.0, -0.2, -0.1, 9.0], [9.0, 0.7, 9.0, *[9.0] * 6]])
    best = pool_words(scores, encoding)
    assert_close(best, [torch.tensor([0.5, -0.3, -0.1]), torch.tensor([0.7])], atol=0, rtol=0)  # picked, not computed
    total = pool_words(scores, encoding, pool="sum")
    # Three float32 additions of numbers below one.
    assert_close(total, [torch.tensor([0.8, -0.3, -0.3]), torch.tensor([0.7])], atol=1e-6, rtol=0)


def test_a_token_in_two_windows_counts_once_with_its_mean():
    encoding = encode(BERT, [Text.of("film unbelievable the is")], max_length=6, overlap=2)
    assert encoding.token_of.tolist() == [[-1, 1, 2, 3, 4, -1], [-1, 3, 4, 5, 6, -1]]
    scores = torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0, 0.0], [0.0, 5.0, 8.0, 7.0, 8.0, 0.0]])
    # Word 1 has the tokens 2, 3 and 4, of scores 2, (3 + 5) / 2 and (4 + 8) / 2; small whole numbers are exact.
    assert_close(pool_words(scores, encoding), [torch.tensor([1.0, 6.0, 7.0, 8.0])], atol=0, rtol=0)
    assert_close(pool_words(scores, encoding, pool="sum"), [torch.tensor([1.0, 12.0, 7.0, 8.0])], atol=0, rtol=0)


def test_a_word_beyond_the_truncated_part_scores_zero_even_where_all_scores_are_negative():
    encoding = encode(BERT, [Text.of("the film is good")], max_length=4, truncate=True)
    for pool in ("max", "sum"):
        words = pool_words(torch.full(encoding.ids.shape, -1.0), encoding, pool=pool)
        assert_close(words, [torch.tensor([-1.0, -1.0, 0.0, 0.0])], atol=0, rtol=0)


@each_tokenizer
@given(SOME, st.integers(20, 40), st.integers(0, 2**32 - 1))
def test_summing_words_keeps_the_total_over_distinct_tokens(name, parts, max_length, seed):
    texts = [Text.of(*arguments) for arguments in parts]
    encoding = encode(TOKENIZERS[name], texts, max_length=max_length)
    scores = torch.randn(encoding.ids.shape, generator=torch.Generator().manual_seed(seed))
    words = pool_words(scores, encoding, pool="sum")
    best = pool_words(scores, encoding)
    for index, text in enumerate(texts):
        tokens: dict[int, tuple[tuple[int, int, int], list[float]]] = {}
        for row, column in encoding.real.nonzero().tolist():
            if encoding.text_of[row] == index:
                place = (*encoding.offsets[row, column].tolist(), int(encoding.segment[row, column]))
                token = int(encoding.token_of[row, column])
                tokens.setdefault(token, (place, []))[1].append(float(scores[row, column]))
        most: list[list[float]] = [[] for _ in text.words]
        parts_of: list[list[float]] = [[] for _ in text.words]
        total = 0.0
        for (start, end, segment), values in tokens.values():
            mean = sum(values) / len(values)
            shared = [max(0, min(end, w.end) - max(start, w.start)) * (w.segment == segment) for w in text.words]
            for word, characters in enumerate(shared):
                if characters:
                    most[word].append(mean)
                    parts_of[word].append(mean * characters / sum(shared))
            total += mean * any(shared)
        # Below a hundred float32 additions of numbers of order one, each off by 1e-7 at most.
        assert_close(words[index].sum(), torch.tensor(total), atol=1e-4, rtol=0)
        assert_close(words[index], torch.tensor([sum(v) for v in parts_of]).float(), atol=1e-5, rtol=0)
        assert_close(best[index], torch.tensor([max(v, default=0.0) for v in most]).float(), atol=1e-6, rtol=0)


def test_every_word_that_a_token_covers_gets_its_score_or_a_share_of_it_where_scores_sum_up():
    encoding = wide(WIDE, Text.of("good!!! 电影很好", "good://"))
    # [CLS] good !!! 电影很好 [SEP] good :// [SEP]
    assert encoding.covers[0].tolist() == [[0, 0], [0, 1], [1, 4], [4, 8], [0, 0], [8, 9], [9, 12], [0, 0]]
    scores = torch.tensor([[9.0, 1.0, -3.0, 8.0, 9.0, 5.0, 6.0, 9.0]])
    (words,), (shared,) = pool_words(scores, encoding), pool_words(scores, encoding, pool="sum")
    assert words.tolist() == [1, -3, -3, -3, 8, 8, 8, 8, 5, 6, 6, 6]
    assert_close(shared, torch.tensor([1.0, -1, -1, -1, 2, 2, 2, 2, 5, 2, 2, 2]), atol=1e-6, rtol=0)


def test_words_share_a_token_by_their_characters_in_it():
    encoding = wide(WIDE, Text.of("bad!"))  # [CLS] b ad! [SEP]
    assert encoding.covers[0].tolist() == [[0, 0], [0, 1], [0, 2], [0, 0]]
    (words,) = pool_words(torch.tensor([[9.0, 1.0, 3.0, 9.0]]), encoding, pool="sum")
    assert_close(words, torch.tensor([1 + 3 * 2 / 3, 3 / 3]), atol=1e-6, rtol=0)


def test_a_token_without_characters_counts_for_the_letter_that_its_tokenizer_lost():
    tokenizer = roberta_like(64)
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.add_tokens(["<dev>"])
    encoding = wide(TextTokenizer.of(tokenizer), Text.of("<dev>x film"))
    lost = (encoding.real & (encoding.offsets[..., 0] == encoding.offsets[..., 1]))[0]
    assert lost.any()  # else the tokenizers release has mended it, and this test may go
    words = [Text.of("<dev>x film").word(word) for word in Text.of("<dev>x film").words]
    assert words == ["<", "dev", ">", "x", "film"]
    assert {tuple(span) for span in encoding.covers[0][lost].tolist()} == {(3, 4)}
