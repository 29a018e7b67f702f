"""What a coalition of tokens is worth, against running each by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from expnet.methods.coalitions import Game, players, values
from expnet.model.classifier import Classifier
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier
from tests.models import ARCHITECTURES, build
from tests.tiny_tokenizers import gpt_like

TEXTS = ("A good film.", "ax", "one bad")
REPLACEMENTS = ("mask", "pad", "zero", "delete")


def game(classifier, *, replacement="pad", output="logit", unit="token", texts=TEXTS):
    encoding = classifier.encode([Text.of(text) for text in texts])
    target = torch.arange(len(texts)) % len(classifier.labels)
    return Game(classifier, encoding, target, players(encoding, unit), replacement, output)


def by_hand(played, row, kept):
    """Run one window alone with plain transformers; return the target's logit."""
    encoding, model = played.part, played.classifier.model
    length = int(encoding.mask[row].sum())
    ids, of = encoding.ids[row, :length], played.player_of[row, :length]
    stays = torch.tensor([player < 0 or bool(kept[player]) for player in of.tolist()])
    types = {} if encoding.type_ids is None else {"token_type_ids": encoding.type_ids[row : row + 1, :length]}
    table = model.get_input_embeddings()
    with torch.no_grad():
        if played.replacement == "delete":
            ids, types = ids[stays], {name: ids_of_type[:, stays] for name, ids_of_type in types.items()}
            if not len(ids):
                ids = torch.tensor([played.classifier.pad_id])
            mask = torch.ones(1, len(ids), dtype=torch.long)
            logits = model(input_ids=ids[None], attention_mask=mask, **types).logits
        else:
            other = {"mask": played.classifier.mask_id, "pad": played.classifier.pad_id}.get(played.replacement)
            base = torch.zeros_like(table.weight[0]) if other is None else table.weight[other]
            hook = table.register_forward_hook(lambda _m, _a, raw: torch.where(stays[:, None], raw, base))
            try:
                logits = model(input_ids=ids[None], attention_mask=torch.ones(1, length).long(), **types).logits
            finally:
                hook.remove()
    return logits[0, played.target[row]]


BERT = tiny_classifier()


@given(st.sampled_from(REPLACEMENTS), st.sampled_from(["token", "word"]), st.integers(1, 5), st.integers(0, 2**31))
def test_coalitions_of_many_windows_are_worth_what_each_is_alone(replacement, unit, count, seed):
    played = game(BERT, replacement=replacement, unit=unit)
    shape = (len(TEXTS), count, played.everyone.shape[1])
    kept = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5) & played.everyone[:, None]
    worth = values(played, kept)
    for row in range(len(TEXTS)):
        for index in range(count):
            assert_close(worth[row, index], by_hand(played, row, kept[row, index]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("replacement", ["pad", "zero", "delete"])
def test_everyone_and_nobody_on_every_architecture(architecture, replacement):
    played = game(tiny_classifier(architecture), replacement=replacement)
    ends = torch.stack([torch.zeros_like(played.everyone), played.everyone], dim=1)
    worth = values(played, ends)
    with torch.no_grad():
        own = played.classifier.model(**played.part.inputs()).logits
    assert_close(worth[:, 1], own.gather(1, played.target[:, None])[:, 0], atol=1e-4, rtol=1e-4)
    if replacement == "delete" or architecture not in ("gpt2", "llama"):
        for row in range(len(TEXTS)):
            assert_close(worth[row, 0], by_hand(played, row, ends[row, 0]), atol=1e-4, rtol=1e-4)


def test_the_same_coalition_of_a_window_is_run_once(monkeypatch):
    played, rows = game(BERT), []
    BERT.model.register_forward_pre_hook(lambda _m, _a, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True)
    try:
        values(played, played.everyone[:, None].expand(-1, 50, -1))
    finally:
        BERT.model._forward_pre_hooks.clear()
        BERT.model._forward_pre_hooks_with_kwargs.clear()
    assert sum(rows) == len(TEXTS)


@pytest.mark.parametrize("architecture", ["gpt2", "bert"])
def test_where_no_token_is_left_the_model_reads_one_padding_token(architecture):
    model = build(architecture, vocab_size=512)
    bare = Classifier(model, gpt_like())  # adds no special tokens
    played = game(bare, replacement="delete")
    assert torch.equal(played.part.real, played.part.mask)
    kept = torch.zeros(len(TEXTS), 2, played.everyone.shape[1], dtype=torch.bool)
    kept[:, 1, 0] = True
    worth = values(played, kept)
    for row in range(len(TEXTS)):
        for index in range(2):
            assert_close(worth[row, index], by_hand(played, row, kept[row, index]), atol=1e-4, rtol=1e-4)


def test_probabilities_are_softmax_or_sigmoid_where_classes_are_independent():
    single = game(BERT, output="probability")
    with torch.no_grad():
        logits = BERT.model(**single.part.inputs()).logits
    chosen = single.target[:, None]
    assert_close(values(single, single.everyone[:, None]), logits.softmax(-1).gather(1, chosen), atol=1e-5, rtol=1e-4)
    several = tiny_classifier(problem_type="multi_label_classification")
    multiple = game(several, output="probability")
    assert_close(values(multiple, multiple.everyone[:, None]), logits.sigmoid().gather(1, chosen), atol=1e-5, rtol=1e-4)


def test_players_are_tokens_or_words():
    encoding = BERT.encode([Text.of("good ax")])  # ax is spelled: a ##x
    assert players(encoding, "token").tolist() == [[-1, 0, 1, 2, -1]]
    assert players(encoding, "word").tolist() == [[-1, 0, 1, 1, -1]]


def test_tokens_of_two_texts_of_a_pair_are_different_players():
    encoding = BERT.encode([Text.of("good", "good")])
    assert players(encoding, "word").tolist() == [[-1, 0, -1, 1, -1]]
