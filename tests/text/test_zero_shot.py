"""Zero-shot labels are read strictly, and texts are tokenized with their hypotheses as pairs are."""

import pytest

from expnet.errors import InputError, ModelError
from expnet.text.encoding import TextTokenizer, encode
from expnet.text.hypotheses import HypothesisTokenizer
from expnet.text.prompts import as_prompt, read_prompt, save_prompt, saved_prompt
from expnet.text.texts import Text
from expnet.text.zero_shot import ZeroShot, zero_shot_of
from tests.tiny_tokenizers import SlowTokenizer, bert_like, roberta_like

ZERO_SHOT = ZeroShot(labels=["good", "a film"], hypothesis="the film is {}.")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": []}, "expected 1 to 1,000 labels, got 0"),
        ({"labels": ["a", " "]}, "label number 1 is ' '"),
        ({"labels": ["a", "b", "a"]}, "'a' comes twice"),
        ({"labels": "ab"}, "Expected a list of labels, got the string 'ab'"),
        ({"hypothesis": "It is so."}, "must hold {} once"),
        ({"hypothesis": "{} or {}"}, "must hold {} once"),
        ({"hypothesis": "{} or {label}"}, "must hold {} once"),
        ({"labels": ["a" * 10_000]}, "more than 10,000 characters"),
    ],
)
def test_labels_that_cannot_work_are_refused(fields, message):
    with pytest.raises(InputError, match=message.replace("{", r"\{")):
        ZeroShot(**{"labels": ["a", "b"]} | fields)


def test_labels_are_read_from_the_file_of_a_prompt(tmp_path):
    (tmp_path / "labels.toml").write_text('hypothesis = "the film is {}."\nlabels = ["good", "a film"]\n')
    (tmp_path / "labels.json").write_text(ZERO_SHOT.to_json())
    assert read_prompt(tmp_path / "labels.toml") == ZERO_SHOT == as_prompt(tmp_path / "labels.json")
    independent = zero_shot_of(["good", "a film"], "the film is {}.", multi_label=True)
    save_prompt(independent, tmp_path)
    assert saved_prompt(tmp_path) == independent != ZERO_SHOT
    (tmp_path / "bad.json").write_text('{"hypothesis": "{}", "labels": {"a": "b"}}')
    with pytest.raises(InputError, match="expected a list of a string"):
        read_prompt(tmp_path / "bad.json")
    with pytest.raises(InputError, match="has labels already"):
        read_prompt(tmp_path / "labels.toml", {"a": "b"})


@pytest.mark.parametrize("make", [bert_like, roberta_like])
def test_tokens_are_those_of_the_pair_and_the_hypothesis_is_special(make):
    made, texts = make(64), ["the good film", "", "unbelievable [SEP] </s>"]
    reader = HypothesisTokenizer.of(made, ZERO_SHOT)
    for text, premise in zip(texts, reader.encode_batch(texts), strict=True):
        whole = made(text, ZERO_SHOT.hypotheses[reader.longest], return_special_tokens_mask=True)
        assert premise.ids == whole.input_ids
        if make is bert_like:
            assert premise.type_ids == whole.token_type_ids
        of_text = [part == 0 for part in whole.sequence_ids()]
        assert premise.special_tokens_mask == [int(not mine) for mine in of_text]
    assert [tokens.ids for tokens in reader.encode_batch(texts[:1], add_special_tokens=False)] == [
        made("the good film", add_special_tokens=False).input_ids
    ]
    encoding = encode(TextTokenizer.of(made, reader), [Text.of("the good film")], max_length=64)
    assert int(encoding.real.sum()) == len(made("the good film", add_special_tokens=False).input_ids)


def test_what_a_tokenizer_cannot_ask_is_refused():
    with pytest.raises(ModelError, match="slow tokenizer"):
        HypothesisTokenizer.of(SlowTokenizer(), ZERO_SHOT)
    with pytest.raises(InputError, match="'good' and 'GOOD' apart"):
        HypothesisTokenizer.of(bert_like(), ZeroShot(labels=["good", "GOOD"]))
    with pytest.raises(InputError, match="ask about one text"):
        HypothesisTokenizer.of(bert_like(), ZERO_SHOT).encode_batch([("a", "b")])
