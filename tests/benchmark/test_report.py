"""The report tells a stranger what the rows say, and nothing in them can harm the reader."""

import csv
import json
import math
import re
from dataclasses import replace

import pytest
from matplotlib.text import Text
from typer.testing import CliRunner

from expnet.benchmark.present import plots, summary, tables
from expnet.benchmark.present.report.examples import read_examples
from expnet.benchmark.present.report.page import overview, page
from expnet.benchmark.present.report.verdict import in_short, verdict
from expnet.benchmark.rows import Row, RowFile
from expnet.cli.app import app
from expnet.errors import BenchmarkError, InputError
from tests.benchmark_rows import plausibility, row
from tests.chromium import PROGRAM, Chromium
from tests.explanation.test_render import Reading
from tests.payloads import PAYLOADS

EXAMPLE = {
    "set": "a/test",
    "text": "no snow , no fun",
    "pair": None,
    "label": "negative",
    "words": ["no", "snow", ",", "no", "fun"],
    "marked": [1, 0, 0, 1, 1],
    "scores": {"expnet": [0.9, 0.1, 0.0, 0.8, 0.7], "saliency": [-0.5, 0.1, 0.0, 0.2, 0.3]},
    "why": "example",
    "average_precision": {"expnet": 1.0, "saliency": math.nan},
}


def everything() -> list[Row]:
    """Return rows of every kind: two sets, five methods, ExpNets of every training."""
    rows = []
    for set_ in ("a/test", "b/test"):
        rows += [plausibility(name, [0.2, 0.4, 0.3 + i / 10], set=set_) for i, name in enumerate(("saliency", "cat"))]
        rows.append(plausibility("lime", [0.5, 0.4], sample=True, set=set_, texts=(0, 2)))
        rows.append(plausibility("random", [0.1, 0.2, 0.1], "control", set=set_))
        rows.append(plausibility("mark_all", [0.1, 0.1, 0.1], "floor", set=set_))
        rows.append(plausibility("human", [0.9, 0.8, 1.0], "human", set=set_))
        for seed in (0, 1):
            rows.append(plausibility("expnet", [0.6, 0.7, 0.8], "cross-task", set=set_, seed=seed))
            rows.append(plausibility("expnet", [0.7, 0.9, 0.9], "in-domain", set=set_, seed=seed))
            few = {"set": set_, "seed": seed, "shots": 16, "start": "cross-task"}
            rows.append(plausibility("expnet", [0.6, 0.8, 0.9], "few marks", **few))
        for method, experiment in (("saliency", "baseline"), ("cat", "baseline"), ("expnet", "cross-task")):
            about = {"method": method, "experiment": experiment, "set": set_}
            curves = {"fractions": [0.0, 0.5, 1.0], "deletion": [0.9, 0.5, 0.1 + len(method) / 100]}
            values = {"comprehensiveness": [len(method) / 10], "sufficiency": [0.1]}
            where = {"replacement": "mask"}
            rows.append(row(kind="faithfulness", values=values, curves=curves, condition=where, **about))
            agreed = {"rank_correlation": [0.9]}
            rows.append(row(kind="stability", values=agreed, condition={"against": "the same again"}, **about))
            rows.append(row(kind="sanity", values=agreed, condition={"against": "another class"}, **about))
            rows.append(row(kind="cost", values={"ratio": [1.5]}, **about))
    return rows


def report(rows: list[Row], examples=()) -> str:
    return page(rows, tables.all_tables(rows), plots.plots(rows), examples)


def write(path, *examples):
    path.write_text("".join(json.dumps(example) + "\n" for example in examples), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole() -> str:
    return report(everything())


def named(name: str, folder) -> tuple[list[Row], list]:
    """Return rows and examples in which everything that has a name is called so."""
    about = {"set": name, "classifier": name, "method": name, "family": name, "provenance": {"torch": name}}
    rows = [
        replace(row(values={"average_precision": [0.5, 0.6], name: [0.1, 0.2]}, condition={"marks": name}), **about),
        plausibility("expnet", [0.5, 0.6], "few marks", set=name, classifier=name, marks=name, shots=16, start=name),
    ]
    for kind in ("faithfulness", "stability"):
        curves = {"fractions": [0.0, 1.0], "deletion": [1.0, 0.0]}
        values = {"comprehensiveness": [0.5], name: [0.1]}
        told = {"replacement": name, "against": name}
        rows.append(row(kind=kind, values=values, curves=curves, condition=told, **about))
    example = {"words": [name], "marked": [1], "scores": {name: [0.5]}, "average_precision": {name: 0.5}}
    example |= {"text": name, "pair": name, "label": name, "set": name, "why": name}
    return rows, read_examples(write(folder / "examples.jsonl", example))


@pytest.mark.parametrize("payload", [*PAYLOADS, "\u200f\u05d0\u202eright to left", "$x$ | _a_", '"><svg onload=x>'])
def test_names_texts_and_labels_add_or_change_no_element(payload, tmp_path):
    def skeleton(name: str) -> list[tuple[str, list[str]]]:
        rows, examples = named(name, tmp_path)
        return [
            (tag, sorted(attributes))
            for tag, attributes in Reading(page(rows, tables.all_tables(rows), {}, examples)).elements
        ]

    assert skeleton(payload) == skeleton("name")


@pytest.mark.filterwarnings("ignore:Glyph")  # the font of the plots lacks some of these letters
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # nobody compares so many sets
def test_names_in_plots_add_no_element(tmp_path):
    rows = [row for payload in PAYLOADS[:7] for row in named(payload, tmp_path)[0]]
    rows += [row for payload in PAYLOADS[7:] for row in named(payload, tmp_path)[0]]
    hostile, plain = Reading(report(rows)), Reading(report(everything()))
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in plain.elements}
    assert {name for _, attributes in hostile.elements for name in attributes} <= {
        n for _, attributes in plain.elements for n in attributes
    }


def test_the_page_loads_nothing_and_forbids_scripts(whole):
    elements = Reading(whole).elements
    policy = next(
        attributes["content"] for _, attributes in elements if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not {"script", "link", "img", "image", "iframe"} & {tag for tag, _ in elements}
    links = [
        value
        for _, attributes in elements
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href")
    ]
    assert links
    assert all(link.startswith("#") for link in links)


def test_ids_in_the_page_are_unique_and_what_plots_refer_to_is_there(whole):
    ids = re.findall(r'\sid="([^"]+)"', whole)
    assert len(set(ids)) == len(ids) > 50
    assert {*re.findall(r'href="#([^"]+)"', whole), *re.findall(r"url\(#([^)]+)\)", whole)} <= set(ids)


def test_screen_readers_find_headings_captions_and_scopes(whole):
    elements = Reading(whole).elements
    assert [tag for tag, _ in elements if tag == "h1"] == ["h1"]
    tags = [tag for tag, _ in elements]
    assert tags.count("caption") == tags.count("table") > 10
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in elements if tag == "th")
    assert all(attributes.get("aria-label") for tag, attributes in elements if tag == "svg")


def test_in_view_are_three_sentences_a_chart_and_a_table_and_all_else_is_folded(whole):
    in_view, innermost = whole, re.compile(r"<details(?:(?!<details).)*?</details>", re.DOTALL)
    while innermost.search(in_view):
        in_view = innermost.sub("", in_view)
    assert (in_view.count("<table"), in_view.count("<figure"), in_view.count("<svg")) == (1, 1, 1)
    (short,) = re.findall(r'<section class="verdict".*?</section>', in_view)
    assert short.count("<p>") == 3
    titles = re.findall(r'<details class="more"><summary><h3>(.*?)</h3></summary>', whole)
    assert len(titles) == len(set(titles)) == 16
    assert {"What was asked", "What these figures do not say", "Where it comes from"} <= set(titles)
    assert whole.count("<table") > 10


def test_the_short_sentences_count_the_same_sets_as_the_long_ones():
    assert in_short(everything()) == [
        "Without marked texts of the task, ExpNet is ahead of the best of 2 fixed methods on 2 of 2 sets and behind "
        "on 0.",
        "Trained on 16 marked texts of the task, ExpNet is ahead of it on 2 of 2 sets and behind on 0.",
        verdict(everything())[-2],
    ]
    behind = [replace(row, values={"average_precision": [0.0, 0.0, 0.0]}) if row.experiment == "cross-task" else row
              for row in everything() if row.kind == "plausibility"]  # fmt: skip
    assert "on 0 of 2 sets and behind on 2." in in_short(behind)[0]
    assert in_short([plausibility("a", [0.5])]) == verdict([plausibility("a", [0.5])])


def test_the_table_in_view_has_the_figures_of_the_full_one_and_marks_the_best_of_those_shown():
    (full,) = tables.headline(everything())
    short = overview(full)
    assert short.header == (
        "set", "best baseline", "best baseline: value", "ExpNet, cross-task", "ExpNet, 16 marks, from cross-task",
        "ExpNet, in-domain", "best control", "best control: value", "human",
    )  # fmt: skip
    for line, full_line in zip(short.rows, full.rows, strict=True):
        assert line == tuple(full_line[full.header.index(name)] for name in short.header)
    assert short.bold == {(0, 5), (1, 5)}


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_is_short_and_wide_tables_scroll_in_their_boxes(whole, tmp_path, width):
    (tmp_path / "report.html").write_text(whole, encoding="utf-8")
    browser = Chromium()
    try:
        browser.show(width, 800)
        browser.open((tmp_path / "report.html").as_uri())
        size = browser.value("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert size[0] == width
        assert size[1] < 3500
        browser.value("document.querySelectorAll('details').forEach(details => { details.open = true })")
        assert browser.value("document.documentElement.scrollWidth") == width
        assert browser.value(
            "[...document.querySelectorAll('.box')].every(box => getComputedStyle(box).overflowX === 'auto')"
        )
        assert browser.complaints() == []
    finally:
        browser.close()


def test_what_was_not_measured_is_said_not_to_be(whole):
    missing = "Not measured in this run."
    assert missing not in whole
    few = report([row for row in everything() if row.kind == "plausibility"])
    assert few.count(missing) == 6  # at a glance, chart and figures; faithfulness, stability, sanity, cost
    assert report([plausibility("a", [0.5])]).count(missing) == 9  # no ExpNet to compare either


def test_the_same_rows_give_the_same_page(whole):
    assert report(everything()) == whole


def test_the_verdict_counts_sets_by_the_interval_of_the_difference():
    rows = everything()
    worse = [row for row in rows if row.set == "b/test" and row.experiment == "cross-task"]
    rows = [
        replace(row, values={"average_precision": [0.0, 0.1, 0.2]})
        if row in worse and row.kind == "plausibility"
        else row
        for row in rows
    ]
    sentences = verdict(rows)
    assert sentences[0] == (
        "An ExpNet that was not trained on the task ranks the words that people marked better than the best of 2 fixed "
        "methods on 1 of 2 sets and worse on 1; on 0 the 95 % interval of the difference includes 0. Of those ahead, 0 "
        "stay significant after correction for testing several sets."
    )
    assert sentences[1].endswith("it is ahead of that method on 2 of 2 with 16 marks, from cross-task.")
    assert sentences[4].startswith(
        "Plausible is not faithful: among 3 methods on 2 sets, ExpNet, cross-task is number 1"
    )
    assert sentences[4].endswith("number 1 there is saliency.")
    assert sentences[5] == "ExpNet, cross-task takes the time of 1.5 predictions; saliency takes 1.5."


def test_without_an_expnet_the_verdict_says_that_it_has_none():
    assert verdict([plausibility("a", [0.5])]) == [
        "No ExpNet was measured beside a fixed method, so nothing can be said about who is ahead."
    ]


def test_curves_pass_through_the_figures_of_the_rows():
    figures = plots.plots(everything())
    (few, _) = figures["few_marks"].axes
    lines = {line.get_label(): line for line in few.lines}
    assert lines["ExpNet, from cross-task"].get_ydata() == pytest.approx([0.7, 2.3 / 3])
    assert [label.get_text() for label in few.get_xticklabels()] == ["0", "16", "all"]
    assert lines["best baseline"].get_ydata() == pytest.approx([1 / 3, 1 / 3])
    assert lines["human"].get_ydata() == pytest.approx([0.9, 0.9])
    falling = next(line for line in figures["deletion"].axes[0].lines if line.get_label() == "ExpNet, cross-task")
    assert falling.get_ydata() == pytest.approx([0.9, 0.5, 0.16])


def test_names_in_the_trade_off_lie_neither_on_each_other_nor_outside():
    rows = []
    for i in range(25):  # in a tight cloud, on a golden spiral
        x, y = (0.5 + 0.02 * math.sqrt(i) * turn(2.4 * i) for turn in (math.cos, math.sin))
        name = f"attention_method_{i}"
        rows.append(plausibility(name, [x]))
        rows.append(row(kind="faithfulness", method=name, values={"comprehensiveness": [y]}))
    axes = plots.plots(rows)["trade_off"].axes[0]
    boxes = [Text.get_window_extent(name) for name in axes.texts]  # without the line to its point
    assert len(boxes) == 25
    assert not [(i, j) for i in range(25) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert all(axes.bbox.contains(*corner) for box in boxes for corner in (box.p0, box.p1))


def test_long_names_of_many_expnets_overlap_neither_each_other_nor_the_scale():
    rows = []
    for i in range(44):
        name, about = ("expnet_gradient", "few marks") if i % 4 == 0 else (f"attention_method_{i}", "baseline")
        x, y = (0.6 + 0.02 * math.sqrt(i) * turn(2.4 * i) for turn in (math.cos, math.sin))
        told = {"shots": i, "start": "adapted"} if about == "few marks" else {}
        rows.append(plausibility(name, [x], about, **told))
        values = {"comprehensiveness": [y]}
        rows.append(
            row(
                kind="faithfulness",
                method=name,
                experiment=about,
                values=values,
                condition={"replacement": "mask", **told},
            )
        )
    axes = plots.plots(rows)["trade_off"].axes[0]
    boxes = [Text.get_window_extent(name) for name in axes.texts]
    assert len(boxes) == 44
    assert not [(i, j) for i in range(44) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert all(axes.bbox.contains(*corner) for box in boxes for corner in (box.p0, box.p1))


def test_an_example_shows_what_people_marked_first_and_finds_repeated_words_in_order(tmp_path):
    (example,) = read_examples(write(tmp_path / "e.jsonl", EXAMPLE))
    people, expnet, saliency = example.explanations
    assert [people.method, expnet.method, saliency.method] == ["people", "1.00 expnet", "saliency"]
    assert [(word.start, word.end) for word in people.words] == [(0, 2), (3, 7), (8, 9), (10, 12), (13, 16)]
    assert [word.score for word in people.words] == [1, 0, 0, 1, 1]
    assert (people.signed, saliency.signed) == (False, True)
    shown = Reading(report([plausibility("a", [0.5])], [example])).blocks
    assert any("no snow , no fun" in block for block in shown)


@pytest.mark.parametrize(
    ("words", "spans"),
    [
        (["a", "b", "a", "c"], [(0, 0, 1), (0, 2, 3), (1, 0, 1), (1, 2, 3)]),
        (["a", "c"], [(1, 0, 1), (1, 2, 3)]),  # only the pair was marked
        (["b", "c"], [(0, 2, 3), (1, 2, 3)]),
    ],
)
def test_words_of_a_pair_are_found_in_both_texts_or_in_the_second_alone(tmp_path, words, spans):
    scores = [0.5] * len(words)
    pair = EXAMPLE | {"text": "a b", "pair": "a c", "words": words, "marked": scores, "scores": {"expnet": scores}}
    (example,) = read_examples(write(tmp_path / "e.jsonl", pair))
    assert [(word.segment, word.start, word.end) for word in example.explanations[0].words] == spans


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"marked": [1, 0]}, "Line 2 of .*'people' has 2 scores for 5 words"),
        ({"words": ["snow", "no", "no", ",", "fun"]}, "do not stand in its text"),
        ({"scores": None}, "Line 2 of .* is not an example"),
    ],
)
def test_examples_that_do_not_fit_are_refused_with_their_line(tmp_path, change, message):
    path = write(tmp_path / "e.jsonl", EXAMPLE, EXAMPLE | change)
    with pytest.raises(BenchmarkError, match=message):
        read_examples(path)
    path.write_text(json.dumps({key: value for key, value in EXAMPLE.items() if key != "why"}))
    with pytest.raises(BenchmarkError, match=r"Line 1 .*the key 'why' is missing"):
        read_examples(path)
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_examples(tmp_path / "nowhere.jsonl")


def test_the_command_writes_a_page_tables_and_plots(tmp_path):
    rows = everything()
    RowFile(tmp_path / "rows.jsonl").append("cell", rows)
    folders = {name: tmp_path / "made" / name for name in ("tables", "plots")}
    arguments = ["report", str(tmp_path), "--output", str(tmp_path / "report.html")]
    arguments += [part for name, folder in folders.items() for part in (f"--{name}", str(folder))]
    arguments += ["--examples", str(write(tmp_path / "examples.json", EXAMPLE))]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert {path.suffix for path in folders["plots"].iterdir()} == {".pdf", ".png", ".svg"}
    files = sorted(path.name for path in folders["tables"].glob("*.csv"))
    named = re.findall(r"\(([^)]+\.csv)\)", (folders["tables"] / "tables.md").read_text(encoding="utf-8"))
    assert sorted(named) == files
    with (folders["tables"] / "plausibility-01.csv").open(encoding="utf-8") as file:
        read = {line["method"]: line for line in csv.DictReader(file)}
    figure = summary.figure([row for row in rows[:1] if row.method == "saliency"], "average_precision")
    assert float(read["saliency"]["average precision ↑"]) == pytest.approx(figure.mean, abs=1e-12)
    assert float(read["saliency"]["average precision ↑ low"]) == pytest.approx(figure.low, abs=1e-12)


def test_the_command_refuses_a_folder_that_is_not_there_and_files_without_rows(tmp_path):
    run = CliRunner().invoke
    with pytest.raises(InputError, match="does not exist"):
        run(app, ["report", str(tmp_path), "--output", str(tmp_path / "no" / "r.html")], catch_exceptions=False)
    with pytest.raises(BenchmarkError, match="no benchmark rows"):
        run(app, ["report", str(tmp_path), "--output", str(tmp_path / "r.html")], catch_exceptions=False)
