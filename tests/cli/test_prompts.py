"""A language model with a prompt explains in every command as a classifier with a head does."""

import json

import pytest
from jsonschema import validate
from starlette.testclient import TestClient

from expnet.errors import BatchError, InputError
from expnet.explainer import load
from expnet.serve import Limits, create_app
from expnet.text.prompts import Prompt
from tests import batch_jobs
from tests.audit.test_audit import SCHEMA
from tests.cli.test_cli import records, run
from tests.language_models import build, save

PROMPT = Prompt(template="Review: {text}\nGood?", labels={"good": " yes", "bad": " no way"})
TEXTS = ["the film was no", "yes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny language model on disk, and its prompt in three files."""
    folder = save(tmp_path_factory.mktemp("models"), build("llama"))
    (folder / "prompt.json").write_text(PROMPT.to_json())
    (folder / "prompt.toml").write_text(
        'template = "Review: {text}\\nGood?"\n[labels]\ngood = " yes"\nbad = " no way"\n'
    )
    (folder / "prompt.txt").write_text(PROMPT.template)
    return folder


@pytest.fixture(scope="module")
def explainer(folder):
    return load(folder, prompt=PROMPT)


@pytest.mark.parametrize(
    "options",
    [
        ["prompt.json"],
        ["prompt.toml"],
        ["prompt.txt", "--label", "good= yes", "--label", "bad= no way"],
    ],
)
def test_explain_reads_the_prompt_from_any_of_its_files(options, folder, explainer):
    name, *labels = options
    lines = run(
        "explain", *TEXTS, "--model", folder, "--prompt", folder / name, *labels, "--format", "json"
    ).splitlines()
    for line, expected in zip(map(json.loads, lines), explainer.explain(TEXTS), strict=True):
        assert line["probabilities"] == pytest.approx(dict(expected.outputs), abs=1e-5)
        assert [word["score"] for word in line["words"]] == pytest.approx(
            [word.score for word in expected.words], abs=1e-4
        )


def test_serve_takes_a_template_and_its_labels_by_the_name_of_the_model(folder, monkeypatch):
    served = {}
    monkeypatch.setattr("expnet.serve.app.create_app", lambda explainers, **_: served.update(explainers))
    monkeypatch.setattr("expnet.web.running.run", lambda *_, **__: None)
    labels = ["--label", "judge=good= yes", "--label", "judge=bad= no way"]
    run("serve", f"judge={folder}", "--prompt", f"judge={folder / 'prompt.txt'}", *labels)
    assert served["judge"].classifier.prompt == PROMPT
    with pytest.raises(InputError, match="NAME=WORD, each name once"):
        run("serve", f"judge={folder}", "--prompt", f"judge={folder / 'prompt.txt'}", "--label", "judge=good")


def test_doctor_names_the_replacement_that_methods_need_without_a_mask_token(folder, explainer):
    told = json.loads(run("doctor", folder, "--prompt", folder / "prompt.json", "--format", "json"))["model"]
    assert told["methods_that_need_options"]["leave_one_out"] == ["replacement=pad"]
    assert not {"leave_one_out", "integrated_gradients", "lime"} & told["methods_refused"].keys()
    assert "leave_one_out" not in told["methods"]  # as it is, it refuses
    assert explainer.explain(TEXTS[0], method="leave_one_out", options={"replacement": "pad"}).words


def test_a_template_in_place_of_its_file_is_refused_with_what_to_do(folder):
    with pytest.raises(InputError, match="in a file"):
        run("explain", "x", "--model", folder, "--prompt", "Review: {text} Good?", "--label", "good= yes")


def test_labels_that_cannot_be_read_are_refused(folder):
    for labels in (["good"], ["good= yes", "good= no"]):
        given = [part for label in labels for part in ("--label", label)]
        with pytest.raises(InputError, match="NAME=WORD, each name once"):
            run("explain", "x", "--model", folder, "--prompt", folder / "prompt.txt", *given)
    with pytest.raises(InputError, match="two labels or more"):
        run("explain", "x", "--model", folder, "--prompt", folder / "prompt.txt")
    with pytest.raises(InputError, match="need a prompt"):
        run("explain", "x", "--model", folder, "--label", "good= yes")


def test_a_file_is_explained_and_audited(folder, explainer, tmp_path):
    source = batch_jobs.write_lines(tmp_path / "in.jsonl", [{"text": text} for text in [*TEXTS, None]])
    run("explain-file", source, tmp_path / "out", "--model", folder, "--prompt", folder / "prompt.json")
    rows = batch_jobs.read(tmp_path / "out")
    assert [row["label"] for row in rows[:2]] == [one.label for one in explainer.explain(TEXTS)]
    with pytest.raises(BatchError, match="prompt was"):  # another prompt is another model
        run(
            *("explain-file", source, tmp_path / "out", "--model", folder, "--prompt", folder / "prompt.txt"),
            *("--label", "good= yes", "--label", "bad= no"),
        )
    with_model = ["--model", folder, "--prompt", folder / "prompt.json", "--sample", "2"]
    assert json.loads(run("audit", "file", tmp_path / "out", *with_model))["rows"] == 3


def test_a_decision_is_recorded_with_its_prompt_and_verified(folder, tmp_path):
    with_prompt = ["--model", folder, "--prompt", folder / "prompt.json"]
    run("audit", "decision", TEXTS[0], *with_prompt, "--output", tmp_path / "record.json")
    record = json.loads((tmp_path / "record.json").read_text())
    validate(record, SCHEMA)
    assert record["models"]["prompt"] == json.loads(PROMPT.to_json())
    assert "The record holds" in run("audit", "verify", tmp_path / "record.json", *with_prompt)
    (folder / "other.txt").write_text("Review: {text}\nGood")
    other = ["--prompt", folder / "other.txt", "--label", "good= yes", "--label", "bad= no way"]
    with pytest.raises(AssertionError, match="DIFFERS"):
        run("audit", "verify", tmp_path / "record.json", "--model", folder, *other)


@pytest.mark.parametrize("command", ["fit", "adapt", "trust"])
def test_an_explainer_is_made_for_a_prompt_and_keeps_it(command, folder, tmp_path):
    texts = records(tmp_path / "train.jsonl", labels=("good", "bad"))
    few = {"fit": ["--steps", "1", "--start", "nothing"], "adapt": [], "trust": []}[command]
    run(command, folder, texts, "--prompt", folder / "prompt.json", "--output", tmp_path / "made", *few)
    again = load(folder, explainer=tmp_path / "made")
    assert again.classifier.prompt == PROMPT
    assert {word.text for word in again.explain(TEXTS[0]).words} == set(TEXTS[0].split())


def test_the_page_says_what_stands_for_tokens_where_there_is_no_mask_token_and_uses_it(explainer):
    methods = ["leave_one_out", "integrated_gradients", "saliency"]
    own = {"origin": "http://testserver"}
    with TestClient(create_app({"one": explainer}, limits=Limits()), headers=own) as client:
        page = client.post("/", data={"text": TEXTS[0], "method": methods}).text
        record = client.post("/download", data={"text": TEXTS[0], "method": "leave_one_out", "format": "json"}).json()
    assert "the padding token stands in its place" in page
    assert "left out" not in page
    expected = explainer.explain(TEXTS[0], method="leave_one_out", options={"replacement": "pad"})
    scores = [word["score"] for word in record["explanations"][0]["words"]]
    assert scores == pytest.approx([word.score for word in expected.words], abs=1e-5)


def test_the_endpoint_predicts_and_explains(explainer):
    pairs = Prompt(template="{text}\n{pair}\nGood?", labels={"a": " yes", "b": " no"})
    judged = load(explainer.classifier.name, prompt=pairs)
    with TestClient(create_app({"one": explainer, "two": judged}, limits=Limits())) as client:
        predicted = client.post("/v1/models/one:predict", json={"instances": [{"text": TEXTS[0]}]})
        assert predicted.status_code == 200, predicted.text
        explained = client.post("/v1/models/two:explain", json={"instances": [{"text": "the", "pair": "no yes"}]})
        assert explained.status_code == 200, explained.text
        refused = client.post("/v1/models/two:explain", json={"instances": [{"text": "the"}]})
    expected = explainer.explain(TEXTS[0])
    assert predicted.json()["predictions"][0]["probabilities"] == pytest.approx(dict(expected.outputs), abs=1e-5)
    assert [word["text"] for word in explained.json()["explanations"][0]["words"]] == ["the", "no", "yes"]
    assert refused.status_code == 422
    assert "not a pair" in refused.text


def test_what_cannot_take_a_prompt_says_so(folder, tmp_path, explainer):
    explainer.classifier.model.save_pretrained(tmp_path / "saved")
    explainer.classifier.tokenizer.save_pretrained(tmp_path / "saved")
    pytest.importorskip("onnxscript")
    with pytest.raises(InputError, match="prompt cannot be exported"):
        run("export", tmp_path / "saved", "--output", tmp_path / "graph")
    with pytest.raises(InputError, match="knows no prompts"):
        run("speed", tmp_path / "saved")
