"""What people meet first in a terminal: no command, narrow windows, long runs, files that were written, completion."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app
from expnet.cli.welcome import STARTS
from expnet.explanation import terminal
from expnet.explanation.result import Explanation, Word
from expnet.runtime.progress import watched
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.cli.test_cli import run
from tests.models import build, save
from tests.project.test_docs_run import parse


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save(root / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(root / "explainer")
    return ["--model", str(root / "classifier"), "--explainer", str(root / "explainer")]


@pytest.fixture
def quick_demo(folders, monkeypatch):
    loaded = expnet.load(folders[1], explainer=folders[3])
    monkeypatch.setattr("expnet.explainer.loading.demo_classifier", lambda name, **settings: loaded.classifier)
    monkeypatch.setattr("expnet.explainer.loading.demo_network", lambda name: loaded.network)


def test_expnet_alone_shows_five_things_each_a_command_that_works(quick_demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = run()
    commands = re.findall(r"^  (expnet .*)$", shown, re.MULTILINE)
    assert commands == [command for _, command in STARTS]
    assert len(commands) == 5
    assert max(map(len, commands)) <= 80
    for command in commands:
        arguments = shlex.split(command)[1:]
        parse(arguments)
        if arguments[0] != "serve":  # which would run on
            run(*arguments)
    assert (tmp_path / "record.html").exists()


def methods_in_a_terminal(monkeypatch, width, *more):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    return re.sub(r"\x1b\[\d*m", "", run("methods", *more)).splitlines()


@pytest.mark.parametrize("width", [80, 60])
def test_in_a_narrow_terminal_each_method_has_one_line_and_a_note_says_what_has_no_room(monkeypatch, width):
    lines = methods_in_a_terminal(monkeypatch, width)
    names = [method.name for method in expnet.list_methods()]
    assert [line.split()[0] for line in lines[1 : 1 + len(names)]] == names
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "No room here for paper, family" in " ".join(lines)
    assert "--long" in lines[-1]
    assert "permutations * (tokens - 1) + 2" in " ".join(lines), "what a method costs stays"


def test_long_shows_every_column_whatever_the_width(monkeypatch):
    lines = methods_in_a_terminal(monkeypatch, 80, "--long")
    assert lines[0].split() == ["method", "family", "signed", "target", "complete", "random", "passes", "paper"]
    assert len(lines) == 1 + len(expnet.list_methods())
    assert all(method.paper in line for method, line in zip(expnet.list_methods(), lines[1:], strict=True))


def explanation(method, **changes):
    words = tuple(Word(text, 8 * n, 8 * n + 7, 0, 0.1 * (n + 1)) for n, text in enumerate(["fantastic"] * 6))
    text = " ".join(["fantast"] * 6) + ", " + "and so on for a line that is longer than the terminal " * 2
    return replace(Explanation(text, None, words, "positive", 0.9, {"positive": 0.9}, method), **changes)


@pytest.mark.parametrize("width", [80, 50, 30])
def test_side_by_side_without_colours_stays_within_the_terminal_and_no_word_is_cut(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    rows = [explanation("discretized_integrated_gradients"), explanation("deeplift")]
    shown = terminal.plain_or_coloured_side_by_side(rows)
    lines = shown.splitlines()
    assert max(map(cell_len, lines)) <= max(width, len("discretized_integrated_gradients"))
    assert len(re.findall(r"\b0\.\d\d fantastic\b", shown)) == 2 * 5
    table = shown[shown.index("\n\ndiscretized") :].strip().split("\n\n")[0].splitlines()
    assert all(line.startswith(("    ", "discretized", "deeplift")) for line in table)
    assert sum("fantastic" in line for line in table) >= 2
    assert "\x1b" not in shown


def test_side_by_side_in_a_file_keeps_a_line_for_each_method():
    rows = [explanation("discretized_integrated_gradients"), explanation("deeplift")]
    shown = terminal.plain_side_by_side(rows)
    assert len(re.findall(r"^deeplift +0.60 .* 0.20 fantastic$", shown, re.MULTILINE)) == 1
    assert terminal.plain_or_coloured_side_by_side(rows) == shown  # standard output is no terminal here


def test_classes_without_room_go_on_below_themselves():
    rows = [explanation("deeplift", label=label) for label in ("positive", "negative")]
    shown = terminal.plain_ranked(rows, width=50)
    assert re.search(r"^positive +90\.0 %  0\.60 fantastic  0\.50 fantastic\n {19}0\.40 fantastic", shown, re.MULTILINE)


SEVERAL = ["--method", "leave_one_out", "--method", "saliency", "--method", "rollout", "--format", "json"]


def test_several_methods_are_one_bar_that_names_those_that_run(folders):
    told = []
    with watched(lambda *step: told.append(step)):
        run("explain", "good film", "bad", *folders, *SEVERAL)
    assert [step for step in told if step[0] != "explaining"] == [
        ("saliency, rollout", 0, 6),  # they share their passes
        ("leave_one_out", 4, 6),
    ]


def interrupted(folders, monkeypatch, at):
    once = expnet.Explainer._each

    def each(self, items, calls, **rest):
        if at in [call.method.name for call in calls]:
            raise KeyboardInterrupt
        return once(self, items, calls, **rest)

    monkeypatch.setattr(expnet.Explainer, "_each", each)
    return CliRunner().invoke(app, ["explain", "good film", *folders, *SEVERAL])


def test_ctrl_c_shows_what_is_done(folders, monkeypatch):
    done = interrupted(folders, monkeypatch, "leave_one_out")
    assert done.exit_code == 130
    assert [json.loads(line)["method"] for line in done.stdout.splitlines()] == ["saliency", "rollout"]
    assert "stopped after 2 of 3 methods" in done.stderr


def test_ctrl_c_before_anything_is_done_shows_nothing(folders, monkeypatch):
    done = interrupted(folders, monkeypatch, "rollout")
    assert (done.exit_code, done.stdout) == (130, "")


def test_commands_say_where_they_wrote(folders, tmp_path):
    outputs = [tmp_path / "record.json", tmp_path / "record.html"]
    named = [part for path in outputs for part in ("--output", str(path))]
    done = CliRunner().invoke(app, ["audit", "good film", *folders, *named])
    assert (done.exit_code, done.stdout) == (0, "")
    assert [line for line in done.stderr.splitlines() if "wrote" in line] == [
        f"expnet: wrote {path}" for path in outputs
    ]
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["explain", "good", *folders, "--format", "html", "--output", str(page)])
    assert f"expnet: wrote {page}" in done.stderr


def test_a_clash_of_columns_names_the_option_that_avoids_it(folders, tmp_path):
    (tmp_path / "in.csv").write_text("text,label\ngood film,1\n")
    with pytest.raises(expnet.ExpnetError, match=r"are to be added: label\. .*--prefix expnet_ on the command line"):
        run("explain-file", tmp_path / "in.csv", tmp_path / "out", *folders)
    run("explain-file", tmp_path / "in.csv", tmp_path / "out", *folders, "--prefix", "expnet_")


def completed(shell, **typed):
    code = "import sys; sys.argv[0] = 'expnet'; from expnet.cli import main; main()"
    asked = {f"_EXPNET_COMPLETE{name}": value for name, value in shell.items()}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked, **typed}, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize(
    ("shell", "mark"),
    [("bash", "complete -o default -F"), ("zsh", "#compdef expnet"), ("fish", "complete --command expnet")],
)
def test_each_shell_gets_a_script_for_completion(shell, mark):
    assert mark in completed({"": f"source_{shell}"})


def test_commands_and_options_are_completed_without_loading_torch():
    shown = completed({"": "complete_bash"}, COMP_WORDS="expnet exp", COMP_CWORD="1")
    assert shown.split() == ["explain", "explain-file", "export"]
    assert "--long" in completed({"": "complete_bash"}, COMP_WORDS="expnet methods --lo", COMP_CWORD="2")
    code = "import sys, expnet.cli.app; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
