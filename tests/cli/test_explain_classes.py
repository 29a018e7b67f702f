"""`--target all` and `--against` on the command line."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app
from expnet.errors import ExpnetError, InputError
from tests.batch_jobs import read, write_lines
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save

TEXT = "the good film"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save(root / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(root / "explainer")
    return ["--model", str(root / "classifier"), "--explainer", str(root / "explainer")]


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ExpnetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_has_a_line_for_each_class_the_most_probable_first(folders):
    lines = run("explain", TEXT, "bad", *folders, "--target", "all", "--method", "saliency", "--format", "json")
    told = [expnet.Explanation.from_json(line) for line in lines.splitlines()]
    direct = expnet.load(folders[1], explainer=folders[3]).explain([TEXT, "bad"], target="all", method="saliency")
    assert [(one.text, one.label) for one in told] == [(one.text, one.label) for ranked in direct for one in ranked]
    expected = [word.score for ranked in direct for one in ranked for word in one.words]
    assert [word.score for one in told for word in one.words] == pytest.approx(expected, abs=1e-5)


def test_the_terminal_and_a_page_rank_the_classes_for_each_method(folders, tmp_path):
    asked = [
        "explain",
        TEXT,
        *folders,
        "--target",
        "all",
        "--classes",
        "2",
        "--method",
        "saliency",
        "--method",
        "expnet",
    ]
    shown = run(*asked)
    assert shown.count("2 of 3 classes") == 2
    assert shown.count("the same for every class") == 1
    assert shown.count("depends on the class") == 1
    run(*asked, "--format", "html", "--output", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("2 of 3 classes</strong>") == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--target", "all", "--against", "1"], "each class by itself"),
        (["--classes", "2"], "--classes says"),
        (["--target", "1", "--classes", "2"], "--classes says"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_loaded(asked, message):
    with pytest.raises(InputError, match=message):
        run("explain", TEXT, "--model", "no such model", *asked)


def test_files_take_a_contrast(folders, tmp_path):
    source = write_lines(
        tmp_path / "in.jsonl", [{"text": TEXT, "class": 2}, {"text": "bad", "class": 1}, {"text": "a"}]
    )
    given = ["explain-file", source, tmp_path / "out", *folders, "--method", "saliency"]
    run(*given, "--target-column", "class", "--against", "1")
    rows = read(tmp_path / "out")
    assert [row["status"] for row in rows] == ["ok", "unknown target", "unknown target"]
    assert "two classes to contrast" in rows[1]["error"]
    explainer = expnet.load(folders[1], explainer=folders[3])
    direct = explainer.explain(TEXT, target=2, against=1, method="saliency")
    assert rows[0]["scores"] == pytest.approx([word.score for word in direct.words], abs=1e-5)
    with pytest.raises(InputError, match=r"to contrast with '1', got neither"):
        run(*given, "--against", "1")


def test_a_row_of_a_file_holds_the_predicted_class_and_all_of_them_ranked(folders, tmp_path):
    source = write_lines(tmp_path / "in.jsonl", [{"text": TEXT}, {"text": None}, {"text": "bad"}])
    given = ["explain-file", source, tmp_path / "out", *folders, "--method", "saliency", "--prefix", "x_"]
    run(*given, "--target", "all", "--classes", "2")
    row, missing, _ = read(tmp_path / "out")
    explainer = expnet.load(folders[1], explainer=folders[3])
    ranked = explainer.explain(TEXT, target="all", classes=2, method="saliency")
    assert [one["label"] for one in row["x_classes"]] == [one.label for one in ranked]
    for one, direct in zip(row["x_classes"], ranked, strict=True):
        assert one["probability"] == pytest.approx(direct.probability, abs=1e-6)
        assert one["scores"] == pytest.approx([word.score for word in direct.words], abs=1e-5)
    assert row["x_classes"][0]["scores"] == row["x_scores"] != row["x_classes"][1]["scores"]
    assert (row["x_label"], missing["x_status"], missing["x_classes"]) == (ranked[0].label, "missing", None)
    frame = expnet.explain_frame(explainer, pd.DataFrame({"text": [TEXT]}), method="saliency", target="all", classes=2)
    assert frame.classes[0][1]["scores"] == pytest.approx(row["x_classes"][1]["scores"], abs=1e-5)
    with pytest.raises(InputError, match="classes is 2, which the target 'all' needs; the target is '1'"):
        run(*given, "--target", "1", "--classes", "2")
    with pytest.raises(InputError, match="each class by itself, not against '1'"):
        run(*given, "--target", "all", "--against", "1")


def test_a_record_holds_the_contrast_and_can_be_verified(folders, tmp_path):
    for extra in ((), ("--without-text",)):
        path = tmp_path / "record.json"
        asked = ["--method", "saliency", "--target", "0", "--against", "LABEL_2", "--output", path]
        run("audit", TEXT, *folders, *asked, *extra)
        told = json.loads(path.read_text())
        assert told["asked"]["against"] == "LABEL_2"
        assert told["explanation"]["against"] == "LABEL_2"
        assert "The record holds" in run("audit", "verify", path, *folders, "--text", TEXT)
    with pytest.raises(InputError, match="A record holds one explanation"):
        run("audit", TEXT, *folders, "--target", "all")
