"""Every block of the pages runs: Python as it stands, commands as they stand or, if they take long, only their parsing.

A page's blocks run in their order, in one folder that holds what a reader would bring, on tiny models; so do the demos.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app
from expnet.export import export
from expnet.training import loops
from tests import language_models
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LABELS = ("negative", "positive", "toxic")
# Servers, trainings of minutes, every method there is or one that a page brings, more machines than one, records of
# files that are not there; their options are checked all the same.
ONLY_PARSED = ("serve", "studio", "finetune", "benchmark", "report", "speed", "all", "contrast", "ray", "audit")
# No extra brings these: a block that imports one is only compiled where it is not installed.
OTHERS = ("argilla", "gradio", "litserve", "polars", "streamlit")
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {label: n for n, label in enumerate(LABELS)}}


@dataclass
class Call:
    """One `expnet` in a line of shell: its arguments, and files for standard input and output."""

    arguments: list[str]
    stdin: str | None = None
    stdout: str | None = None


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def calls(block: str) -> Iterator[Call]:
    """Split a block as a shell would, as far as the pages go: comments, continued lines, |, &&, >, <, NAME=value."""
    for line in block.replace("\\\n", " ").splitlines():
        if "expnet" not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        fed, words = None, list(lexer)
        for part in _split(words, {"|", "&&"}):
            while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
                part = part[1:]
            target = None
            if ">" in part:
                target, part = part[part.index(">") + 1], part[: part.index(">")]
            if "<" in part:
                fed, part = part[part.index("<") + 1], part[: part.index("<")]
            if part[:1] == ["cat"]:
                fed = part[1]
            elif part[:1] == ["expnet"]:
                yield Call(part[1:], fed, target)


def _split(words: list[str], marks: set[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in marks:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def parse(arguments: list[str]) -> None:
    """Raise if there is no such command or option, or a value is of a wrong kind; run nothing."""
    command, name = typer.main.get_command(app), "expnet"
    while hasattr(command, "resolve_command"):
        with command.make_context(name, list(arguments)) as context:  # a group may add to what it was given
            name, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, list(arguments)).close()


def run(call: Call) -> None:
    given = None if call.stdin is None else Path(call.stdin).read_text()
    done = CliRunner().invoke(app, call.arguments, input=given, catch_exceptions=False)
    assert done.exit_code == 0, f"expnet {shlex.join(call.arguments)}: {done.output}"
    if call.stdout:
        Path(call.stdout).write_text(done.stdout)


@pytest.fixture(scope="module")
def export_once(tmp_path_factory):
    """`export`, which takes seconds, done the first time and copied from then on."""
    graph = tmp_path_factory.mktemp("exported") / "graph"

    def export_or_copy(explainer, folder, **options):
        if not graph.exists():
            export(explainer, graph, **options)
        shutil.copytree(graph, folder, dirs_exist_ok=True)

    return export_or_copy


@pytest.fixture
def desk(tmp_path, monkeypatch, export_once):
    """A folder with all that the pages take for granted, and models that take no time."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "my-classifier", build("bert", num_hidden_layers=1, **NAMES), typed=True)
    nli = {"id2label": {0: "contradiction", 1: "entailment"}, "label2id": {"contradiction": 0, "entailment": 1}}
    save(tmp_path / "my-nli-model", build("bert", num_hidden_layers=1, num_labels=2, **nli), typed=True)
    tiny_explainer(tiny_classifier(num_hidden_layers=1)).network.save_pretrained(tmp_path / "my-explainer")
    shutil.copytree(tmp_path / "my-explainer", tmp_path / "marks-explainer")  # as the studio would have left it
    how_to = (ROOT / "docs" / "how-to.md").read_text(encoding="utf-8")
    language_models.save(tmp_path / "my-language-model", language_models.build("llama", num_hidden_layers=1))
    (tmp_path / "prompt.toml").write_text(re.search(r"```toml\n(.*?)```", how_to, re.DOTALL)[1])
    (tmp_path / "marked.jsonl").write_text(re.search(r"```json\n(.*?)```", how_to, re.DOTALL)[1])
    lines = [{"text": "A dull film.", "label": "negative", "rationale": [[2, 6]]}]
    for name in ("my-marks", "train", "test"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(lines[0] | {"text": f"A dull film about {name}."}) + "\n")
    (tmp_path / "texts.txt").write_text("A dull film.\nA touching film.\nTwo men sleep.\n")
    pd.DataFrame({"text": ["A dull film.", None]}).to_parquet("reviews.parquet")
    lines_of_gallery = (ROOT / "docs" / "reviews.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "reviews.jsonl").write_text("".join(lines_of_gallery[:6]), encoding="utf-8")
    (tmp_path / "folder").mkdir()
    pairs = {"premise": ["Two men sleep."], "hypothesis": ["Nobody is awake."], "gold": ["negative"]}
    pd.DataFrame(pairs).to_csv("folder/pairs.csv", index=False)
    people = [{"annotator_id": n, "label": "offensive"} for n in range(3)]
    post = {"post_id": "p", "post_tokens": ["a", "dull", "post"], "annotators": people, "rationales": [[0, 1, 0]] * 3}
    (tmp_path / "dataset.json").write_text(json.dumps({"p": post}))
    (tmp_path / "post_id_divisions.json").write_text(json.dumps({"train": ["p"], "val": [], "test": []}))
    (tmp_path / "me" / "marked-reviews").mkdir(parents=True)
    (tmp_path / "me" / "marked-reviews" / "train.jsonl").write_text(json.dumps(lines[0]) + "\n")
    monkeypatch.setattr("expnet.export.export", export_once)
    _make_quick(monkeypatch)
    return tmp_path


def _make_quick(monkeypatch):
    classifier = expnet.Classifier.from_pretrained("my-classifier", device="cpu")
    network = expnet.ExpNet.from_pretrained("my-explainer")
    monkeypatch.setattr("expnet.explainer.loading.demo_classifier", lambda name, **settings: classifier)
    monkeypatch.setattr("expnet.explainer.loading.demo_network", lambda name: network)

    def briefly(train):
        return lambda first, second, config, **rest: train(first, second, replace(config, steps=2), **rest)

    monkeypatch.setattr("expnet.training.adapt.one_cycle", briefly(loops.one_cycle))
    monkeypatch.setattr("expnet.training.mixture.in_one_cycle", briefly(loops.in_one_cycle))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_block_of_a_page_runs(page, desk, monkeypatch):
    texts = ["A dull film.", "A touching film."]
    names = {"texts": texts, "list_of_texts": texts, "long_text": "A dull, dull film. " * 100}
    if any("expnet export" in block or "expnet.export" in block for _, block in blocks(page)):
        pytest.importorskip("onnxscript", reason="the page exports a graph, which takes the extra onnx")
    for language, block in blocks(page):
        if language == "python":
            code = compile(block, f"{page.name}: {block[:40]!r}", "exec")
            if all(find_spec(name) for name in re.findall(rf"^import ({'|'.join(OTHERS)})\b", block, re.MULTILINE)):
                exec(code, names)
            continue
        for call in calls(block):
            parse(call.arguments)
            if not set(ONLY_PARSED) & set(call.arguments):
                run(call)


def test_a_command_that_does_not_exist_would_be_noticed():
    parse(["explain", "--model", "x", "Some text."])
    for wrong in (
        ["explain", "--modle", "x"],
        ["explane"],
        ["fit", "x"],
        ["serve", "--port", "many"],
        ["data", "chek"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such|missing|not a valid|should be a valid"):
            parse(wrong)


def test_lines_are_split_as_a_shell_would():
    block = "cat a.txt | expnet explain --format json > b.jsonl  # why\nA=1 expnet data \\\n  list && expnet methods\n"
    assert list(calls(block)) == [
        Call(["explain", "--format", "json"], "a.txt", "b.jsonl"),
        Call(["data", "list"]),
        Call(["methods"]),
    ]
