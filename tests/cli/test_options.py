"""Options that several commands take mean the same everywhere, and reach what they are for."""

import ast
import json
from collections import defaultdict
from pathlib import Path

import pytest
import typer.main

import expnet.cli
from expnet.cli.app import app
from expnet.errors import InputError, ModelError
from tests.cli.test_cli import pretrained, records, run

SOURCES = sorted(Path(expnet.cli.__file__).parent.glob("*.py"))
LOADING = {  # commands that load a classifier, with what they need to be called
    "explain": ["text"],
    "explain-file": ["in.csv", "out"],
    "fit": ["demo/sentiment", "train.jsonl", "--output", "out"],
    "adapt": ["demo/sentiment", "texts.txt", "--output", "out"],
    "export": ["demo/sentiment", "--output", "out"],
    "speed": [],
    "serve": [],
    "doctor": ["demo/sentiment"],
    "trust": ["demo/sentiment", "texts.txt"],
    "head-weights": ["demo/sentiment", "texts.txt", "weights.txt"],
    "studio": ["demo/sentiment", "texts.txt", "--marks", "marks.jsonl"],
    "audit decision": ["text"],
    "audit file": ["out", "--model", "demo/sentiment"],
    "audit verify": ["record.json"],
}


def commands(command=None, name=""):
    """Yield the name and the parameters of every command."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command.params
    for part, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {part}".strip())


def test_every_command_that_loads_a_model_takes_revision_device_and_dtype():
    # An export is computed on the CPU in float32; fine-tuning and benchmarks have settings of their own.
    lacking = {
        (name, option)
        for name, parameters in commands()
        if name in LOADING
        for option in ("--revision", "--device", "--dtype")
        if option not in {opt for parameter in parameters for opt in parameter.opts}
    }
    assert lacking == {("export", "--device"), ("export", "--dtype")}
    with_prompt = {name for name, parameters in commands() if any(p.name == "prompt" for p in parameters)}
    # A graph and the pipeline of transformers know no prompts.
    assert with_prompt == {*LOADING} - {"export", "speed"}
    for option in ("zero_shot", "hypothesis"):
        assert {name for name, parameters in commands() if any(p.name == option for p in parameters)} == with_prompt
    with_revision = {name for name, parameters in commands() if any(p.name == "revision" for p in parameters)}
    assert with_revision == {*LOADING, "finetune"}


def test_an_option_of_one_name_and_type_is_explained_in_the_same_words():
    shared = (
        "model",
        "explainer",
        "prompt",
        "zero_shot",
        "hypothesis",
        "revision",
        "device",
        "dtype",
        "threads",
        "seed",
        "method",
        "option",
        "truncate",
    )
    words = defaultdict(set)
    for name, parameters in commands():
        for parameter in parameters:
            if parameter.name in shared and name not in (
                "serve",
                "audit file",
            ):  # lists by name; a model that is optional
                kind = (
                    parameter.name,
                    parameter.param_type_name,
                    parameter.multiple if parameter.opts[0][0] == "-" else 0,
                )
                words[kind].add(parameter.help)
    assert {kind for kind, helps in words.items() if len(helps) != 1} == set()
    assert {kind[0] for kind in words} == set(shared)


def test_no_command_declares_for_itself_what_the_options_declare():
    def declared(path):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.arg)
                and node.annotation is not None
                and "Annotated" in ast.unparse(node.annotation)
            ):
                yield node.arg

    everywhere = [name for path in SOURCES if path.stem != "options" for name in declared(path)]
    assert {
        name for name in ("device", "dtype", "threads", "seed", "truncate", "host", "port") if name in everywhere
    } == set()
    by_name_in_serve = ["explainer", "revision"]
    assert [name for name in everywhere if name in by_name_in_serve] == by_name_in_serve
    assert everywhere.count("model") == 1, "`audit file` takes none by default"


@pytest.mark.parametrize("command", LOADING)
def test_revision_and_dtype_reach_the_model(command, tmp_path, monkeypatch):
    def load(*_, revision, dtype="not given", **__):
        raise ModelError(f"asked for {revision} in {dtype}")

    if command == "export":
        pytest.importorskip("onnxscript")
    monkeypatch.setattr("expnet.explainer.load", load)
    monkeypatch.setattr("expnet.explainer.load_classifier", load)
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\ngood film\n")
    Path("texts.txt").write_text("good film\n")
    monkeypatch.setattr("expnet.audit.AuditRecord.from_json", lambda _text: None)
    Path("record.json").write_text("{}")
    records(Path("train.jsonl"))
    revision = "sentiment=v2" if command == "serve" else "v2"
    dtype = () if command == "export" else ("--dtype", "bfloat16")
    kind = "bfloat16" if dtype else "not given"
    # `doctor` reports what breaks, and fails in the end.
    error = AssertionError if command == "doctor" else ModelError
    with pytest.raises(error, match=f"asked for v2 in {kind}"):
        run(*command.split(), *LOADING[command], "--revision", revision, *dtype)


def test_finetune_reads_the_base_at_the_revision_that_is_asked_for(tmp_path, monkeypatch):
    from expnet.model import loading

    base, data, asked = pretrained(tmp_path / "base"), records(tmp_path / "data.jsonl", labels=("0", "1")), []

    def noting(original):
        def call(name, revision=None, *rest):
            asked.append(revision)
            return original(name, None, *rest)

        return call

    for name in ("load_tokenizer", "load_weights"):
        monkeypatch.setattr(loading, name, noting(getattr(loading, name)))
    tuned = tmp_path / "tuned"
    run("finetune", base, data, data, "--output", tuned, "--epochs", "1", "--max-length", "16", "--revision", "v2")
    assert asked == ["v2", "v2"]


@pytest.mark.parametrize("command", ["fit", "adapt"])
def test_an_explainer_is_trained_on_a_classifier_in_bfloat16(command, tmp_path):
    texts = records(tmp_path / "train.jsonl")
    steps = ["--steps", "1", "--start", "nothing"] if command == "fit" else []
    run(command, "demo/sentiment", texts, "--output", tmp_path / "made", *steps, "--dtype", "bfloat16")
    shown = run("explain", "good film", "--explainer", tmp_path / "made", "--format", "json", "--dtype", "bfloat16")
    assert all(0 <= word["score"] <= 1 for word in json.loads(shown)["words"])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--plot", "x.png"], "without --plot: leave out"),
        (["--method", "saliency", "--tokens", "16"], "without --tokens, --method: leave out"),
        (["--budget", "64"], "without --budget"),
    ],
)
def test_speed_refuses_what_texts_of_mixed_lengths_would_ignore(typed, message):
    with pytest.raises(InputError, match=message):
        run("speed", "nowhere", "--texts", "texts.txt", *typed)


def test_speed_times_an_export_only_on_texts():
    with pytest.raises(InputError, match="pass --texts"):
        run("speed", "nowhere", "--exported", "graph")
