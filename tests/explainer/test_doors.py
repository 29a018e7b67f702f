"""What comes in through the doors of Python: texts and targets, read as meant or refused with what to do."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from expnet import Text
from expnet.audit.record import Asked
from expnet.batch import Settings
from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.integrations.pandas import explain_frame
from expnet.integrations.sklearn import ExpNetEstimator
from expnet.model.classifier import Classifier
from expnet.network.universal import named
from expnet.text.labels import as_target
from expnet.training.adapt import adapt
from tests.models import build, tokenizer

TEXTS = ["good film", "a bad one"]
PAIR = {"text": "good film", "text_pair": "bad text"}
REFUSED = [
    (PAIR, r"got dict: for a pair pass Text\.of\(text, pair\)"),
    (PAIR.keys(), "got dict_keys, which has no order"),
    (PAIR.items(), "got dict_items, which has no order"),
    (set(TEXTS), "got set, which has no order of its own: pass a list"),
    (pd.DataFrame({"text": TEXTS}), r"got DataFrame: pass one of its columns, or use explain_frame"),
    (b"good film", r"got bytes: decode it first"),
    (Path("texts.txt"), "read the file"),
    (None, "a list of texts, got NoneType"),
    (np.array("good film"), "a list of texts, got ndarray"),
    ([PAIR], r"Expected a string, got dict: .*Text\.of\(text, pair\)"),
    ([("good film", "bad text")], r"got tuple: .* for a pair pass Text\.of\(text, pair\)"),
    ([["good", "film"]], r"for words Text\.from_words\(words\)"),
    (np.array([TEXTS]), r"Expected a string, got ndarray: .*Text\.from_words\(words\)"),
    (pa.array(TEXTS), r"Expected a string, got StringScalar: .* with to_pylist\(\)"),
    ([TEXTS[0], None], "got NoneType: 'None'. Leave missing ones out"),
    ([TEXTS[0], float("nan")], "got float: 'nan'. Leave missing ones out"),
]
READ = [
    tuple(TEXTS),
    (text for text in TEXTS),
    np.array(TEXTS),
    np.array(TEXTS, dtype=object),
    pd.Series(TEXTS, index=[7, 3]),
    dict(enumerate(TEXTS)).values(),
    [Text.of(text) for text in TEXTS],
]

pytestmark = pytest.mark.usefixtures("unchecked")


@pytest.fixture(scope="module")
def explainer():
    return Explainer(Classifier(build("bert"), tokenizer()), named("universal/attention"))


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_no_list_of_texts_is_refused_at_every_door(explainer, given, message):
    doors = [
        lambda: explainer.explain(given),
        lambda: explainer.classifier.encode(given),
        lambda: explainer.classifier.read(given),
        lambda: adapt(explainer.classifier, named("universal/attention"), given),
    ]
    for door in doors:
        with pytest.raises(InputError, match=message):
            door()


@pytest.mark.parametrize("given", READ, ids=lambda given: type(given).__name__)
def test_ordered_collections_of_strings_are_read_as_meant(explainer, given):
    assert [explanation.text for explanation in explainer.explain(given)] == TEXTS


@pytest.mark.parametrize(("given", "message"), [case for case in REFUSED if "words" not in case[1]][:6])
def test_the_estimator_refuses_them_too(given, message):
    with pytest.raises(InputError, match=message):
        ExpNetEstimator().fit(given, [[0], [1]])


def test_words_are_no_dictionary_and_no_set():
    with pytest.raises(InputError, match="a list of words, got dict"):
        Text.from_words({"good": 1})
    with pytest.raises(InputError, match="a list of words, got set"):
        Text.from_words({"good", "film"})
    assert Text.from_words(np.array(["good", "film"])).text == "good film"


def test_a_frame_of_something_else_is_refused(explainer):
    for given in (PAIR, TEXTS, pd.Series(TEXTS)):
        with pytest.raises(InputError, match=f"Expected a pandas frame, got {type(given).__name__}"):
            explain_frame(explainer, given)


def test_strings_of_numpy_become_plain_ones():
    assert type(Text.of(np.str_("good")).text) is str


@pytest.mark.parametrize("target", [np.int64(1), np.uint8(1), torch.tensor(1), np.array(1), np.str_("LABEL_1")])
def test_whole_numbers_of_any_library_are_targets_at_every_door(explainer, target):
    assert explainer.explain("good film", target=target).label == "LABEL_1"
    assert explain_frame(explainer, pd.DataFrame({"text": TEXTS}), target=target)["label"].tolist() == ["LABEL_1"] * 2
    frame = pd.DataFrame({"text": TEXTS, "class": [target, target]})
    assert explain_frame(explainer, frame, target_column="class")["label"].tolist() == ["LABEL_1"] * 2
    for asked in (Settings(target=target), Asked(target=target)):
        assert json.loads(json.dumps(asked.target)) in (1, "LABEL_1")


@pytest.mark.parametrize("target", [True, np.True_, torch.tensor(True), 1.0, np.float32(1), [1], b"LABEL_1"])
def test_truth_values_and_fractions_are_no_targets(explainer, target):
    message = f"Expected a class by name or index, got {type(target).__name__}"
    doors = [
        lambda: explainer.explain("good film", target=target),
        lambda: as_target(target),
        lambda: Settings(target=target),
        lambda: Asked(target=target),
    ]
    for door in doors:
        with pytest.raises(InputError, match=message):
            door()
