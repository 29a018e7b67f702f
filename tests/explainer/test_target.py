"""Where the words do not depend on the class, every front that takes a target says so."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from expnet import Explainer, Explanation, explain_frame, find_method, list_methods
from expnet.audit import Asked, record_decision
from expnet.audit.pages import decision_page
from expnet.cli.app import app
from expnet.explanation import html, terminal
from expnet.explanation.meaning import meaning
from expnet.integrations.transformers import TASK, register
from expnet.serve import create_app
from tests.batch_jobs import run, write_lines
from tests.browsers import Browser
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.models import build, save
from tests.studios import desk

TEXT = "the good film"
MEANING = "How likely people would mark the word as the reason; no sign; the same for every class."
NOTE = "These words do not depend on the class: expnet gives the same scores whichever class is asked for."


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def folders(explainer, tmp_path_factory):
    place = tmp_path_factory.mktemp("target")
    explainer.network.save_pretrained(place / "explainer")
    return save(place / "model", build("bert"), typed=True), place / "explainer"


@pytest.mark.parametrize("method", ["expnet", "uniform", "rollout", "saliency", "leave_one_out"])
def test_an_explanation_says_of_itself_what_its_method_declares(explainer, method):
    declared = next(candidate.uses_target for candidate in list_methods() if candidate.name == method)
    explained = [explainer.explain(TEXT, method=method, target=target) for target in (0, 1)]
    assert [explanation.uses_target for explanation in explained] == [declared, declared]
    assert (explained[0].words == explained[1].words) is not declared
    assert bool(explained[0].target_note) is not declared


def test_the_network_that_sees_gradients_depends_on_the_class(explainer):
    explanation = Explainer(explainer.classifier, random_network(HEAD_SET)).explain(TEXT, target=1)
    assert explanation.uses_target
    shown = terminal.plain(explanation)
    assert "the same for every class" not in shown
    assert MEANING.replace("the same for every class", "depends on the class") in shown


def test_the_sentence_stands_in_the_terminal_and_in_html_once(explainer):
    explanation = explainer.explain(TEXT, target=1)
    for shown in (terminal.plain(explanation), terminal.render(explanation).plain, explanation.to_html()):
        assert shown.count(MEANING) == 1
        assert NOTE not in shown, "the sentence above says it"


def test_it_says_nothing_where_there_is_only_one_class_or_no_word():
    one = tiny_explainer(tiny_classifier(num_labels=1)).explain(TEXT)
    assert (one.uses_target, one.target_note) == (False, "")
    assert "depend" not in terminal.plain(tiny_explainer(tiny_classifier()).explain(""))


def test_outputs_of_a_regression_are_not_called_classes():
    explainer = tiny_explainer(tiny_classifier(problem_type="regression"))
    assert explainer.explain(TEXT, target=0).target_note == NOTE.replace("class", "output")


def test_side_by_side_it_names_the_methods_that_it_is_about(explainer):
    methods = ("expnet", "saliency", "uniform")
    several = [explainer.explain(TEXT, method=method, target=1) for method in methods]
    told = (
        "The words of expnet, uniform do not depend on the class: these methods give the same scores whichever class "
        "is asked for."
    )
    for shown in (html.side_by_side(several), terminal.plain_side_by_side(several)):
        assert shown.count(told) == 1
        assert shown.count("depend on") == 1
    assert "The words of expnet do not depend on the class: this method gives" in html.side_by_side(several[:2])


def test_json_carries_it_and_older_json_is_read(explainer):
    explanation = explainer.explain(TEXT)
    data = json.loads(explanation.to_json())
    assert data.pop("uses_target") is False
    assert Explanation.from_json(explanation.to_json()) == explanation
    older = Explanation.from_dict(data)
    assert (older.words, older.outputs, older.uses_target) == (explanation.words, explanation.outputs, True)


def test_the_commands_say_it(folders, tmp_path):
    model, network = folders
    given = ["--model", str(model), "--explainer", str(network), "--target", "1"]
    explained = CliRunner().invoke(app, ["explain", TEXT, *given], catch_exceptions=False).output
    assert MEANING in explained
    source = write_lines(tmp_path / "in.jsonl", [{"text": TEXT}])
    saliency = meaning(find_method("saliency").measures, signed=False, uses_target=True, kind="probability", classes=3)
    asked = [(given, MEANING), (given[:-2], MEANING), ([*given, "--method", "saliency"], saliency)]
    for number, (options, told) in enumerate(asked):
        arguments = ["explain-file", str(source), str(tmp_path / f"out{number}"), *options]
        shown = CliRunner().invoke(app, arguments, catch_exceptions=False).output
        assert shown.splitlines()[-1] == told
        assert NOTE not in shown


def test_frames_and_files_have_a_column_for_it(explainer, tmp_path):
    frame = pd.DataFrame({"text": [TEXT]})
    assert explain_frame(explainer, frame, target=1)["uses_target"].tolist() == [False]
    assert explain_frame(explainer, frame, target=1, method="saliency")["uses_target"].tolist() == [True]
    (row,) = run(explainer, write_lines(tmp_path / "in.jsonl", [{"text": TEXT}]), tmp_path / "out")
    assert row["uses_target"] is False


def test_the_server_says_it_in_its_answer_and_on_its_page(explainer):
    with Browser(create_app({"m": explainer}), base_url="http://127.0.0.1:8000") as client:
        for method, uses_target in (("expnet", False), ("saliency", True)):
            asked = {"instances": [TEXT], "target": 1, "method": method}
            (explanation,) = client.post("/v1/models/m:explain", json=asked).json()["explanations"]
            assert explanation["uses_target"] is uses_target
        assert MEANING in client.post("/", data={"text": TEXT, "target": "1", "method": "expnet"}).text
        page = client.post("/", data={"text": TEXT, "target": "1", "method": ["expnet", "saliency"]}).text
        assert "The words of expnet do not depend on the class" in page


def test_the_studio_says_it_beside_the_explanation(explainer, tmp_path):
    from expnet.studio import create_app as studio

    at = desk(tmp_path, explainer=explainer)
    with Browser(studio(at), base_url="http://127.0.0.1:8000") as client:
        client.post("/texts/1", data={"words": "1", "label": "1", "seen": ""})
        client.post("/texts/1/explanation")
        assert MEANING in client.get("/texts/1?explanation=1").text


def test_a_record_of_a_decision_says_it(explainer):
    record = record_decision(explainer, TEXT, asked=Asked(target=1))
    assert record.to_dict()["explanation"]["uses_target"] is False
    assert MEANING in decision_page(record)


def test_the_pipeline_says_it_with_each_word(folders):
    from transformers import pipeline

    register()
    attribute = pipeline(TASK, model=str(folders[0]), explainer=folders[1], device="cpu")
    assert {word["uses_target"] for word in attribute(TEXT, target=1)} == {False}
    assert {word["uses_target"] for word in attribute(TEXT, target=1, method="saliency")} == {True}
