"""Prompts are read strictly, and texts are tokenized in them as the whole prompt is."""

import json
import re
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from expnet.errors import InputError, ModelError
from expnet.text.encoding import TextTokenizer, encode
from expnet.text.prompted import PromptTokenizer
from expnet.text.prompts import Prompt, as_prompt, read_prompt, save_prompt, saved_prompt
from expnet.text.texts import Text
from tests.language_models import tokenizer
from tests.tiny_tokenizers import SlowTokenizer

LABELS = {"unsafe": " yes", "safe": " no"}
TEXTS = ["the film was yes", "no", "", "Ärger 电影 yes\nno  the", " yes ", "."]


def metaspace():
    """Return a tokenizer like Llama's: a space is part of the next word, and put before a text but not elsewhere."""
    alphabet = ["<unk>", "<s>", "<|x|>", *(chr(n) for n in range(33, 127)), "\n", "\t", "▁", "th", "the", "▁the", "ye"]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("y", "e")]
    backend = Tokenizer(models.BPE({token: at for at, token in enumerate(alphabet)}, merges, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens([AddedToken("<s>", special=True), AddedToken("<|x|>", rstrip=True, special=True)])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


def reader(template, *, made=None, **settings):
    return PromptTokenizer.of(made or tokenizer(), Prompt(template=template, labels=LABELS, **settings))


TEMPLATES = [
    "Review: {text}\nGood?",
    "{text}",
    "the{text}the",
    "<s>{text}</s>the",
    "<|user|>\nJudge the\n{text} <|model|>",
    '{"text": "{text}"} <unk>',
    "Is {text}",
    "<|x|> {text}<|x|> the",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    "make", [tokenizer, metaspace, lambda: tokenizer(begins=False)], ids=["bytes", "space", "bare"]
)
def test_the_tokens_are_those_of_the_whole_prompt(template, make):
    made = make()
    # A special token that takes the space after it along takes that of the template, but none of the text.
    texts = [text for text in TEXTS if "<|x|>" not in template or text == text.strip() != ""]
    encoded = reader(template, made=made).encode_batch(texts)
    assert [one.ids for one in encoded] == [made(template.replace("{text}", text)).input_ids for text in texts]


def test_a_chat_is_rendered_by_the_template_of_the_tokenizer_only_when_asked_for():
    made, text = tokenizer(), "the film"
    (chat,) = reader("Good?\n{text}\n", chat=True).encode_batch([text])
    messages = [{"role": "user", "content": "Good?\nthe film"}]
    assert chat.ids == made.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    (plain,) = reader("Good?\n{text}\n").encode_batch([text])
    assert plain.ids == made("Good?\nthe film\n").input_ids
    (pair,) = reader("{text}", chat=True, reply="{pair}").encode_batch([("the film", "no")])
    messages = [{"role": "user", "content": "the film"}, {"role": "assistant", "content": "no"}]
    assert pair.ids == made.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]


def test_a_chat_without_a_template_and_one_that_hides_the_text_are_refused():
    with pytest.raises(ModelError, match="chat template is missing or fails"):
        reader("{text}", made=tokenizer(chat=False), chat=True)
    made = tokenizer()
    made.chat_template = "{{ messages[0]['content'] | upper }}"
    with pytest.raises(ModelError, match="does not show each field"):
        reader("{text}", made=made, chat=True)


def test_only_tokens_with_characters_of_the_text_stand_for_it():
    (one,) = reader("Is {text} yes").encode_batch(["the no"])
    real = [not special for special in one.special_tokens_mask]
    tokens = tokenizer().convert_ids_to_tokens(one.ids)
    # The space that " the" takes from the template makes it no less the text's.
    assert [(token, span) for token, span, is_real in zip(tokens, one.offsets, real, strict=True) if is_real] == [
        ("Ġthe", (0, 3)),
        ("Ġno", (3, 6)),
    ]
    assert tokens[:3] == ["<s>", "I", "s"]
    assert tokens[-1] == "Ġyes"
    assert [part for part, is_real in zip(one.sequence_ids, real, strict=True) if not is_real] == [None] * 4


@pytest.mark.parametrize("text", ["</s>", "yes <|model|> no <s>", "{pair} {text}", "<pad>"])
def test_markers_in_a_text_are_text(text):
    made = tokenizer()
    (one,) = reader("<|user|>{text}<|model|>", made=made).encode_batch([text])
    of_text = [token for token, special in zip(one.ids, one.special_tokens_mask, strict=True) if not special]
    assert not set(of_text) & set(made.all_special_ids)
    assert made.decode(of_text) == text
    assert [token for token, special in zip(one.ids, one.special_tokens_mask, strict=True) if special] == (
        made.convert_tokens_to_ids(["<s>", "<|user|>", "<|model|>"])
    )


def test_a_pair_goes_to_its_field_wherever_that_stands():
    prompt = Prompt(template="A: {pair} U: {text} ok?", labels=LABELS)
    words = TextTokenizer.of(tokenizer(), PromptTokenizer.of(tokenizer(), prompt))
    text = Text.of("yes no", "the film the")
    encoding = encode(words, [text], max_length=200)
    seen = {text.word(text.words[word]): set() for word in range(len(text.words))}
    for segment, (first, stop), offsets in zip(
        encoding.segment[0].tolist(), encoding.covers[0].tolist(), encoding.offsets[0].tolist(), strict=True
    ):
        for word in range(first, stop):
            span = text.words[word]
            assert span.segment == segment
            assert max(span.start, offsets[0]) < min(span.end, offsets[1])
            seen[text.word(span)].add(segment)
    assert seen == {"yes": {0}, "no": {0}, "the": {1}, "film": {1}}
    with pytest.raises(InputError, match=r"field \{pair\}, but the text is not a pair"):
        encode(words, [Text.of("yes")], max_length=200)
    with pytest.raises(InputError, match=r"no field \{pair\}"):
        reader("{text}").encode_batch([("yes", "no")])


def test_every_window_of_a_long_text_repeats_the_prompt():
    words = TextTokenizer.of(tokenizer(), reader("Review: {text}\nGood?"))
    encoding = encode(words, [Text.of("the yes no " * 20)], max_length=40)
    assert len(encoding) > 2
    fixed = tokenizer()("Review:").input_ids, tokenizer()("\nGood?", add_special_tokens=False).input_ids
    for ids, mask, special in zip(encoding.ids, encoding.mask, encoding.special, strict=True):
        row = ids[mask].tolist()
        assert row[: len(fixed[0])] == fixed[0]
        assert row[-len(fixed[1]) :] == fixed[1]
        assert int(special.sum()) == len(fixed[0]) + len(fixed[1])
    assert set(encoding.token_of[encoding.real].tolist()) == set(
        range(len(fixed[0]), len(fixed[0]) + len(torch.unique(encoding.token_of[encoding.real])))
    )


@pytest.mark.parametrize(
    ("template", "labels", "tokens"),
    [
        ("Good?{text}", LABELS, [["Ġyes"], ["Ġno"]]),
        ("{text}\nGood:", {"a": " yes", "b": " not"}, [["Ġyes"], ["Ġno", "t"]]),
        ("{text}<|model|>", {"a": "yes", "b": "no"}, [["yes"], ["no"]]),
    ],
)
def test_a_word_has_the_tokens_by_which_it_continues_the_prompt(template, labels, tokens):
    made = tokenizer()
    of_labels = PromptTokenizer.of(made, Prompt(template=template, labels=labels)).label_tokens()
    assert [made.convert_ids_to_tokens(ids) for ids in of_labels] == tokens


def test_words_that_cannot_follow_the_prompt_are_refused():
    with pytest.raises(InputError, match="merges with the end of the prompt, 'text th'"):
        PromptTokenizer.of(tokenizer(), Prompt(template="{text} th", labels={"a": "e", "b": "f"})).label_tokens()
    with pytest.raises(InputError, match="does not know the word 'é'"):
        PromptTokenizer.of(metaspace(), Prompt(template="{text}:", labels={"a": "é", "b": "f"})).label_tokens()
    with pytest.raises(ModelError, match="slow tokenizer"):
        PromptTokenizer.of(SlowTokenizer(), Prompt(template="{text}", labels=LABELS))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"template": "Good?"}, r"lacks \{text\}"),
        ({"template": "{text} {text}"}, r"holds \{text\} 2 times"),
        ({"template": "{text} {pairs}"}, r"unknown field \{pairs\}.*pair"),
        ({"labels": {"a": " yes"}}, "two labels or more"),
        ({"labels": {"a": " yes", "b": ""}}, "'b' has no word"),
        ({"labels": {"a": " yes", "b": " yes"}}, "'a' and 'b' have the same word, ' yes'"),
        ({"reply": "{pair}"}, "set chat as well"),
    ],
)
def test_a_prompt_that_cannot_work_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Prompt(**{"template": "{text}", "labels": LABELS} | fields)


TOML = 'template = "Is {text} bad?"\nchat = true\n[labels]\nunsafe = " yes"\nsafe = " no"\n'


def test_a_prompt_is_read_from_toml_json_and_plain_text(tmp_path):
    expected = Prompt(template="Is {text} bad?", labels=LABELS, chat=True)
    (tmp_path / "prompt.toml").write_text(TOML)
    (tmp_path / "prompt.json").write_text(expected.to_json())
    (tmp_path / "prompt.txt").write_text("Is {text} bad?", encoding="utf-8-sig")
    assert read_prompt(tmp_path / "prompt.toml") == expected
    assert read_prompt(tmp_path / "prompt.json") == expected
    assert as_prompt(tmp_path / "prompt.txt", LABELS) == Prompt(template="Is {text} bad?", labels=LABELS)
    assert as_prompt("Is {text} bad?", LABELS) == Prompt(template="Is {text} bad?", labels=LABELS)
    assert as_prompt(None) is None
    save_prompt(expected, tmp_path)
    assert saved_prompt(tmp_path) == expected
    assert saved_prompt(tmp_path / "elsewhere") is saved_prompt(None) is None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", TOML + "[x]\ny = 1\n", r"unknown fields \['x'\]"),
        ("a.toml", TOML.replace("true", '"yes"'), "chat='yes', expected true or false"),
        ("a.toml", TOML.replace('" no"', "0"), "labels=.*expected an object of a string"),
        ("a.toml", "template = ", "not valid TOML"),
        ("a.json", '{"template": "{text}", "template": "{text}"}', "twice"),
        ("a.json", "[]", "expected an object, got a list"),
        ("a.json", json.dumps({"labels": LABELS}), "lacks"),
        ("a.txt", "{text}", "two labels or more"),
        ("a.txt", b"\xff{text}", "not UTF-8: byte 0"),
        ("a.txt", "{text}" + " " * 1_000_000, "more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_prompt_is_refused(name, content, message, tmp_path):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_prompt(file)


@pytest.mark.parametrize("name", ["llama-guard-3", "granite-guardian", "qwen3guard"])
def test_a_guard_model_is_prompted_by_its_name(name):
    """Its own chat template gets the message alone, or the message and the answer; only the labels are ours."""
    alone, reply = as_prompt(name), as_prompt(Path(name) / "reply")
    assert (alone.chat, alone.pairs, alone.messages) == (True, False, [{"role": "user", "content": "{text}"}])
    assert reply.pairs
    assert reply.messages == [*alone.messages, {"role": "assistant", "content": "{pair}"}]
    assert reply.labels == alone.labels
    with pytest.raises(InputError, match="has labels already"):
        as_prompt(name, LABELS)


@pytest.mark.parametrize("policy", ["dangerous", "harassment", "hate", "sexual"])
def test_a_guard_model_of_one_policy_at_a_time_has_a_template_for_each(policy):
    """As its makers document them: the message alone by what a prompt must not contain, or with the answer to it."""
    alone, reply = as_prompt(f"shieldgemma-{policy}"), as_prompt(f"shieldgemma-{policy}/reply")
    assert (alone.chat, alone.pairs, reply.chat, reply.pairs) == (False, False, False, True)
    assert "<start_of_turn>\nHuman Question: {text}\n<end_of_turn>\n\nOur safety principle" in alone.template
    assert "<start_of_turn>\nChatbot Response: {pair}\n<end_of_turn>\n\nOur safety principle" in reply.template
    assert f'* "No {policy[:3].capitalize()}' in alone.template
    assert "The prompt shall not contain or seek generation of content that" in alone.template
    assert "The chatbot shall not generate content that" in reply.template
    for prompt in (alone, reply):
        assert not {"POLICY", "RULE"} & set(re.findall("[A-Z]{4,}", prompt.template))
        assert prompt.labels == {"violation": "Yes", "no violation": "No"}


def test_a_guard_model_that_is_not_known_is_no_file_either():
    with pytest.raises(InputError, match=r"llama-guard cannot be read.*Did you mean 'llama-guard-3'"):
        as_prompt(Path("llama-guard"))


def test_labels_are_given_once_and_with_a_prompt(tmp_path):
    file = tmp_path / "prompt.toml"
    file.write_text(TOML)
    with pytest.raises(InputError, match="has labels already"):
        as_prompt(file, LABELS)
    with pytest.raises(InputError, match="has labels already"):
        as_prompt(read_prompt(file), LABELS)
    with pytest.raises(InputError, match="need a prompt"):
        as_prompt(None, LABELS)
    with pytest.raises(InputError, match=r"nothing.txt cannot be read"):
        read_prompt(Path("nothing.txt"))
