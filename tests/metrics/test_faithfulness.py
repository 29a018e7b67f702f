"""Taking words away, against running every remainder by hand, against laws, and against ferret's definitions."""

import inspect
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from expnet.errors import InputError, OptionError
from expnet.metrics.faithfulness import (
    TENTHS,
    Curves,
    comprehensiveness,
    deletion_area,
    insertion_area,
    leave_one_out_correlation,
    leave_one_out_deltas,
    perturbation_curves,
    random_ranking,
    sufficiency,
    word_units,
)
from expnet.model.classifier import Classifier
from expnet.text.texts import Text
from expnet.text.words import Span
from tests.classifiers import tiny_classifier
from tests.linear import LinearConfig, LinearForSequenceClassification, contributions
from tests.models import build, tokenizer
from tests.tiny_tokenizers import bert_like_with_wide_tokens

# Spelled words have several tokens: "ax" is a ##x.
TEXTS = ("A good film, ax the first.", "bad", "", "one text axe short")
REPLACEMENTS = ("mask", "delete", "zero")
# Probabilities of float32 models: the same pass in another batch differs in the last digits.
CLOSE = {"rtol": 0, "atol": 1e-5}
BERT = tiny_classifier()


def encode(classifier, *texts):
    return classifier.encode([text if isinstance(text, Text) else Text.of(text) for text in texts])


def targets(encoding):
    return torch.arange(len(encoding)) % 3


def one_logit_classifier(seed):
    """Its probability grows with a sum over tokens, so that the best order to take words away is known."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LinearForSequenceClassification(LinearConfig(num_labels=1)).eval()
    return Classifier(model, tokenizer(model_max_length=128))


def probability_by_hand(encoding, row, target, gone, replacement, classifier=BERT):
    """Run one text of a classifier alone with plain transformers; `gone` holds words."""
    model, length = classifier.model, int(encoding.mask[row].sum())
    ids, covers = encoding.ids[row, :length], encoding.covers[row, :length].tolist()
    away = torch.tensor([any(word in gone for word in range(*span)) for span in covers])
    types = encoding.type_ids[row, :length]
    with torch.no_grad():
        if replacement == "delete":
            given = {"input_ids": ids[~away][None], "token_type_ids": types[~away][None]}
        elif replacement == "mask":
            given = {"input_ids": ids.masked_fill(away, classifier.mask_id)[None], "token_type_ids": types[None]}
        else:
            embedded = model.get_input_embeddings()(ids).masked_fill(away[:, None], 0)
            given = {"inputs_embeds": embedded[None], "token_type_ids": types[None]}
        return float(model(**given).logits.softmax(-1)[0, target])


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_curves_are_what_running_each_remainder_alone_gives(replacement):
    encoding, target = encode(BERT, *TEXTS), torch.tensor([0, 1, 2, 1])
    scores = random_ranking(encoding, seed=3)
    fractions = (0, 0.05, 0.35, 0.5, 1)
    curves = perturbation_curves(
        BERT, encoding, target, {"random": scores}, replacement=replacement, fractions=fractions
    )["random"]
    assert curves.words.tolist() == [8, 1, 0, 4]
    for row in (0, 1, 3):
        n = len(scores[row])
        ranked = sorted(range(n), key=lambda word, own=scores[row]: -own[word])
        for at, fraction in enumerate(fractions):
            count = max(1, round(fraction * n)) if fraction else 0
            top, rest = ranked[:count], ranked[count:]
            hand = [probability_by_hand(encoding, row, target[row], gone, replacement) for gone in (top, rest, [])]
            np.testing.assert_allclose([curves.removed[row, at], curves.kept[row, at], curves.full[row]], hand, **CLOSE)


@given(st.integers(0, 2**31), st.sampled_from(REPLACEMENTS))
@settings(max_examples=30)
def test_where_words_add_up_no_order_beats_that_of_leaving_one_out(seed, replacement):
    classifier = one_logit_classifier(seed)
    encoding = encode(classifier, "a good film, ax the first one.", "the text short")
    target = torch.zeros(2, dtype=torch.long)
    oracle = leave_one_out_deltas(classifier, encoding, target, replacement=replacement)
    scores = {str(at): random_ranking(encoding, seed=seed + at) for at in range(5)} | {"oracle": oracle}
    curves = perturbation_curves(classifier, encoding, target, scores, replacement=replacement)
    best = curves.pop("oracle")
    for other in curves.values():
        # float32 sums of the same tokens in another batch
        assert (comprehensiveness(best) >= comprehensiveness(other) - 1e-5).all()
        assert (sufficiency(best) <= sufficiency(other) + 1e-5).all()
        assert (deletion_area(best) <= deletion_area(other) + 1e-5).all()
        assert (insertion_area(best) >= insertion_area(other) - 1e-5).all()


def wide_classifier() -> Classifier:
    """A classifier whose tokenizer has tokens that cover several words."""
    wide = bert_like_with_wide_tokens(64)
    return Classifier(build("bert", vocab_size=len(wide)), wide)


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_words_of_one_token_are_taken_away_together(replacement):
    classifier = wide_classifier()
    # b ad! | good | !!! | the | 电影很好 -> five units; "bad" and "!" share a token
    encoding, target = encode(classifier, "bad! good!!! the 电影很好"), torch.tensor([1])
    words = [encoding.texts[0].word(word) for word in encoding.texts[0].words]
    assert words == ["bad", "!", "good", "!", "!", "!", "the", "电", "影", "很", "好"]
    assert word_units(encoding)[0].tolist() == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4, 4]
    scores = np.array([0.1, 0.9, 0.2, 0.0, 0.3, 0.1, 0.4, 0.5, 0.8, 0.0, 0.1])  # units: .9, .2, .3, .4, .8
    curves = perturbation_curves(
        classifier, encoding, target, {"hand": [scores]}, replacement=replacement, fractions=[0.4, 1]
    )["hand"]
    assert curves.words.tolist() == [5]
    deltas = leave_one_out_deltas(classifier, encoding, target, replacement=replacement)[0]
    units = [[0, 1], [2], [3, 4, 5], [6], [7, 8, 9, 10]]
    full = probability_by_hand(encoding, 0, 1, [], replacement, classifier)
    for unit in units:
        without = probability_by_hand(encoding, 0, 1, unit, replacement, classifier)
        np.testing.assert_allclose(deltas[unit], full - without, **CLOSE)
    top, rest = units[0] + units[4], units[1] + units[2] + units[3]
    np.testing.assert_allclose(
        [curves.removed[0, 0], curves.kept[0, 0], curves.full[0]],
        [probability_by_hand(encoding, 0, 1, gone, replacement, classifier) for gone in (top, rest, [])],
        **CLOSE,
    )


def test_a_random_ranking_takes_no_longer_unit_first():
    encoding = encode(wide_classifier(), "good!!! 电影很好")
    assert len(set(random_ranking(encoding, seed=1)[0].tolist())) == 3  # one number for a unit, not its highest


@given(st.integers(0, 2**31), st.sampled_from(REPLACEMENTS))
@settings(max_examples=30)
def test_curves_meet_at_their_ends(seed, replacement):
    encoding = encode(BERT, "A good film", "ax, bad!")
    scores = {"random": random_ranking(encoding, seed=seed)}
    curves = perturbation_curves(BERT, encoding, targets(encoding), scores, replacement=replacement)["random"]
    own = BERT.predict(encoding).probabilities.gather(1, targets(encoding)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(curves.full, own, **CLOSE)
    np.testing.assert_array_equal(curves.removed[:, 0], curves.full)
    np.testing.assert_array_equal(curves.kept[:, -1], curves.full)
    np.testing.assert_array_equal(curves.kept[:, 0], curves.removed[:, -1])


def test_a_text_alone_has_the_curve_it_has_in_a_padded_batch():
    encoding = encode(BERT, *TEXTS)
    scores = random_ranking(encoding, seed=0)
    together = perturbation_curves(BERT, encoding, targets(encoding), {"random": scores})["random"]
    for row, text in enumerate(TEXTS):
        single = encode(BERT, text)
        alone = perturbation_curves(BERT, single, targets(encoding)[row : row + 1], {"random": scores[row : row + 1]})
        np.testing.assert_allclose(alone["random"].removed[0], together.removed[row], **CLOSE)
        np.testing.assert_allclose(alone["random"].kept[0], together.kept[row], **CLOSE)


def test_several_methods_at_once_are_each_what_they_are_alone():
    encoding = encode(BERT, *TEXTS)
    scores = {str(seed): random_ranking(encoding, seed=seed) for seed in range(3)}
    together = perturbation_curves(BERT, encoding, targets(encoding), scores)
    assert list(together) == ["0", "1", "2"]
    for name, of_texts in scores.items():
        alone = perturbation_curves(BERT, encoding, targets(encoding), {name: of_texts})[name]
        np.testing.assert_allclose(alone.removed, together[name].removed, **CLOSE)
        np.testing.assert_allclose(alone.kept, together[name].kept, **CLOSE)


def test_remainders_that_methods_share_are_run_once():
    encoding, rows = encode(BERT, "a good film"), []
    scores = {
        name: [np.array(word_scores)]
        for name, word_scores in {"a": [3.0, 2, 1], "b": [9.0, 5, 0], "c": [1.0, 2, 3]}.items()
    }
    hook = BERT.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        perturbation_curves(BERT, encoding, targets(encoding), scores)
    finally:
        hook.remove()
    # Nobody, everybody, and both ends of one order: 1, 12 and, from behind, 3, 23.
    assert sum(rows) == 6


def test_of_equal_scores_the_first_words_of_the_text_go_first():
    encoding = encode(BERT, "a good film, ax")
    same, falling = [np.ones(5)], [np.arange(5.0)[::-1].copy()]
    curves = perturbation_curves(BERT, encoding, targets(encoding), {"same": same, "falling": falling})
    np.testing.assert_array_equal(curves["same"].removed, curves["falling"].removed)


def test_only_words_that_the_model_reads_count():
    short = tiny_classifier(max_length=5)
    encoding = short.encode([Text.of("good film bad text one")], truncate=True)  # reads three words
    scores = {"last": [np.arange(5.0)]}
    curves = perturbation_curves(short, encoding, targets(encoding), scores, fractions=(0.34,))["last"]
    assert curves.words.tolist() == [3]
    deltas = leave_one_out_deltas(short, encoding, targets(encoding))[0]
    assert np.isnan(deltas).tolist() == [False, False, False, True, True]
    # Of the words read, the third scores highest.
    assert curves.full[0] - curves.removed[0, 0] == pytest.approx(deltas[2], abs=1e-6)


def test_tokens_on_no_word_always_stay():
    text = Text("good film bad", None, (Span(0, 4), Span(10, 13)))
    encoding = encode(BERT, text)
    curves = perturbation_curves(
        BERT, encoding, targets(encoding), {"same": [np.ones(2)]}, replacement="mask", fractions=(1.0,)
    )["same"]
    masked = encode(BERT, "good film bad")
    assert curves.removed[0, 0] == pytest.approx(probability_by_hand(masked, 0, 0, [0, 2], "mask"), abs=1e-5)


def test_words_of_both_texts_of_a_pair_go():
    encoding = encode(BERT, Text.of("a film", "bad ax"))
    deltas = leave_one_out_deltas(BERT, encoding, targets(encoding), replacement="delete")[0]
    hand = [probability_by_hand(encoding, 0, 0, gone, "delete") for gone in ([], [0], [1], [2], [3])]
    np.testing.assert_allclose(deltas, hand[0] - np.array(hand[1:]), **CLOSE)


def test_a_text_without_words_has_no_curve_but_a_probability():
    encoding = encode(BERT, "good", "")
    scores = {"random": random_ranking(encoding, seed=0)}
    curves = perturbation_curves(BERT, encoding, targets(encoding), scores)["random"]
    assert np.isnan(np.stack([curves.removed[1], curves.kept[1]])).all()
    assert curves.full[1] == pytest.approx(probability_by_hand(encoding, 1, 1, [], "mask"), abs=1e-5)
    assert leave_one_out_deltas(BERT, encoding, targets(encoding))[1].shape == (0,)


def by_hand():
    """Two texts of four words, and one without."""
    return Curves(
        fractions=np.array([0, 0.5, 1]),
        removed=np.array([[0.9, 0.5, 0.1], [0.6, 0.7, 0.4], [np.nan] * 3]),
        kept=np.array([[0.1, 0.8, 0.9], [0.4, 0.2, 0.6], [np.nan] * 3]),
        full=np.array([0.9, 0.6, 0.3]),
        words=np.array([4, 4, 0]),
    )


def test_figures_of_curves_by_hand():
    nan = np.nan
    exact = {"rtol": 0, "atol": 1e-12}
    np.testing.assert_allclose(comprehensiveness(by_hand()), [(0.4 + 0.8) / 2, (-0.1 + 0.2) / 2, nan], **exact)
    np.testing.assert_allclose(sufficiency(by_hand()), [(0.1 + 0) / 2, (0.4 + 0) / 2, nan], **exact)
    np.testing.assert_allclose(deletion_area(by_hand()), [0.5 * (0.7 + 0.3), 0.5 * (0.65 + 0.55), nan], **exact)
    np.testing.assert_allclose(insertion_area(by_hand()), [0.5 * (0.45 + 0.85), 0.5 * (0.3 + 0.4), nan], **exact)


class TestFerret:
    """The definitions of ferret (g8a9/ferret, evaluators/faithfulness_measures.py), written again token by token."""

    TEXT = "the good film text , one bad"  # each word a token that decodes to itself

    @staticmethod
    def probability(ids):
        """ferret decodes what is left and tokenizes it again."""
        given = BERT.tokenizer(BERT.tokenizer.decode(ids), return_tensors="pt")
        with torch.no_grad():
            return float(BERT.model(**given).logits.softmax(-1)[0, 1])

    @pytest.fixture
    def case(self):
        encoding = encode(BERT, self.TEXT)
        scores = random_ranking(encoding, seed=5)
        return encoding, scores, encoding.ids[0, 1:-1].tolist()

    def test_comprehensiveness_and_sufficiency_are_ferret_s_where_all_k_are_tried(self, case):
        encoding, scores, ids = case
        n = len(ids)
        curves = perturbation_curves(
            BERT,
            encoding,
            torch.tensor([1]),
            {"random": scores},
            replacement="delete",
            fractions=[k / n for k in range(1, n + 1)],
        )["random"]
        removed, kept = [], []
        for k in range(1, n + 1):
            top = np.argsort(scores[0])[-k:]
            removed.append(self.probability([token for at, token in enumerate(ids) if at not in top]))
            kept.append(self.probability([token for at, token in enumerate(ids) if at in top]))
        baseline = self.probability(ids)
        np.testing.assert_allclose(comprehensiveness(curves), np.mean(baseline - np.array(removed)), **CLOSE)
        np.testing.assert_allclose(sufficiency(curves), np.mean(baseline - np.array(kept)), **CLOSE)

    def test_the_correlation_with_leave_one_out_is_ferret_s_taucorr_loo(self, case):
        encoding, scores, ids = case
        without = [self.probability(ids[:at] + ids[at + 1 :]) for at in range(len(ids))]
        expected = kendalltau(self.probability(ids) - np.array(without), scores[0])[0]
        deltas = leave_one_out_deltas(BERT, encoding, torch.tensor([1]), replacement="delete")
        assert leave_one_out_correlation(scores[0], deltas[0])[0] == pytest.approx(expected, abs=1e-12)


class TestLeaveOneOut:
    def test_deltas_are_what_running_without_each_word_gives(self):
        encoding, target = encode(BERT, *TEXTS), torch.tensor([0, 1, 2, 1])
        for replacement in REPLACEMENTS:
            deltas_of_texts = leave_one_out_deltas(BERT, encoding, target, replacement=replacement)
            assert [len(deltas) for deltas in deltas_of_texts] == [8, 1, 0, 4]
            for row, deltas in enumerate(deltas_of_texts):
                without = [
                    probability_by_hand(encoding, row, target[row], [word], replacement) for word in range(len(deltas))
                ]
                full = probability_by_hand(encoding, row, target[row], [], replacement)
                np.testing.assert_allclose(deltas, full - np.array(without), **CLOSE)

    @given(st.integers(0, 2**31))
    @settings(max_examples=30)
    def test_where_words_add_up_contributions_correlate_perfectly(self, seed):
        classifier = one_logit_classifier(seed)
        encoding = encode(classifier, "the good film, bad text")
        target = torch.zeros(1, dtype=torch.long)
        adds = contributions(classifier, encoding.ids, target)[0, 1:-1].numpy()
        deltas = leave_one_out_deltas(classifier, encoding, target, replacement="delete")[0]
        assert leave_one_out_correlation(adds, deltas) == pytest.approx((1, 1), abs=1e-12)
        assert leave_one_out_correlation(-adds, deltas) == pytest.approx((-1, -1), abs=1e-12)

    def test_words_without_a_delta_are_left_out(self):
        scores, deltas = np.array([4.0, 9.0, 2.0, 2.0, 1.0]), np.array([0.3, np.nan, 0.1, 0.2, 0.2])
        known = [0, 2, 3, 4]
        expected = (kendalltau(scores[known], deltas[known])[0], spearmanr(scores[known], deltas[known])[0])
        assert leave_one_out_correlation(scores, deltas) == pytest.approx(expected, abs=1e-12)
        assert np.isnan(leave_one_out_correlation(scores[:2], deltas[:2])).all()


class TestRandomRanking:
    def test_it_belongs_to_the_text_and_the_seed(self):
        batch = random_ranking(encode(BERT, *TEXTS), seed=1)
        assert [len(word_scores) for word_scores in batch] == [8, 1, 0, 4]
        for text, scores in zip(TEXTS, batch, strict=True):
            np.testing.assert_array_equal(random_ranking(encode(BERT, "good", text), seed=1)[1], scores)
        assert not np.array_equal(random_ranking(encode(BERT, *TEXTS), seed=2)[0], batch[0])

    def test_long_words_come_first_as_often_as_short_ones(self):
        encoding = encode(BERT, "film bananas")  # of 1 and 7 tokens
        first = [random_ranking(encoding, seed=seed)[0].argmax() for seed in range(1000)]
        # Three standard errors of a half; the largest of seven token scores would win 7 times in 8.
        assert np.mean(first) == pytest.approx(0.5, abs=3 * 0.5 / np.sqrt(1000))


class TestWhatIsRefused:
    def test_texts_in_several_windows(self):
        long = tiny_classifier(max_length=6)
        encoding = encode(long, "good", "one two three four five six", "bad", "one two three four five six")
        message = "2 of 4 texts are not in one window, first number 1"
        for call in (
            lambda: perturbation_curves(long, encoding, targets(encoding), {}),
            lambda: leave_one_out_deltas(long, encoding, targets(encoding)),
            lambda: random_ranking(encoding, seed=0),
        ):
            with pytest.raises(InputError, match=message):
                call()

    @pytest.mark.parametrize("fractions", [(), (0.0,), (0.5, 0.5), (0.5, 0.2), (-0.1, 0.5), (0.5, 1.1)])
    def test_fractions_that_do_not_ascend_within_the_text(self, fractions):
        encoding = encode(BERT, "good")
        with pytest.raises(InputError, match=re.escape(str(list(fractions)))):
            perturbation_curves(BERT, encoding, targets(encoding), {}, fractions=fractions)

    def test_scores_that_do_not_fit_the_words(self):
        encoding = encode(BERT, "good film", "bad")
        few, missing = [np.ones(1), np.ones(1)], [np.ones(2)]
        for wrong, counts in ((few, [1, 1]), (missing, [2])):
            with pytest.raises(
                InputError,
                match=re.escape(f"'few' do not fit the words: the first texts have [2, 1] words, but {counts}"),
            ):
                perturbation_curves(BERT, encoding, targets(encoding), {"few": wrong})
        with pytest.raises(InputError, match="1 of 2 scores are NaN"):
            perturbation_curves(BERT, encoding, targets(encoding), {"nan": [np.array([1, np.nan]), np.ones(1)]})
        with pytest.raises(InputError, match="a delta for each of 2 words, got 1"):
            inspect.unwrap(leave_one_out_correlation)(np.ones(2), np.ones(1))

    def test_areas_of_a_part_of_the_curve(self):
        encoding = encode(BERT, "good film")
        scores = {"random": random_ranking(encoding, seed=0)}
        part = perturbation_curves(BERT, encoding, targets(encoding), scores, fractions=TENTHS[1:])["random"]
        for area in (deletion_area, insertion_area):
            with pytest.raises(InputError, match=r"from 0 to 1, got one from 0\.1 to 1\.0"):
                area(part)

    def test_masking_without_a_mask_token(self):
        decoder = tiny_classifier("gpt2")
        encoding = encode(decoder, "good film")
        with pytest.raises(OptionError, match="no mask token"):
            leave_one_out_deltas(decoder, encoding, targets(encoding), replacement="mask")
