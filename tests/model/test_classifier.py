"""A classifier predicts what transformers predicts, whatever stands beside a text in its batch."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from transformers import PreTrainedModel

from expnet.errors import InputError, ModelError, NonFiniteError, UnsupportedModelError
from expnet.model import capacity
from expnet.model.capacity import batches
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding
from expnet.text.texts import Text
from tests.models import ARCHITECTURES, POSITIONS, VOCABULARY, build, save, tokenizer

TEXTS = ["A good film.", "bad", "Another long text, the first one!", "bad text"]
# float32 and another order of summation, as in test_capture.py.
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
# The same numbers in the same order, but for the last bit of a mean.
SAME = {"atol": 1e-6, "rtol": 0}


def texts(*strings: str) -> list[Text]:
    return [Text.of(string) for string in strings]


def classifier(architecture: str = "bert", *, max_length: int | None = None, **changes: Any) -> Classifier:
    return Classifier(build(architecture, **changes), tokenizer(), max_length=max_length)


class TestPredictions:
    def own_logits(self, model: PreTrainedModel, string: str) -> torch.Tensor:
        with torch.no_grad():
            return model(**tokenizer()(string, return_tensors="pt")).logits[0]

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_one_of_many_classes_gets_transformers_softmax(self, architecture):
        ours = classifier(architecture)
        prediction = ours.predict(ours.encode(texts(*TEXTS)))
        expected = torch.stack([self.own_logits(ours.model, string).softmax(-1) for string in TEXTS])
        assert_close(prediction.probabilities, expected, **CLOSE)
        assert not prediction.multi_label

    def test_independent_classes_get_transformers_sigmoid(self):
        ours = classifier(problem_type="multi_label_classification")
        prediction = ours.predict(ours.encode(texts(*TEXTS)))
        expected = torch.stack([self.own_logits(ours.model, string).sigmoid() for string in TEXTS])
        assert_close(prediction.probabilities, expected, **CLOSE)
        assert prediction.multi_label

    def test_a_single_logit_gets_its_sigmoid(self):
        ours = classifier(num_labels=1)
        prediction = ours.predict(ours.encode(texts(*TEXTS)))
        expected = torch.stack([self.own_logits(ours.model, string).sigmoid() for string in TEXTS])
        assert_close(prediction.probabilities, expected, **CLOSE)
        assert prediction.multi_label
        assert prediction.labels == ("LABEL_0",)

    def test_the_second_part_of_a_pair_gets_its_own_type(self):
        words = tokenizer(typed=True)
        model = build("bert")
        ours = Classifier(model, words)
        prediction = ours.predict(ours.encode([Text.of("A good film.", "bad text"), Text.of("good", "one")]))
        for row, pair in zip(prediction.probabilities, [("A good film.", "bad text"), ("good", "one")], strict=True):
            with torch.no_grad():
                own = model(**words(*pair, return_tensors="pt")).logits[0].softmax(-1)
            assert_close(row, own, **CLOSE)
        flat = Classifier(model, tokenizer())
        without = flat.predict(flat.encode([Text.of("A good film.", "bad text")]))
        assert (prediction.probabilities[0] - without.probabilities[0]).abs().max() > 1e-3

    def test_windows_are_averaged(self):
        """By hand: softmax of (0, ln 3) is (1/4, 3/4), of (0, 0) is (1/2, 1/2), of (ln 9, 0) is (9/10, 1/10)."""
        ours = classifier(num_labels=2, max_length=6)
        encoding = ours.encode(texts("one film text good bad", "good"))
        assert encoding.windows() == [2, 1]
        logits = torch.tensor([[0, math.log(3)], [0, 0], [math.log(9), 0]])
        expected = torch.tensor([[0.375, 0.625], [0.9, 0.1]])
        assert_close(ours.prediction(encoding, logits).probabilities, expected, **SAME)

    def test_a_long_text_gets_the_mean_of_what_its_windows_get_alone(self):
        ours = classifier(max_length=8)
        encoding = ours.encode(texts("good bad film text short long another one the first . , !", "bad"))
        assert encoding.windows() == [3, 1]
        alone = []
        for ids, mask in zip(encoding.ids, encoding.mask, strict=True):
            with torch.no_grad():
                alone.append(ours.model(input_ids=ids[mask][None]).logits[0].softmax(-1))
        expected = torch.stack([torch.stack(alone[:3]).mean(0), alone[3]])
        assert_close(ours.predict(encoding).probabilities, expected, **CLOSE)

    def test_a_blank_text_is_predicted_from_its_special_tokens(self):
        ours = classifier()
        prediction = ours.predict(ours.encode(texts("", "good")))
        assert_close(prediction.probabilities[0], self.own_logits(ours.model, "").softmax(-1), **CLOSE)


class TestInABatch:
    """What stands beside a text changes nothing: the commonest fault of attention code is a mask that is lost."""

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_a_text_gets_what_it_gets_alone(self, architecture):
        ours = classifier(architecture)
        encoding = ours.encode(texts(*TEXTS))
        assert len(set(encoding.mask.sum(1).tolist())) == len(TEXTS)
        together, prediction = ours.trace(encoding), ours.predict(encoding)
        assert_close(ours.prediction(encoding, together.logits).probabilities, prediction.probabilities, **CLOSE)
        for index, string in enumerate(TEXTS):
            single = ours.encode(texts(string))
            alone, n = ours.trace(single), single.ids.shape[1]
            assert_close(prediction.probabilities[index], ours.predict(single).probabilities[0], **CLOSE)
            assert_close(together.logits[index], alone.logits[0], **CLOSE)
            for name in ("rows", "columns"):
                padded = getattr(together, name)[index]
                assert_close(padded[..., :n], getattr(alone, name)[0], **CLOSE)
                assert (padded[..., n:] == 0).all()

    @pytest.mark.parametrize("pad", [None, "[PAD]"])
    @pytest.mark.parametrize("architecture", ["gpt2", "llama"])
    def test_a_decoder_s_own_padding_id_is_used_not_the_tokenizer_s(self, architecture, pad):
        """It finds the last token by that id; with another one it would pool padding."""
        model = build(architecture, vocab_size=len(VOCABULARY) + 1, pad_token_id=len(VOCABULARY))
        ours = Classifier(model, tokenizer(pad_token=pad))
        together = ours.predict(ours.encode(texts(*TEXTS))).probabilities
        alone = torch.cat([ours.predict(ours.encode(texts(string))).probabilities for string in TEXTS])
        assert_close(together, alone, **CLOSE)
        assert ours.support.anchor == "last"

    @pytest.mark.parametrize("architecture", ["bert", "mpnet", "llama"])
    def test_several_passes_give_what_one_gives(self, architecture, monkeypatch):
        ours = classifier(architecture)
        encoding = ours.encode(texts(*TEXTS))
        trace, prediction = ours.trace(encoding), ours.predict(encoding)
        monkeypatch.setattr(capacity, "MOST", 20)
        assert [len(part) for part in batches(encoding)] != [len(TEXTS)]
        again = ours.trace(encoding)
        assert_close(ours.predict(encoding).probabilities, prediction.probabilities, **CLOSE)
        assert_close(again.logits, trace.logits, **CLOSE)
        assert_close(again.rows, trace.rows, **CLOSE)
        assert_close(again.columns, trace.columns, **CLOSE)
        padding = ~encoding.mask[:, None, None].expand_as(again.log_rows)
        assert (again.log_rows[padding] == -math.inf).all()


def encoding_of(lengths: list[int]) -> Encoding:
    """One text read in windows of these lengths; the ids count through all of them."""
    shape = (len(lengths), max(lengths))
    mask = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    blank = torch.zeros(shape, dtype=torch.long)
    return Encoding(
        texts=(Text.of("text"),),
        text_of=torch.arange(len(lengths)),
        ids=torch.arange(blank.numel()).reshape(shape),
        mask=mask,
        special=torch.zeros(shape, dtype=torch.bool),
        offsets=torch.zeros((*shape, 2), dtype=torch.long),
        segment=blank,
        covers=torch.zeros((*shape, 2), dtype=torch.long),
        token_of=blank,
        type_ids=None,
        read=((4, 0),),
    )


class TestBatches:
    BUDGET = 8192

    @given(st.lists(st.integers(1, 512), min_size=1, max_size=80))
    def test_they_hold_all_windows_in_order_within_the_budget_and_no_fewer_than_fit(self, lengths):
        encoding = encoding_of(lengths)
        parts = list(batches(encoding))
        assert torch.cat([part.text_of for part in parts]).tolist() == list(range(len(lengths)))
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            inside = [lengths[i] for i in part.text_of.tolist()]
            assert part.ids.shape == (len(inside), max(inside))
            assert part.ids.numel() <= self.BUDGET
            assert torch.equal(part.ids, encoding.ids[part.text_of, : max(inside)])
            assert part.mask.sum(1).tolist() == inside
            if following is not None:
                longer = [*inside, lengths[int(following.text_of[0])]]
                assert max(longer) * len(longer) > self.BUDGET

    def test_a_window_beyond_the_budget_goes_alone(self):
        parts = [part.text_of.tolist() for part in batches(encoding_of([3, 9000, 3, 4, 8192, 1]))]
        assert parts == [[0], [1], [2, 3], [4], [5]]

    def test_padding_does_not_count_where_no_window_of_the_part_needs_it(self):
        """By hand: 64 windows of 128 tokens fill the budget, and the long one before them is a part of its own."""
        parts = [len(part) for part in batches(encoding_of([8000] + [128] * 65))]
        assert parts == [1, 64, 1]


class TestTheTarget:
    @pytest.fixture
    def ours(self) -> Classifier:
        return classifier(id2label={0: "negative", 1: "neutral", 2: "positive"})

    @pytest.mark.parametrize(("target", "index"), [("negative", 0), ("positive", 2), (1, 1), ("1", 1), (0, 0)])
    def test_it_is_given_by_name_or_index(self, ours, target, index):
        assert ours.target_index(target) == index

    def test_a_name_that_is_a_number_is_a_name_first(self):
        assert classifier(id2label={0: "2", 1: "1", 2: "0"}).target_index("2") == 0

    def test_a_name_that_is_nearly_right_gets_the_right_one_offered(self, ours):
        with pytest.raises(
            InputError, match=r"no class 'postive'\. Did you mean 'positive'\? Classes: 0 'negative', 1 'neu"
        ):
            ours.target_index("postive")

    @pytest.mark.parametrize("target", ["irony", 3, -1, "3", "-1"])
    def test_what_is_no_class_gets_all_classes_listed(self, ours, target):
        with pytest.raises(InputError, match=rf"no class {target!r}. Classes: 0 'negative', 1 'neutral', 2 'positive'"):
            ours.target_index(target)


class TestTheLimit:
    def test_it_is_what_the_model_has_positions_for(self):
        assert classifier().max_length == POSITIONS

    def test_it_is_less_where_positions_are_numbered_from_the_padding_id_on(self):
        """RoBERTa's 514 positions hold 512 tokens: what the limit allows runs, and one token more does not."""
        model = build("roberta", pad_token_id=1, max_position_embeddings=34)
        ours = Classifier(model, tokenizer())
        assert ours.max_length == 32
        encoding = ours.encode(texts(" ".join(["good"] * 100)))
        assert encoding.ids.shape[1] == 32
        assert ours.predict(encoding).probabilities.isfinite().all()
        with pytest.raises(IndexError, match="out of range"):
            model(input_ids=torch.full((1, 33), 5), token_type_ids=torch.zeros(1, 33, dtype=torch.long))

    def test_the_tokenizer_may_set_a_lower_one(self):
        assert Classifier(build("bert"), tokenizer(model_max_length=64)).max_length == 64
        assert Classifier(build("bert"), tokenizer(model_max_length=10_000)).max_length == POSITIONS
        assert Classifier(build("bert"), tokenizer(model_max_length=int(1e30))).max_length == POSITIONS

    def test_the_caller_may_set_a_lower_one_but_no_higher(self):
        assert classifier(max_length=100).max_length == 100
        assert classifier(max_length=POSITIONS).max_length == POSITIONS
        for wrong in (POSITIONS + 1, 0, -1):
            expected = f"max_length is {wrong}, but BertForSequenceClassification reads 1 to {POSITIONS} tokens"
            with pytest.raises(ModelError, match=expected):
                classifier(max_length=wrong)


class TestTheModelIsBorrowed:
    @pytest.mark.parametrize("method", ["predict", "trace"])
    def test_each_part_gets_its_own_mode_back(self, method):
        ours = classifier(hidden_dropout_prob=0.5)
        expected = ours.predict(ours.encode(texts(*TEXTS))).probabilities
        ours.model.train()
        ours.model.bert.encoder.layer[1].eval()
        modes = [module.training for module in ours.model.modules()]
        encoding = ours.encode(texts(*TEXTS))
        result = getattr(ours, method)(encoding)
        if method == "trace":
            result = ours.prediction(encoding, result.logits)
        assert_close(result.probabilities, expected, **CLOSE)  # without dropout
        assert [module.training for module in ours.model.modules()] == modes
        assert ours.model.config._attn_implementation == "sdpa"

    @pytest.mark.parametrize("method", ["predict", "trace"])
    def test_it_gets_it_back_also_after_an_error(self, method):
        ours = classifier()
        encoding = ours.encode(texts(*TEXTS))
        assert ours.support.backend == "fused"
        ours.model.train()

        def explode(*_: Any) -> None:
            raise OverflowError("in the last layer")

        ours.model.bert.encoder.layer[2].register_forward_pre_hook(explode)
        with pytest.raises(OverflowError, match="in the last layer"):
            getattr(ours, method)(encoding)
        assert all(module.training for module in ours.model.modules())
        assert ours.model.config._attn_implementation == "sdpa"

    def test_results_carry_no_graph_and_leave_no_gradient(self):
        ours = classifier()
        encoding = ours.encode(texts(*TEXTS))
        trace = ours.trace(encoding)
        assert not any(result.requires_grad for result in (trace.logits, trace.log_rows, trace.log_columns))
        assert not ours.predict(encoding).probabilities.requires_grad
        assert all(parameter.grad is None for parameter in ours.model.parameters())

    def test_it_may_be_asked_in_inference_mode_from_the_first_call_on(self):
        ours, same = classifier(), classifier()
        with torch.inference_mode():
            trace = ours.trace(ours.encode(texts(*TEXTS)))
        assert_close(trace.rows.clone(), same.trace(same.encode(texts(*TEXTS))).rows, **SAME)


class TestDamage:
    def test_the_texts_for_which_the_model_gives_nan_are_counted(self):
        ours = classifier()
        with torch.no_grad():
            ours.model.get_input_embeddings().weight[VOCABULARY.index("bad")] = math.nan
        encoding = ours.encode(texts("good", "a film", "bad film", "one", "bad"))
        with pytest.raises(NonFiniteError, match=r"NaN or infinity for 2 of 5 texts, first for number 2\."):
            ours.predict(encoding)
        healthy = ours.predict(ours.encode(texts("good", "a film", "one")))
        assert healthy.probabilities.isfinite().all()

    def test_a_model_that_gives_only_nan_is_refused_before_its_attention_is_read(self):
        ours = classifier()
        with torch.no_grad():
            ours.model.classifier.bias.fill_(math.inf)
        with pytest.raises(NonFiniteError, match="6 logits of 6 that are NaN or infinite"):
            ours.trace(ours.encode(texts("good")))

    def test_a_model_without_class_logits_is_refused(self):
        with pytest.raises(UnsupportedModelError, match="BertModel returns no logits"):
            _ = Classifier(build("bert").bert, tokenizer()).support


def test_it_is_loaded_with_its_name_its_labels_and_its_kind(tmp_path):
    labels = {0: "negative", 1: "neutral", 2: "positive"}
    folder = save(tmp_path / "model", build("distilbert", id2label=labels), model_max_length=32)
    ours = Classifier.from_pretrained(folder, max_length=16)
    assert (ours.name, ours.labels, ours.architecture) == (str(folder), tuple(labels.values()), "distilbert")
    assert ours.max_length == 16
    live = classifier("distilbert", id2label=labels)
    assert live.name == ""
    expected = live.predict(live.encode(texts(*TEXTS))).probabilities
    assert_close(ours.predict(ours.encode(texts(*TEXTS))).probabilities, expected, **SAME)


def test_the_tokenizer_keeps_its_own_truncation_and_padding():
    words = tokenizer()
    words("good film", truncation=True, max_length=3, padding="max_length")
    before = copy.deepcopy((words.backend_tokenizer.truncation, words.backend_tokenizer.padding))
    ours = Classifier(build("bert"), words)
    assert ours.encode(texts("good film text")).mask.sum() == 5
    assert (words.backend_tokenizer.truncation, words.backend_tokenizer.padding) == before


def test_classes_that_are_not_numbered_from_0_on_are_refused():
    model = build("bert")
    model.config.id2label = {0: "calm", 2: "angry"}
    with pytest.raises(ModelError, match=r"numbers its classes \[0, 2\]; expected 0 to 1"):
        Classifier(model, tokenizer())
