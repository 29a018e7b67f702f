"""A regression's value is shown as it is, by every front, and never taken for a probability."""

import json
from dataclasses import replace
from importlib.resources import files

import jsonschema
import pandas as pd
import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner

import expnet
from expnet import Explainer, Explanation, Text, explain_frame
from expnet.audit import record_decision, verify
from expnet.audit.dataset import record_file
from expnet.audit.pages import decision_page
from expnet.cli.app import app
from expnet.errors import BatchError, InputError
from expnet.explanation import html, terminal
from expnet.metrics.erasure import soft_erasure
from expnet.metrics.faithfulness import leave_one_out_deltas, perturbation_curves
from expnet.serve import create_app
from tests.batch_jobs import TEXTS, run, write_lines, write_parquet
from tests.browsers import Browser
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.models import build, save
from tests.studios import desk

TEXT = "the good film"
NAMES = {0: "stars", 1: "length", 2: "age"}


def stars(**changes) -> Explainer:
    """Say something near 3.7 of every text."""
    classifier = tiny_classifier(num_labels=1, problem_type="regression", id2label={0: "stars"}, **changes)
    classifier.model.classifier.bias.data.fill_(3.7)
    classifier.model.classifier.weight.data.mul_(0.1)
    return tiny_explainer(classifier)


def three() -> Explainer:
    return tiny_explainer(tiny_classifier(problem_type="regression", id2label=NAMES))


def raw(explainer: Explainer, text: str = TEXT) -> list[float]:
    """What the model itself says."""
    classifier = explainer.classifier
    with torch.no_grad():
        return classifier.model(**classifier.tokenizer(text, return_tensors="pt")).logits[0].tolist()


def test_the_output_is_the_model_s_own_and_no_probability():
    explainer = stars()
    explanation = explainer.explain(TEXT)
    assert explanation.outputs == pytest.approx({"stars": raw(explainer)[0]}, abs=1e-5)
    assert (explanation.output, explanation.label, explanation.kind) == (explanation.outputs["stars"], "stars", "value")
    for name in ("probability", "probabilities"):
        with pytest.raises(InputError, match=r"gives 'stars' the value 3\.\d+, and no probability. Read `output`"):
            getattr(explanation, name)
    prediction = explainer.classifier.predict(explainer.classifier.encode([Text.of(TEXT)]))
    assert (prediction.kind, prediction.multi_label, prediction.chosen.tolist()) == ("value", False, [0])
    with pytest.raises(InputError, match="values of a regression"):
        _ = prediction.probabilities


def test_the_value_of_a_long_text_is_the_mean_over_its_windows():
    explainer = stars(max_length=8)
    text = "good bad film one two the first"
    encoding = explainer.classifier.encode([Text.of(text)])
    assert len(encoding) > 1
    with torch.no_grad():
        expected = explainer.classifier.model(**encoding.inputs()).logits.mean()
    assert explainer.explain(text).output == pytest.approx(float(expected), abs=1e-5)


def test_of_several_outputs_the_one_to_explain_must_be_named():
    explainer = three()
    for target, name in (("length", "length"), (2, "age")):
        explanation = explainer.explain(TEXT, target=target)
        assert list(explanation.outputs.values()) == pytest.approx(raw(explainer), abs=1e-5)
        assert (explanation.label, explanation.output) == (name, explanation.outputs[name])
    calls = [
        lambda: explainer.explain(TEXT),
        lambda: explainer.explain(TEXT, method="saliency"),
        lambda: explain_frame(explainer, pd.DataFrame({"text": [TEXT]})),
        lambda: explainer.classifier.predict(explainer.classifier.encode([Text.of(TEXT)])).chosen,
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"regression with 3 outputs.* 0 'stars', 1 'length', 2 'age'"):
            call()


def test_scores_explain_the_output_as_it_is():
    explainer = stars()
    for output in ("logit", "probability"):
        explanation = explainer.explain(
            "good film", method="leave_one_out", options={"replacement": "delete", "output": output}
        )
        expected = [raw(explainer, "good film")[0] - raw(explainer, rest)[0] for rest in ("film", "good")]
        assert [word.score for word in explanation.words] == pytest.approx(expected, abs=1e-5)


def test_a_network_that_sees_gradients_explains_the_only_output_or_the_one_named():
    for explainer, target in ((stars(), None), (three(), "age")):
        gradient = Explainer(explainer.classifier, random_network(HEAD_SET))
        explanation = gradient.explain(TEXT, target=target)
        assert explanation.uses_target
        assert list(explanation.outputs.values()) == pytest.approx(raw(explainer), abs=1e-5)


def test_json_names_it_a_value_and_gives_it_back():
    explanation = stars().explain(TEXT)
    data = json.loads(explanation.to_json())
    assert (data["value"], data["values"]) == (explanation.output, {"stars": explanation.output})
    assert not {"probability", "probabilities", "output", "outputs", "kind"} & data.keys()
    assert Explanation.from_json(explanation.to_json()) == explanation


def test_pictures_show_the_value_and_no_percentage():
    explainer = three()
    explanation = replace(explainer.explain(TEXT, target="age", method="saliency"), signed=True)
    explanation = replace(explanation, output=3.70149, outputs={"stars": -1234.0, "length": 0.25, "age": 3.70149})
    for shown in (terminal.plain(explanation), terminal.render(explanation).plain):
        assert shown.startswith("age  3.701")
        assert 'Scores above 0 raise "age", scores below 0 lower it.' in shown
        assert "most probable" not in shown
        assert " %" not in shown
    page = explanation.to_html()
    for piece in (">3.701</span>", "Outputs", ">-1,234</td>", ">0.25</td>"):
        assert piece in page
    assert "Classes" not in page
    assert " %" not in page
    both = [replace(explanation, method="a"), replace(explanation, method="b", signed=False)]
    for shown in (html.side_by_side(both), terminal.plain_side_by_side(both)):
        assert "3.701" in shown
        assert " %" not in shown
        assert "speak" not in shown
    assert "blue raises &quot;age&quot; and orange lowers it" in html.side_by_side(both)


def test_a_frame_and_a_file_have_a_column_of_values(tmp_path):
    explainer = stars()
    frame = explain_frame(explainer, pd.DataFrame({"text": TEXTS}))
    assert "probability" not in frame
    assert frame["value"].tolist() == pytest.approx(
        [explanation.output for explanation in explainer.explain(TEXTS)], abs=1e-5
    )
    rows = run(explainer, write_parquet(tmp_path / "in.parquet"), tmp_path / "out", prefix="x_")
    assert [row["x_value"] for row in rows] == pytest.approx(frame["value"].tolist(), abs=1e-5)
    with pytest.raises(InputError, match="columns that are to be added: value"):
        explain_frame(explainer, pd.DataFrame({"text": ["a"], "value": [1.0]}))
    with pytest.raises(BatchError, match="holds the values of a regression"):
        record_file(tmp_path / "out")


def test_each_row_may_name_its_output_and_one_that_does_not_says_so(tmp_path):
    explainer = three()
    source = write_lines(
        tmp_path / "in.jsonl", [{"text": TEXT, "of": "age"}, {"text": TEXT, "of": None}, {"text": TEXT, "of": "stars"}]
    )
    rows = run(explainer, source, tmp_path / "out", target_column="of")
    assert [row["status"] for row in rows] == ["ok", "unknown target", "ok"]
    assert [rows[0]["value"], rows[2]["value"]] == pytest.approx([raw(explainer)[2], raw(explainer)[0]], abs=1e-5)
    assert "regression with 3 outputs" in rows[1]["error"]


def test_the_server_answers_with_values():
    explainer, several = stars(), three()
    with Browser(create_app({"one": explainer, "three": several}), base_url="http://127.0.0.1:8000") as client:
        assert client.get("/v1/models/one").json()["kind"] == "value"
        answer = client.post("/v1/models/one:explain", json={"instances": [TEXT]}).json()
        assert answer["predictions"] == [{"values": {"stars": pytest.approx(raw(explainer)[0], abs=1e-5)}}]
        assert answer["explanations"][0]["value"] == pytest.approx(raw(explainer)[0], abs=1e-5)
        predicted = client.post("/v1/models/three:predict", json={"instances": [TEXT]}).json()["predictions"]
        assert predicted == [{"values": pytest.approx(dict(zip(NAMES.values(), raw(several), strict=True)), abs=1e-5)}]
        refused = client.post("/v1/models/three:explain", json={"instances": [TEXT]})
        assert refused.status_code == 422
        assert "name the one to explain" in refused.json()["error"]
        page = client.post("/", data={"model": "one", "text": TEXT, "method": "expnet", "target": "0"}).text
        assert f">{raw(explainer)[0]:.4g}</span>" in page
        assert "that the model predicts" not in page
        assert "Faithfulness needs the probability of a class" in page


def test_the_studio_shows_the_value_and_refuses_several_outputs(tmp_path):
    from expnet.studio import create_app as studio

    explainer = stars()
    at = desk(tmp_path, explainer=explainer)
    with Browser(studio(at), base_url="http://127.0.0.1:8000") as client:
        page = client.get("/texts/2").text
    value = explainer.explain(at.texts[1].text).output
    assert f'The model says <strong dir="auto">stars</strong>, {value:.4g}.' in page
    with pytest.raises(InputError, match="regression with 3 outputs"):
        desk(tmp_path, explainer=three())


def test_a_record_of_a_decision_holds_the_value_and_can_be_computed_again():
    explainer = stars()
    record = record_decision(explainer, TEXT)
    schema = json.loads(files("expnet.audit").joinpath("decision.schema.json").read_text(encoding="utf-8"))
    data = json.loads(record.to_json())
    jsonschema.validate(data, schema)
    assert data["explanation"]["value"] == pytest.approx(raw(explainer)[0], abs=1e-5)
    assert "needs the probability of a class" in record.unchecked
    assert not record.checks
    page = decision_page(record)
    assert f"stars</strong> <span>{raw(explainer)[0]:.4g}</span>" in page
    assert "most probable" not in page
    assert " %<" not in page
    assert verify(record, explainer) == []
    moved = replace(record, explanation=replace(record.explanation, output=0.9, outputs={"stars": 0.9}))
    assert {difference.what for difference in verify(moved, explainer)} == {"value", "stars of values"}


def test_measures_of_faithfulness_are_refused_and_deltas_are_of_the_value():
    explainer = stars()
    classifier = explainer.classifier
    encoding = classifier.encode([Text.of("good film")])
    target, scores = torch.tensor([0]), {"m": [torch.tensor([1.0, 0.0]).numpy()]}
    for measure in (perturbation_curves, soft_erasure):
        with pytest.raises(InputError, match="needs the probability of a class"):
            measure(classifier, encoding, target, scores)
    (deltas,) = leave_one_out_deltas(classifier, encoding, target, replacement="delete")
    whole = raw(explainer, "good film")[0]
    assert_close(
        torch.tensor(deltas), torch.tensor([whole - raw(explainer, rest)[0] for rest in ("film", "good")]).double(),
        atol=1e-5, rtol=0,
    )  # fmt: skip


def test_the_graph_gives_the_same_values(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript (extra onnx) is not installed")
    from expnet.export import OnnxExplainer, export

    for explainer, target in ((stars(), None), (three(), "length")):
        exported = OnnxExplainer.load(export(explainer, tmp_path / f"graph{target}"))
        for text in (TEXT, "good bad " * 200):
            ours, theirs = exported.explain(text, target=target), explainer.explain(text, target=target)
            assert (ours.kind, ours.label, ours.uses_target) == ("value", theirs.label, False)
            assert ours.outputs == pytest.approx(theirs.outputs, abs=1e-4)
    with pytest.raises(InputError, match="regression with 3 outputs"):
        exported.explain(TEXT)


def test_the_command_prints_the_value(tmp_path):
    model = build("bert", num_labels=1, problem_type="regression", id2label={0: "stars"})
    folder = save(tmp_path / "model", model)
    value = raw(expnet.load(folder, device="cpu"))[0]
    result = CliRunner().invoke(app, ["explain", TEXT, "--model", str(folder)], catch_exceptions=False)
    assert result.output.startswith(f"stars  {value:.4g} ")


def test_a_saved_mlflow_model_has_the_column_in_its_signature(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="mlflow (extra mlflow) is not installed")
    from expnet.integrations.mlflow import save_model

    save_model(stars(), tmp_path / "saved")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    assert "value" in loaded.metadata.get_output_schema().input_names()
    predicted = loaded.predict(pd.DataFrame({"text": [TEXT]}))
    assert predicted["value"].tolist() == pytest.approx(raw(stars()), abs=1e-5)


def test_rise_whose_scores_are_never_negative_is_refused():
    with pytest.raises(InputError, match="rise needs the probability of a class"):
        stars().explain(TEXT, method="rise")
