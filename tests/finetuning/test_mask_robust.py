"""Fine-tuning on texts of which some have words masked: which ones, how many, and nothing else."""

import json
from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from expnet import FinetuneConfig, Record, Text, finetune
from expnet import finetuning as room
from expnet.errors import InputError
from expnet.finetuning import MaskedRows
from tests.models import WORDS, build, tokenizer

MASK = 4


def rows_of(count: int, words: int) -> list[dict]:
    """Rows of a special token, two tokens for each word, and a special token."""
    return [{"input_ids": [1, *range(10, 10 + 2 * words), 2], "labels": n % 2, "n": n} for n in range(count)]


def masked_rows(count: int, words: int, share: float, seed: int = 0) -> MaskedRows:
    positions = [[1 + 2 * word, 2 + 2 * word] for word in range(words)]
    return MaskedRows(rows_of(count, words), [positions] * count, mask_id=MASK, share=share, seed=seed)


def ids_of(rows: MaskedRows) -> np.ndarray:
    return np.array([rows[place]["input_ids"] for place in range(len(rows))])


class TestMaskedRows:
    @given(st.integers(1, 12), st.integers(0, 9), st.floats(0, 1), st.integers(0, 5))
    def test_whole_words_are_masked_and_nothing_else_changes(self, count, words, share, epoch):
        rows, plain = masked_rows(count, words, share), rows_of(count, words)
        rows.set_epoch(epoch)
        changed = 0
        for place, before in enumerate(plain):
            after = rows[place]
            assert after | {"input_ids": 0} == before | {"input_ids": 0}
            assert (after["input_ids"][0], after["input_ids"][-1]) == (1, 2)
            pairs = np.array(after["input_ids"][1:-1]).reshape(-1, 2)
            kept = np.array(before["input_ids"][1:-1]).reshape(-1, 2)
            assert all((got == MASK).all() or (got == was).all() for got, was in zip(pairs, kept, strict=True))
            changed += after["input_ids"] != before["input_ids"]
        assert changed <= round(share * count)

    def test_the_share_of_texts_is_exact_and_that_of_words_is_anything(self):
        hidden = (ids_of(masked_rows(2000, 50, 0.5)) == MASK)[:, 1:-1:2].mean(1)
        # Of 1,000 texts about 1 / 51 have a share so small that none of 50 words is masked.
        assert 960 <= (hidden > 0).sum() <= 1000
        drawn = np.sort(hidden[hidden > 0])
        # A uniform share: deciles at .1, .2, ... with a standard error of at most .016.
        np.testing.assert_allclose(np.quantile(drawn, np.arange(1, 10) / 10), np.arange(1, 10) / 10, atol=0.06)
        assert (ids_of(masked_rows(300, 50, 1.0)) == MASK).any(1).mean() > 0.95

    def test_every_word_is_as_likely(self):
        hidden = (ids_of(masked_rows(3000, 10, 1.0)) == MASK)[:, 1:-1:2].mean(0)
        np.testing.assert_allclose(hidden, 0.5, atol=0.05)  # six standard errors

    def test_a_draw_depends_on_seed_and_epoch_only(self):
        rows = masked_rows(40, 9, 0.5)
        first = ids_of(rows)
        rows.set_epoch(1)
        second = ids_of(rows)
        assert (first != second).any()
        rows.set_epoch(0)
        assert (ids_of(rows) == first).all()
        assert (ids_of(masked_rows(40, 9, 0.5)) == first).all()
        assert (ids_of(masked_rows(40, 9, 0.5, seed=1)) != first).any()


def records(count: int, words: int = 6) -> list[Record]:
    generator = np.random.default_rng(0)
    return [
        Record(id=str(n), text=Text.of(" ".join(generator.choice(WORDS, words))), label=str(n % 2))
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    build("bert").bert.save_pretrained(folder)
    tokenizer(typed=True).save_pretrained(folder)
    return folder


def tuned(base, output, **settings) -> dict[str, torch.Tensor]:
    finetune(base, records(16), records(8, words=5), output, FinetuneConfig(batch_size=4, max_length=16, **settings))
    return load_file(output / "model.safetensors")


def same(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


class TestFinetune:
    def test_it_masks_training_texts_anew_in_each_epoch_and_never_development_texts(self, base, tmp_path, monkeypatch):
        import transformers

        seen: dict[int, list] = {6 + 2: [], 5 + 2: []}  # training and development texts, with [CLS] and [SEP]

        class Collator(transformers.DataCollatorWithPadding):
            def __call__(self, features):
                for feature in features:
                    seen[len(feature["input_ids"])].append(tuple(feature["input_ids"]))
                return super().__call__(features)

        monkeypatch.setattr(transformers, "DataCollatorWithPadding", Collator)
        tuned(base, tmp_path / "tuned", epochs=3.0, mask_robust=0.5)
        mask = tokenizer().mask_token_id
        epochs = [seen[8][start : start + 16] for start in (0, 16, 32)]
        assert len(seen[8]) == 48
        for epoch in epochs:
            assert 4 <= sum(mask in ids for ids in epoch) <= 8
            assert all(ids.count(mask) <= 6 for ids in epoch)  # six words of a token each, between [CLS] and [SEP]
            assert all(mask not in (ids[0], ids[-1]) for ids in epoch)
        assert len({frozenset(epoch) for epoch in epochs}) == 3
        assert seen[7]
        assert all(mask not in ids for ids in seen[7])

    def test_the_seed_decides(self, base, tmp_path):
        first, again = (tuned(base, tmp_path / name, epochs=1.0, mask_robust=0.5) for name in ("a", "b"))
        assert same(first, again)

    def test_it_is_off_unless_asked_for(self, base, tmp_path, monkeypatch):
        masked = tuned(base, tmp_path / "masked", epochs=1.0, mask_robust=0.5)
        monkeypatch.setattr(room, "MaskedRows", None)
        plain = tuned(base, tmp_path / "plain", epochs=1.0)
        assert not same(plain, masked)
        assert json.loads((tmp_path / "plain/finetune.json").read_text())["config"]["mask_robust"] == 0

    @pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
    def test_a_share_is_between_0_and_1(self, base, tmp_path, share):
        with pytest.raises(InputError, match=rf"0 to 1, got mask_robust={share}"):
            tuned(base, tmp_path, mask_robust=share)

    def test_a_tokenizer_without_a_mask_token_is_refused(self, base, tmp_path):
        build("bert").bert.save_pretrained(tmp_path / "base")
        tokenizer(typed=True, mask_token=None).save_pretrained(tmp_path / "base")
        with pytest.raises(InputError, match="must have a mask token"):
            tuned(tmp_path / "base", tmp_path / "tuned", mask_robust=0.5)

    def test_a_word_is_all_of_its_tokens_in_the_text_and_in_its_pair(self):
        record = Record(id="1", text=Text.of("zoo good", "film ox"), label="0")
        tokens = tokenizer(typed=True)
        rows, _ = room._rows([record], ["0"], tokens, 16)
        (words,) = room._masked(rows, [record], tokens, FinetuneConfig(mask_robust=1.0, max_length=16)).words
        pieces = tokens.convert_ids_to_tokens(rows[0]["input_ids"])
        assert pieces == ["[CLS]", "z", "##o", "##o", "good", "[SEP]", "film", "o", "##x", "[SEP]"]
        assert words == [[1, 2, 3], [4], [6], [7, 8]]

    def test_a_word_that_was_cut_off_has_no_token(self):
        record = Record(id="1", text=Text.of("good bad film"), label="0")
        rows, _ = room._rows([record], ["0"], tokenizer(), 4)
        (words,) = room._masked(rows, [record], tokenizer(), FinetuneConfig(mask_robust=1.0, max_length=4)).words
        assert words == [[1], [2], []]

    def test_training_that_resumes_masks_what_it_would_have_masked(self, base, tmp_path, monkeypatch):
        epochs, draw, measure = list[int](), MaskedRows.set_epoch, room.figures

        def recorded(rows, epoch):
            epochs.append(epoch)
            draw(rows, epoch)

        def fail(expected, predicted):
            if epochs[-1] == 1:
                raise InputError("the power failed")
            return measure(expected, predicted)

        monkeypatch.setattr(MaskedRows, "set_epoch", recorded)
        monkeypatch.setattr(room, "figures", fail)
        settings = FinetuneConfig(batch_size=4, max_length=16, epochs=3.0, mask_robust=0.5)
        with pytest.raises(InputError, match="the power failed"):
            finetune(base, records(16), records(8), tmp_path / "tuned", settings)
        monkeypatch.setattr(room, "figures", measure)
        finetune(base, records(16), records(8), tmp_path / "tuned", settings, resume=True)
        # Each run draws those of epoch 0 as it makes its rows.
        assert [epoch for epoch, _ in groupby(epochs)] == [0, 1, 0, 1, 2]
