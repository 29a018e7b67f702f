"""A model of natural language inference with labels explains in every command as a classifier with a head does."""

import json

import pytest
from jsonschema import validate
from starlette.testclient import TestClient

from expnet.errors import BatchError, InputError
from expnet.explainer import load
from expnet.serve import Limits, create_app
from expnet.text.zero_shot import ZeroShot
from tests import batch_jobs
from tests.audit.test_audit import SCHEMA
from tests.cli.test_cli import records, run
from tests.models import build, save

NLI = {0: "contradiction", 1: "neutral", 2: "entailment"}
TEXTS = ["The first film was a good one!", "bad"]
LABELS = ("good", "bad")
ASKED = ["--zero-shot", "good", "--zero-shot", "bad", "--hypothesis", "This text is {}."]
ZERO_SHOT = ZeroShot(labels=LABELS, hypothesis="This text is {}.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny model on disk, and its labels in a file."""
    labels = {"id2label": NLI, "label2id": {name: number for number, name in NLI.items()}}
    folder = save(tmp_path_factory.mktemp("models"), build("bert", num_hidden_layers=1, **labels), typed=True)
    (folder / "labels.toml").write_text('hypothesis = "This text is {}."\nlabels = ["good", "bad"]\n')
    return folder


@pytest.fixture(scope="module")
def explainer(folder):
    return load(folder, zero_shot=LABELS, hypothesis="This text is {}.")


def test_explain_takes_labels_from_the_command_or_a_file(folder, explainer):
    for given in (ASKED, ["--prompt", folder / "labels.toml"]):
        lines = run("explain", *TEXTS, "--model", folder, *given, "--format", "json").splitlines()
        for line, expected in zip(map(json.loads, lines), explainer.explain(TEXTS), strict=True):
            assert line["probabilities"] == pytest.approx(dict(expected.outputs), abs=1e-5)
            assert [word["score"] for word in line["words"]] == pytest.approx(
                [word.score for word in expected.words], abs=1e-4
            )
    with pytest.raises(InputError, match="needs labels"):
        run("explain", "x", "--model", folder, "--hypothesis", "It is {}.")
    with pytest.raises(InputError, match="leave out the prompt"):
        run("explain", "x", "--model", folder, *ASKED, "--prompt", folder / "labels.toml")


def test_a_file_is_explained_and_audited(folder, explainer, tmp_path):
    source = batch_jobs.write_lines(tmp_path / "in.jsonl", [{"text": text} for text in [*TEXTS, None]])
    run("explain-file", source, tmp_path / "out", "--model", folder, *ASKED)
    rows = batch_jobs.read(tmp_path / "out")
    assert [row["label"] for row in rows[:2]] == [one.label for one in explainer.explain(TEXTS)]
    with pytest.raises(BatchError, match="prompt was"):  # other labels are another model
        run("explain-file", source, tmp_path / "out", "--model", folder, *ASKED[:-2])
    audited = json.loads(run("audit", "file", tmp_path / "out", "--model", folder, *ASKED, "--sample", "2"))
    assert audited["rows"] == 3


def test_a_decision_is_recorded_with_its_labels_and_verified(folder, tmp_path):
    run("audit", "decision", TEXTS[0], "--model", folder, *ASKED, "--output", tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text())
    validate(record, SCHEMA)
    assert record["models"]["prompt"] == json.loads(ZERO_SHOT.to_json())
    assert "The record holds" in run("audit", "verify", tmp_path / "record.json", "--model", folder, *ASKED)
    with pytest.raises(AssertionError, match="DIFFERS"):
        run("audit", "verify", tmp_path / "record.json", "--model", folder, *ASKED[:-1], "That text is {}.")


@pytest.mark.parametrize("command", ["fit", "adapt", "trust"])
@pytest.mark.parametrize("tier", ["attention", "gradient"])
def test_an_explainer_is_made_for_labels_and_keeps_them(command, tier, folder, tmp_path):
    texts = records(tmp_path / "train.jsonl", labels=LABELS)
    few = {
        "fit": ["--steps", "1", "--start", "nothing", "--tier", tier],
        "adapt": ["--tier", tier],
        "trust": ["--explainer", f"universal/{tier}"],
    }[command]
    run(command, folder, texts, *ASKED, "--output", tmp_path / "made", *few)
    again = load(folder, explainer=tmp_path / "made")
    assert again.classifier.prompt == ZERO_SHOT
    assert [word.text for word in again.explain("a good film").words] == ["a", "good", "film"]


def test_the_page_offers_no_contrast_that_would_be_refused(folder, explainer):
    plain = load(folder)
    with TestClient(create_app({"labels": explainer, "head": plain}, limits=Limits())) as client:
        pages = [
            client.get("/", params={"model": name}, headers={"accept": "text/html"}).text for name in ("labels", "head")
        ]
    assert ['id="against"' in page for page in pages] == [False, True]


def test_the_endpoint_predicts_and_explains(explainer):
    with TestClient(create_app({"one": explainer}, limits=Limits())) as client:
        predicted = client.post("/v1/models/one:predict", json={"instances": [{"text": TEXTS[0]}]})
        assert predicted.status_code == 200, predicted.text
        asked = {"instances": [{"text": TEXTS[0]}], "method": "saliency", "target": "bad"}
        explained = client.post("/v1/models/one:explain", json=asked)
        assert explained.status_code == 200, explained.text
        refused = client.post("/v1/models/one:explain", json={"instances": [{"text": "the", "pair": "bad"}]})
    expected = explainer.explain(TEXTS[0], method="saliency", target="bad")
    assert predicted.json()["predictions"][0]["probabilities"] == pytest.approx(dict(expected.outputs), abs=1e-5)
    words = explained.json()["explanations"][0]["words"]
    assert [word["score"] for word in words] == pytest.approx([word.score for word in expected.words], abs=1e-4)
    assert refused.status_code == 422
    assert "ask about one text" in refused.text


def test_serve_takes_labels_by_the_name_of_the_model(folder, monkeypatch):
    served = {}
    monkeypatch.setattr("expnet.serve.app.create_app", lambda explainers, **_: served.update(explainers))
    monkeypatch.setattr("expnet.web.running.run", lambda *_, **__: None)
    labels = ["--zero-shot", "nli=good", "--zero-shot", "nli=bad", "--hypothesis", "nli=This text is {}."]
    run("serve", f"nli={folder}", *labels)
    assert served["nli"].classifier.prompt == ZERO_SHOT
    with pytest.raises(InputError, match="NAME=LABEL"):
        run("serve", f"nli={folder}", "--zero-shot", "good")
