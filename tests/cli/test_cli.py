"""The commands, as a user runs them."""

import io
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app
from expnet.cli.saving import save_explainer
from expnet.errors import ExpnetError, InputError, ModelError, OptionError, UnsafeModelError
from expnet.explainer import Explainer
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save, tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny classifier and an explainer for it, on disk."""
    root = tmp_path_factory.mktemp("models")
    save(root / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(root / "explainer")
    return ["--model", str(root / "classifier"), "--explainer", str(root / "explainer")]


def run(*arguments, stdin=None):
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
    if isinstance(result.exception, ExpnetError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_json_is_one_explanation_a_line_in_the_order_of_the_texts(folders):
    lines = run("explain", "bad text", "good film", "one", *folders, "--format", "json").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["bad text", "good film", "one"]
    direct = expnet.load(folders[1], explainer=folders[3]).explain("bad text")
    assert [w.score for w in expnet.Explanation.from_json(lines[0]).words] == pytest.approx(
        [w.score for w in direct.words], abs=1e-4
    )


def test_weights_come_in_the_type_that_is_asked_for(folders):
    exact, half = (
        json.loads(run("explain", "good film", *folders, "--format", "json", *kind))["probabilities"]
        for kind in ((), ("--dtype", "bfloat16"))
    )
    assert half != exact
    assert half == pytest.approx(exact, abs=0.02)
    with pytest.raises(ModelError, match=r"Expected one of the types .*bfloat16.*, got 'int3'"):
        run("explain", "good film", *folders, "--dtype", "int3")


@pytest.mark.parametrize("command", ["explain-file", "serve"])
def test_jobs_and_servers_load_the_type_that_is_asked_for(command, tmp_path, monkeypatch):
    def load(*_, dtype, **__):
        raise ModelError(f"asked for {dtype}")

    monkeypatch.setattr("expnet.explainer.load", load)
    (tmp_path / "in.csv").write_text("text\ngood film\n")
    places = [tmp_path / "in.csv", tmp_path / "out"] if command == "explain-file" else []
    with pytest.raises(ModelError, match="asked for bfloat16"):
        run(command, *places, "--dtype", "bfloat16")


def test_the_terminal_shows_label_words_and_scores(folders):
    shown = run("explain", "good film", *folders)
    assert re.search(r"LABEL_\d +\d+\.\d %", shown)
    assert "good" in shown
    assert re.search(r"0\.\d\d", shown)
    assert "\x1b" not in shown


def test_each_line_of_standard_input_is_a_text_blank_ones_too(folders):
    shown = run("explain", *folders, "--format", "json", stdin="good film\r\n\nbad text\n")
    assert [json.loads(line)["text"] for line in shown.splitlines()] == ["good film", "", "bad text"]


def test_pairs_and_targets_reach_the_explanation(folders):
    shown = run("explain", "good", *folders, "--pair", "bad", "--target", "LABEL_1", "--format", "json")
    explanation = expnet.Explanation.from_json(shown)
    assert (explanation.pair, explanation.label) == ("bad", "LABEL_1")


def test_output_writes_a_page_that_shows_every_text(folders, tmp_path):
    page = tmp_path / "page.html"
    assert run("explain", "good <b>film</b>", "bad", *folders, "--format", "html", "--output", page) == ""
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert "<b>film" not in html
    assert html.count("LABEL_") >= 2


def test_pictures_latex_and_markdown_hold_every_text_and_method(folders, tmp_path):
    asked = ["explain", "good film", "bad", *folders, "--method", "saliency", "--method", "rollout", "--format"]
    picture = ElementTree.fromstring(run(*asked, "svg"))
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("good", "bad", "saliency", "rollout")].count("saliency") == 2
    run(*asked, "latex", "--output", tmp_path / "words.tex")
    assert (tmp_path / "words.tex").read_text().count(r"\begingroup") == 4
    assert run(*asked, "markdown").count("| score | word |") == 4


def test_output_of_the_terminal_format_has_no_colours(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    path = tmp_path / "words.txt"
    run("explain", "good film", *folders, "--output", path)
    assert "\x1b" not in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b", "--pair", "c"], "2 texts but 1 second texts"),
        (["a", "--output", "/no/such/folder/x.html"], "/no/such/folder does not exist"),
        (["a", "--model", "demo/sentimental"], "Did you mean 'demo/sentiment'"),
        (["a", "--model", "/no/such/model", "--explainer", "x"], "neither a folder"),
    ],
)
def test_wrong_arguments_are_clear_errors(arguments, message):
    with pytest.raises(ExpnetError, match=re.escape(message)):
        run("explain", *arguments)


def test_empty_and_undecodable_input_are_clear_errors():
    with pytest.raises(ExpnetError, match="empty"):
        run("explain", stdin="")
    with pytest.raises(ExpnetError, match="standard input, line 1: it is not UTF-8: byte 3 is 0xff"):
        run("explain", stdin=b"ok\xff")


def test_an_error_on_purpose_is_one_line_and_status_2(monkeypatch, capsys):
    from expnet.cli import main

    monkeypatch.setattr(sys, "argv", ["expnet", "explain", "a", "--model", "demo/no\x1b[31m"])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("expnet: There is no ")
    assert error.count("\n") == 1
    assert "\x1b" not in error


def test_version_is_the_one_of_the_package():
    assert run("--version") == f"expnet {expnet.__version__}\n"


def records(path, labels=(None,)):
    words = ["good", "film", "bad", "text", "one"]
    lines = []
    for index in range(24):
        tokens = words[index % 5 :] + words[: index % 5]
        line = {"id": str(index), "tokens": tokens, "rationale": [int(word == "bad") for word in tokens]}
        lines.append(json.dumps(line | {"label": labels[index % len(labels)]}))
    path.write_text("\n".join(lines))
    return path


def test_fit_writes_an_explainer_that_explain_takes(folders, tmp_path):
    train = records(tmp_path / "train.jsonl")
    fitted = tmp_path / "fitted"
    shown = run(
        "fit", folders[1], train, "--output", fitted, "--epochs", "1", "--dev", train, "--cache", tmp_path / "c"
    )
    assert "dev average_precision" in shown
    assert run("explain", "good film", "--model", folders[1], "--explainer", fitted, "--format", "json")


def test_adapt_makes_an_explainer_from_texts_without_marks(folders, tmp_path):
    (tmp_path / "texts.txt").write_text("good film\n\nbad film text\n")
    for number, more in enumerate(([], ["--teacher", "none", "--target-method", "saliency", "--tier", "gradient"])):
        made = tmp_path / str(number)
        assert "Explain with" in run("adapt", folders[1], tmp_path / "texts.txt", "--output", made, *more)
        (line,) = run("explain", "good film", "--model", folders[1], "--explainer", made, "--format", "json").split(
            "\n", 1
        )[:1]
        assert json.loads(line)["method"] == ("expnet_gradient" if more else "expnet")
    assert expnet.ExpNet.from_pretrained(tmp_path / "0").config.provenance["texts"] == 2


def test_adapt_checks_what_it_made_on_texts_that_it_did_not_learn_from(folders, tmp_path):
    lines = [f"{'good ' * (index % 3 + 1)}film {'bad ' * (index % 4)}" for index in range(100)]
    (tmp_path / "texts.txt").write_text("\n\n".join(lines))
    made = tmp_path / "made"
    shown = run("adapt", folders[1], tmp_path / "texts.txt", "--output", made, "--removals", "2")
    network = expnet.ExpNet.from_pretrained(made)
    check = network.config.provenance["check"]
    assert (network.config.provenance["texts"], check["texts"]) == (80, 20)
    assert check["verdict"] in shown
    assert (
        f"Checked on this classifier with 20 texts: {check['verdict']}"
        == expnet.load(folders[1], explainer=made).checked
    )
    run("adapt", folders[1], tmp_path / "texts.txt", "--output", tmp_path / "b", "--removals", "2", "--no-check")
    unchecked = expnet.ExpNet.from_pretrained(tmp_path / "b").config.provenance
    assert unchecked["texts"] == 100
    assert "check" not in unchecked


def test_fit_checks_what_it_made_on_the_texts_held_out(folders, tmp_path):
    train, few = records(tmp_path / "train.jsonl"), ["--steps", "1", "--start", "nothing"]
    for more, texts in (([], 0), (["--dev", train], 24), (["--dev", train, "--no-check"], 0)):
        made = tmp_path / str(len(list(tmp_path.iterdir())))
        run("fit", folders[1], train, "--output", made, *few, *more)
        check = expnet.ExpNet.from_pretrained(made).config.provenance.get("check", {"texts": 0})
        assert check["texts"] == texts
        assert not texts or "people" in check


@pytest.mark.parametrize("error", [InputError("none fits one window"), KeyboardInterrupt()])
def test_a_check_that_fails_loses_no_explainer(error, folders, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(Explainer, "check", fail)
    explainer = expnet.load(folders[1], explainer=folders[3])
    asked = (explainer.classifier, explainer.network, str(folders[1]), tmp_path / "made", ["good film"])
    with nullcontext() if isinstance(error, InputError) else pytest.raises(KeyboardInterrupt):
        save_explainer(*asked, seed=0)
    assert expnet.ExpNet.from_pretrained(tmp_path / "made").config == explainer.network.config


def pretrained(folder):
    """A tiny encoder without a head."""
    build("bert").bert.save_pretrained(folder)
    tokenizer(typed=True).save_pretrained(folder)
    return folder


def test_trust_checks_an_explainer_and_keeps_the_verdict_with_it(folders, tmp_path):
    (tmp_path / "texts.txt").write_text("A good film\n\nbad text\n")
    model, explainer = folders[1], folders[3]
    checked = json.loads(run("trust", model, tmp_path / "texts.txt", "--explainer", explainer, "--json"))
    assert checked["texts"] == 2
    assert checked["people"] == {}
    shown = run("trust", model, tmp_path / "texts.txt", "--explainer", explainer, "--output", tmp_path / "checked")
    assert checked["verdict"] in shown
    assert all(name in shown for name in ("random words", "saliency", "special tokens"))
    told = (
        CliRunner().invoke(app, ["explain", "good", "--model", model, "--explainer", str(tmp_path / "checked")]).stderr
    )
    assert "Checked on this classifier with 2 texts" in told
    assert "How far to trust it" in (tmp_path / "checked" / "README.md").read_text()


def test_trust_takes_marks_and_refuses_texts_without_words(folders, tmp_path):
    (tmp_path / "marked.jsonl").write_text('{"id": "1", "text": "good film", "label": "0", "rationale": [[0, 4]]}\n')
    checked = json.loads(run("trust", folders[1], tmp_path / "marked.jsonl", *folders[2:], "--json"))
    assert checked["people"]["explainer"]["n"] == 1
    (tmp_path / "long.txt").write_text("good " * 1000)
    with pytest.raises(InputError, match="None of 1 texts has a word and fits"):
        run("trust", folders[1], tmp_path / "long.txt", *folders[2:])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
@pytest.mark.parametrize("rank", [0, 4])
def test_finetune_writes_a_classifier_that_loads(tmp_path, rank):
    base = pretrained(tmp_path / "base")
    data = records(tmp_path / "data.jsonl", labels=("0", "1"))
    tuned = tmp_path / "tuned"
    shown = run(
        "finetune", base, data, data, "--output", tuned, "--epochs", "1", "--lora-rank", rank, "--label", "0=calm",
        "--max-length", "16",
    )  # fmt: skip
    assert re.search(r"accuracy \d\.\d{4}  macro_f1 \d\.\d{4}  mcc -?\d\.\d{4}", shown)
    assert expnet.Classifier.from_pretrained(tuned).labels == ("calm", "1")
    assert json.loads((tuned / "finetune.json").read_text())["config"]["lora_rank"] == rank
    assert not list(tuned.glob("*.bin"))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
def test_an_adapter_on_a_base_without_a_pooler_is_merged_into_the_whole_model(tmp_path, caplog):
    base = pretrained(tmp_path / "base")
    weights = {name: weight for name, weight in load_file(base / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    data, tuned = records(tmp_path / "data.jsonl", labels=("0", "1")), tmp_path / "tuned"
    run("finetune", base, data, data, "--output", tuned, "--epochs", "1", "--lora-rank", 4, "--max-length", "16")
    assert "so that the whole model is saved, not an adapter" in caplog.text
    assert not (tuned / "adapter_config.json").exists()
    labelled, explainer = expnet.read_records(data), expnet.load(tuned)
    predicted = [explainer.explain(record.text, method="random").label for record in labelled]
    correct = sum(name == record.label for name, record in zip(predicted, labelled, strict=True))
    reached = json.loads((tuned / "finetune.json").read_text())["dev_figures"]["accuracy"]
    assert correct / len(labelled) == pytest.approx(reached)


def test_finetune_refuses_a_base_that_is_a_pickle_or_loads_code(tmp_path):
    base, data = pretrained(tmp_path / "base"), records(tmp_path / "data.jsonl", labels=("0", "1"))
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(UnsafeModelError, match="no safetensors"):
        run("finetune", base, data, data, "--output", tmp_path / "tuned")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"_attn_implementation": "someone/kernel"}))
    with pytest.raises(UnsafeModelError, match="someone/kernel"):
        run("finetune", base, data, data, "--output", tmp_path / "tuned")


def test_finetune_says_how_many_texts_it_cut(tmp_path, caplog):
    base, data = pretrained(tmp_path / "base"), tmp_path / "data.jsonl"
    lines = [{"id": str(i), "text": "good " * (4 + 8 * (i < 3)), "label": str(i % 2)} for i in range(8)]
    data.write_text("\n".join(json.dumps(line) for line in lines))
    tuned = tmp_path / "tuned"
    run("finetune", base, data, data, "--output", tuned, "--epochs", "1", "--max-length", "8")
    assert json.loads((tuned / "finetune.json").read_text())["truncated"] == {"train": 3, "dev": 3}
    assert "3 training and 3 development texts were cut to 8 tokens" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--select-by", "f1"], "Cannot select by 'f1'"),
        (["--label", "0=calm", "--label", "1=calm"], "each needs a name of its own"),
    ],
)
def test_finetune_refuses_what_it_cannot_do(tmp_path, options, message):
    data = records(tmp_path / "data.jsonl", labels=("0", "1"))
    with pytest.raises(InputError, match=message):
        run("finetune", "nowhere", data, data, "--output", tmp_path / "tuned", *options)


def test_an_interrupted_finetune_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    from expnet import finetuning as finetune

    base, data = pretrained(tmp_path / "base"), records(tmp_path / "data.jsonl", labels=("0", "1"))
    common = ["finetune", base, data, data, "--max-length", "16", "--epochs", "3", "--output", tmp_path / "tuned"]
    measure, measured = finetune.figures, []

    def stop_in_the_second_epoch(expected, predicted):
        measured.append(measure(expected, predicted))
        if len(measured) == 2:
            raise InputError("the power failed")
        return measured[-1]

    monkeypatch.setattr(finetune, "figures", stop_in_the_second_epoch)
    with pytest.raises(ExpnetError, match="the power failed"):
        run(*common)
    run(*common, "--resume")
    # 1, then 2 failed; resumed after epoch 1: epochs 2 and 3, and the best one once more
    assert len(measured) == 2 + 3
    assert measured[1] == measured[2]  # the epoch that failed came out the same


class TestMethods:
    def test_one_method_with_its_options(self, folders):
        given = ["explain", "good film", *folders, "--method", "smooth_grad", "--option", "samples=3", "--seed", 5]
        explanation = expnet.Explanation.from_json(run(*given, "--format", "json"))
        direct = expnet.load(folders[1]).explain("good film", method="smooth_grad", options={"samples": 3}, seed=5)
        assert explanation.provenance == direct.provenance
        assert [w.score for w in explanation.words] == pytest.approx([w.score for w in direct.words], rel=1e-4)

    def test_a_method_that_learns_nothing_needs_no_explainer(self, folders):
        shown = run("explain", "good film", *folders[:2], "--method", "rollout")
        assert "rollout" in shown

    def test_several_methods_stand_side_by_side_text_by_text(self, folders):
        given = ["explain", "good film", "bad", *folders, "--method", "saliency", "--method", "rollout"]
        shown = run(*given)
        assert [shown.count(name) for name in ("saliency", "rollout", "good film")] == [
            6,
            8,
            1,
        ]  # shared words and the legend
        assert shown.count("The words of rollout do not depend on the class") == 2  # once a text
        lines = [json.loads(line) for line in run(*given, "--format", "json").splitlines()]
        assert [(line["text"], line["method"]) for line in lines] == [
            ("good film", "saliency"),
            ("good film", "rollout"),
            ("bad", "saliency"),
            ("bad", "rollout"),
        ]

    def test_several_methods_make_a_page_of_comparisons(self, folders, tmp_path):
        page = tmp_path / "page.html"
        methods = ["--method", "saliency", "--method", "rollout"]
        run("explain", "good <b>film</b>", "bad", *folders, *methods, "--format", "html", "--output", page)
        html = page.read_text()
        assert (html.count("saliency"), html.count("rollout")) == (9, 11)  # shared words, table and legend, too
        assert html.count("The words of rollout do not depend on the class") == 2  # once a text
        assert "<b>film" not in html

    def test_all_methods_but_those_that_cannot_run_which_are_named(self, folders):
        given = ["explain", "a film", *folders, "--method", "all", "--option", "samples=20", "--format", "json"]
        result = CliRunner().invoke(app, given)
        found = [json.loads(line)["method"] for line in result.stdout.splitlines()]
        table = [method.name for method in expnet.list_methods()]
        left_out = re.findall(r"^left out (\w+): ", result.stderr, re.MULTILINE)
        assert found == [name for name in table if name not in left_out]
        assert "inverse_document_frequency" in left_out  # nobody named documents to count in

    def test_documents_are_the_lines_of_a_file(self, folders, tmp_path):
        (tmp_path / "texts.txt").write_text("good film\n\nbad film\n")
        given = ["explain", "good film", *folders, "--method", "inverse_document_frequency", "--format", "json"]
        explanation = expnet.Explanation.from_json(run(*given, "--option", f"documents={tmp_path / 'texts.txt'}"))
        assert [word.score for word in explanation.words] == pytest.approx([1.405, 1.0], abs=1e-3)
        with pytest.raises(OptionError, match="documents is read from a file"):
            run(*given, "--option", "documents=nowhere.txt")

    def test_weights_are_the_numbers_on_the_lines_of_a_file(self, folders, tmp_path):
        heads = expnet.load(folders[1]).classifier.support
        path = tmp_path / "weights.txt"
        path.write_text("1\n" + "0\n" * (heads.layers * heads.heads - 1))
        given = [
            "explain",
            "good film",
            *folders,
            "--method",
            "attribution_with_attention",
            "--format",
            "json",
            "--option",
        ]
        explanation = expnet.Explanation.from_json(run(*given, f"weights={path}"))
        assert all(0 < word.score < 1 for word in explanation.words)  # the attention of the one head
        path.write_text("1\none\n")
        with pytest.raises(OptionError, match=r"weights is read from .*must hold a number on each line: .*'one'"):
            run(*given, f"weights={path}")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--method", "salience"], "Did you mean 'saliency'"),
            (["--method", "saliency", "--option", "norms=l1"], r"No option 'norms' in saliency\. Did you mean 'norm'"),
            (["--method", "saliency", "--option", "norm"], "as NAME=VALUE, got 'norm'"),
            (["--method", "saliency", "--option", "norm=l3"], "norm is 'l3', expected one of 'l2', 'l1'"),
            (["--method", "rollout", "--option", "residual=much"], "residual is 'much', expected a number"),
        ],
    )
    def test_wrong_names_and_values_are_refused(self, folders, options, message):
        with pytest.raises(ExpnetError, match=message):
            run("explain", "good", *folders, *options)

    def test_the_table_lists_every_method_and_one_shows_its_options(self):
        rows = json.loads(run("methods", "--format", "json"))
        assert [row["name"] for row in rows] == [method.name for method in expnet.list_methods()]
        shown = run("methods", "smooth_grad")
        assert "Smilkov" in shown
        assert "--option samples=25" in shown
        assert json.loads(run("methods", "rollout", "--format", "json"))["options"] == {"residual": 0.5}

    def test_the_table_in_a_terminal_names_them_all(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        shown = run("methods")
        assert all(method.name in shown for method in expnet.list_methods())

    def test_names_stand_on_one_line_in_a_narrow_terminal_and_papers_where_lines_may_be_long(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        piped = run("methods")
        assert all(f"{method.name} " in piped and method.paper in piped for method in expnet.list_methods())
        monkeypatch.setenv("FORCE_COLOR", "1")
        narrow = run("methods")
        assert all(f"{method.name} " in narrow for method in expnet.list_methods())
        assert "arXiv" not in narrow


def test_weights_of_heads_are_learned_into_the_file_that_the_method_reads(folders, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("the good film\nbad one, another bad one\n")
    told = run("head-weights", folders[1], texts, tmp_path / "weights.txt", "--masks", 8)
    assert f"--option weights={tmp_path / 'weights.txt'}" in told
    classifier = expnet.load(folders[1]).classifier
    learned = expnet.learn_head_weights(classifier, texts.read_text().splitlines(), masks=8)
    assert [float(line) for line in (tmp_path / "weights.txt").read_text().splitlines()] == pytest.approx(learned)
    option = ["--method", "attribution_with_attention", "--option", f"weights={tmp_path / 'weights.txt'}"]
    shown = json.loads(run("explain", "the good film", "--model", folders[1], *option, "--format", "json"))
    direct = expnet.Explainer(classifier).explain(
        "the good film", method="attribution_with_attention", options={"weights": learned}
    )
    assert [word["score"] for word in shown["words"]] == pytest.approx([word.score for word in direct.words], abs=1e-5)
    with pytest.raises(InputError, match="does not exist; create it"):
        run("head-weights", folders[1], texts, tmp_path / "nowhere" / "weights.txt")
