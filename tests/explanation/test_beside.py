"""Two models or explainers of one text stand side by side, and it is said what can be compared."""

from dataclasses import replace

import pytest

from expnet.errors import InputError
from expnet.explanation import comparison, html, terminal
from tests.explanation.test_render import METHODS, Reading, explain, printed

ONE, OTHER = (
    explain("A gripping film", [0.0, 0.8, 0.4]),
    explain("A gripping film", [0.3, 0.1, 0.9], label="bad", output=0.6, outputs={"good": 0.4, "bad": 0.6}),
)
MODELS = ("small", "large")


def shown(explanations, models=MODELS):
    return {
        "terminal": printed(terminal.side_by_side(explanations, models), width=300),
        "plain": terminal.plain_side_by_side(explanations, models),
        "html": " ".join(data for data, _ in Reading(html.side_by_side(explanations, models)).looks),
    }


def test_each_row_has_the_name_of_its_model_and_its_own_prediction():
    for name, told in shown([ONE, OTHER]).items():
        assert "expnet (small)" in told, name
        assert "expnet (large)" in told, name
        assert " ".join(told.split()).count("good 75.0 %") == 1, name
        assert " ".join(told.split()).count("bad 60.0 %") == 1, name
        assert 'They predict different classes: small "good"; large "bad".' in told, name


def test_shared_and_differing_top_words_are_named():
    for name, told in shown([ONE, OTHER]).items():
        assert 'Of the top 3 words, expnet (small) and expnet (large) share "gripping", "film"; only' in told, name
        assert 'only expnet (large) has "A".' in told, name


def test_a_word_that_comes_twice_is_named_once_or_told_apart():
    text, scores = "fun fun film fun", [0.9, 0.8, 0.7, 0.1]
    first = explain(text, scores)
    same = comparison.differences(comparison.comparable([first, first], MODELS))
    assert same == ['Of the top 3 words, expnet (small) and expnet (large) share "fun", "film".']
    other = explain(text, [0.9, 0.1, 0.7, 0.8])
    (line,) = comparison.differences(comparison.comparable([first, other], MODELS))
    assert line.endswith(
        'share "fun" (1 of 3), "film"; only expnet (small) has "fun" (2 of 3); only expnet (large) has "fun" (3 of 3).'
    )


def test_words_that_speak_for_a_class_here_and_against_it_there_are_told_apart():
    signed = explain("A gripping film", [0.1, 2.0, -1.0], signed=True, method="lime")
    other = explain("A gripping film", [0.1, 1.0, 3.0], signed=True, method="lime")
    (line,) = comparison.differences(comparison.comparable([signed, other], MODELS))
    assert line.endswith('share "A", "gripping"; of opposite signs in the two "film".')
    # Of different classes the signs say nothing about each other.
    (line,) = comparison.differences(comparison.comparable([signed, replace(other, label="bad")], MODELS))
    assert "opposite" not in line


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([ONE, ONE], "All scores are on one scale, from 0 to 1, as far as each explainer's calibration holds"),
        ([ONE, METHODS[2]], "Some rows run from 0 to 1, others have their own units: compare which words lead"),
        ([METHODS[2], METHODS[2]], "Each row has its own units: compare which words lead, not how large scores are."),
    ],
)
def test_it_is_said_whether_sizes_compare(rows, told):
    for name, line in shown(rows).items():
        assert told in line, name


def test_signs_are_about_the_class_of_their_row_where_classes_differ():
    rows = [replace(METHODS[2], label=label) for label in ("good", "bad")]
    assert "blue speaks for the class of its row and orange against it" in shown(rows)["html"]
    assert "speak for the class of its row (+)" in shown(rows)["plain"]


def test_models_of_other_classes_and_of_one_prediction_are_said_to_be_so():
    other = replace(OTHER, label="toxic", outputs={"toxic": 0.6, "fine": 0.4})
    assert (
        "The models have different classes: each row explains a class of its own model." in shown([ONE, other])["html"]
    )
    assert 'All predict "good".' in shown([ONE, ONE])["html"]
    assert comparison.predictions([ONE, ONE], ()) == ""
    regression = replace(ONE, kind="value")
    assert comparison.predictions([regression, ONE], MODELS) == ""


def test_one_model_still_needs_one_class_and_every_row_of_several_a_name():
    with pytest.raises(InputError, match="same label, got 2"):
        comparison.comparable([ONE, OTHER])
    with pytest.raises(InputError, match="the name of a model for each explanation, got 1 for 2"):
        comparison.comparable([ONE, OTHER], ["small"])
    with pytest.raises(InputError, match="same text, got 2"):
        comparison.comparable([ONE, explain("Another text", [0.1, 0.2])], MODELS)


def test_every_score_stands_in_a_table_that_needs_no_pointing():
    cells = [data for data, _ in Reading(html.side_by_side([ONE, OTHER], MODELS)).looks]
    at = cells.index("Score of every word")
    assert cells[at + 1 : at + 13] == [
        *("word", "expnet (small)", "expnet (large)"),
        *("A", "0.00", "0.30", "gripping", "0.80", "0.10", "film", "0.40", "0.90"),
    ]
    long = explain(" ".join(["w"] * 400), [0.5] * 400)
    assert "Score of every word, the first 300 of 400" in html.fragment(long)
    assert "Score of every word" not in html.side_by_side([replace(ONE, method=str(n)) for n in range(6)])
