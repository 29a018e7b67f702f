"""Class names are strings that tell the classes apart, one for each logit."""

import json

import pandas as pd
import pytest

from expnet import Explainer, explain_frame
from expnet.audit import Asked, AuditRecord, record_decision
from expnet.audit.pages import decision_page
from expnet.errors import InputError, ModelError
from expnet.model.classifier import Classifier
from expnet.serve import create_app
from expnet.text.labels import class_index, class_names, output_index
from tests.browsers import BROWSER, Browser
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save, tokenizer


@pytest.mark.parametrize(
    ("id2label", "names"),
    [
        ({0: 0, 1: 1}, ("0", "1")),
        ({0: None, 1: 2.5, 2: True}, ("None", "2.5", "True")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ({}, ()),
    ],
)
def test_names_of_any_type_become_strings_in_the_order_of_the_logits(id2label, names):
    assert class_names(id2label) == names


@pytest.mark.parametrize(
    ("id2label", "label2id", "message"),
    [
        ({0: "A", 1: "B", 2: "A"}, None, "classes 0 and 2 have the same name, 'A'"),
        ({0: 1, 1: "1"}, None, "classes 0 and 1 have the same name, '1'"),
        ({0: "bad", 1: "good"}, {"bad": 1, "good": 0}, "by id2label class 0 is 'bad', by label2id 'bad' is class 1"),
        ({0: 0, 1: 1}, {0: 1, 1: 0}, "class 0 is '0', by label2id '0' is class 1"),
        ({1: "a", 2: "b"}, None, r"numbers its classes \[1, 2\]; expected 0 to 1"),
        ({0: "a", "0": "b"}, None, r"numbers its classes \[0\]; expected 0 to 1"),
        ({"one": "a"}, None, r"numbers its classes \['one'\]"),
        ({0.5: "a", 1.5: "b"}, None, r"numbers its classes \[0\.5, 1\.5\]"),
        ({0: "a", 1: "\ud83d"}, None, r"name of class 1, '\\ud83d', holds a lone surrogate"),
        (None, None, "id2label is None"),
        (["a", "b"], None, r"id2label is \['a', 'b'\]"),
    ],
)
def test_names_that_do_not_tell_classes_apart_are_refused(id2label, label2id, message):
    with pytest.raises(ModelError, match=message):
        class_names(id2label, label2id)


@pytest.mark.parametrize("label2id", [None, {"LABEL_0": 0, "LABEL_1": 1}, {"a": 0, "b": "1"}, {"b": 1}])
def test_a_label2id_that_says_the_same_or_nothing_of_these_names_does_no_harm(label2id):
    assert class_names({0: "a", 1: "b"}, label2id) == ("a", "b")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"]])
def test_a_name_for_each_logit_is_asked_for_when_the_model_is_taken(names):
    model = build("bert")
    model.config.id2label = dict(enumerate(names))
    with pytest.raises(ModelError, match=f"gives 3 logits, but its config names {len(names)} classes: 'a', 'b'"):
        Classifier(model, tokenizer())


def test_a_folder_whose_classes_share_a_name_is_refused(tmp_path):
    folder = save(tmp_path, build("bert"))
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "A", "1": "A", "2": "B"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"the same name, 'A'.* in config\.json"):
        Classifier.from_pretrained(folder)


def test_a_folder_whose_classes_are_numbers_works_everywhere_by_their_names(tmp_path):
    folder = save(tmp_path, build("bert", id2label={0: 2, 1: 0, 2: 1}))
    explainer: Explainer = tiny_explainer(Classifier.from_pretrained(folder))
    explanation = explainer.explain("good film", target="1")
    assert explanation.label == "1"
    assert explanation.output == explanation.outputs["1"]
    assert explanation == explainer.explain("good film", target=2)
    assert str(explanation).startswith("1  ")
    assert ">1</strong>" in explanation.to_html()
    frame = explain_frame(explainer, pd.DataFrame({"text": ["good"], "class": ["0"]}), target_column="class")
    assert frame["label"].tolist() == ["0"]


def test_numbers_as_names_reach_servers_and_records_as_strings(tmp_path):
    explainer = tiny_explainer(tiny_classifier(id2label={0: 0, 1: None, 2: 2.5}))
    with Browser(create_app({"m": explainer}), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/v1/models/m").json()["labels"] == ["0", "None", "2.5"]
        asked = {"instances": ["good film"], "target": "None"}
        (explanation,) = client.post("/v1/models/m:explain", json=asked).json()["explanations"]
        assert (explanation["label"], list(explanation["probabilities"])) == ("None", ["0", "None", "2.5"])
        assert ">2.5</option>" in client.get("/", headers=BROWSER).text
    record = record_decision(explainer, "good film", asked=Asked(target="2.5"))
    again = AuditRecord.from_json(record.to_json())
    assert (again.explanation.label, again.models["labels"]) == ("2.5", ["0", "None", "2.5"])
    assert "2.5" in decision_page(again)


def test_a_string_is_a_name_before_it_is_a_number():
    assert [class_index(("2", "0", "1"), target) for target in ("2", 2, "0")] == [0, 2, 1]
    with pytest.raises(InputError, match="no class '7'"):
        class_index(("2", "0", "1"), "7")


def test_only_a_regression_with_several_outputs_must_be_told_which():
    assert output_index(("a", "b"), None, "probability") is None
    assert output_index(("a",), None, "value") == 0
    assert output_index(("a", "b"), "b", "value") == 1
    with pytest.raises(InputError, match=r"regression with 2 outputs.*0 'a', 1 'b'"):
        output_index(("a", "b"), None, "value")


def test_a_class_without_a_problem_type_is_one_of_many_and_one_logit_a_probability():
    assert (tiny_classifier().kind, tiny_classifier().multi_label) == ("probability", False)
    one = tiny_classifier(num_labels=1)
    assert (one.kind, one.multi_label) == ("probability", True)
    value = tiny_classifier(num_labels=1, problem_type="regression")
    assert (value.kind, value.multi_label) == ("value", False)
