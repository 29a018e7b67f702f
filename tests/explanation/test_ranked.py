"""Several classes of one text below each other: each with its top words, or once for all if they do not differ."""

from dataclasses import replace

import pytest

from expnet.errors import InputError
from expnet.explanation import html, terminal
from expnet.explanation.result import Explanation, Word

TEXT = "Good <b>film</b>, bad lead"
PLACES = ((0, 4), (8, 12), (18, 21), (22, 26))
OUTPUTS = {"up": 0.7, "down": 0.2, "<i>side": 0.1}


def of(label, scores, **changes):
    words = tuple(Word(TEXT[a:b], a, b, 0, float(score)) for (a, b), score in zip(PLACES, scores, strict=True))
    told = Explanation(TEXT, None, words, label, OUTPUTS[label], OUTPUTS, "deeplift", signed=True, threshold=0.5)
    return replace(told, **changes)


RANKED = [of("up", (0.9, 0, -0.5, 0.1)), of("down", (-0.8, 0, 0.6, 0)), of("<i>side", (0, 0.3, 0, 0))]
FREE = [
    replace(explanation, words=RANKED[0].words, uses_target=False, signed=False, method="rollout")
    for explanation in RANKED[:2]
]


def test_each_class_has_its_top_words_in_the_order_given():
    assert terminal.plain_ranked(RANKED).splitlines() == [
        "3 classes   deeplift",
        "",
        TEXT,
        "",
        "up        70.0 %  +0.90 Good  -0.50 bad  +0.10 lead",
        "down      20.0 %  -0.80 Good  +0.60 bad",
        "<i>side   10.0 %  +0.30 film",
        "",
        "Words with + speak for their class, words with - against it.",
    ]


def test_words_that_do_not_depend_on_the_class_stand_once_and_it_is_said():
    shown = terminal.plain_ranked(FREE)
    assert "2 of 3 classes" in shown
    assert shown.count("0.90 Good") == 1
    assert "These words do not depend on the class: rollout gives the same scores" in shown
    page = html.ranked(FREE)
    assert page.count("lead</span> 0.10") == 1
    assert "do not depend on the class" in page


def test_the_text_is_shaded_for_the_first_class():
    shown = terminal.ranked(RANKED).plain
    assert 'The text is shaded for "up". Words with + speak for their class' in shown
    page = html.ranked(RANKED)
    assert "The text is shaded for &quot;up&quot;" in page or "The text is shaded for &#34;up&#34;" in page
    assert "The text is shaded" not in html.ranked(RANKED[:1])


def test_html_ranks_the_classes_and_escapes_everything():
    page = html.ranked(RANKED)
    places = [page.index(f">{amount}</td>") for amount in ("70.0 %", "20.0 %", "10.0 %")]
    assert places == sorted(places)
    assert "+0.60" in page
    assert "<i>" not in page
    assert "<b>" not in page
    assert "underlined" not in page  # a threshold would be marked in the text of the first class only


def test_calibrated_scores_say_their_scale():
    explanations = [replace(explanation, signed=False, calibrated=True) for explanation in RANKED]
    assert "Scores run from 0 to 1, on the same scale for every text and class." in terminal.plain_ranked(explanations)


@pytest.mark.parametrize(
    "explanations",
    [
        [],
        [RANKED[0], RANKED[0]],
        [RANKED[0], replace(RANKED[1], text="x")],
        [RANKED[0], replace(RANKED[1], method="x")],
    ],
)
def test_what_is_no_ranking_is_refused(explanations):
    for show in (html.ranked, terminal.plain_ranked):
        with pytest.raises(InputError, match="one text"):
            show(explanations)
