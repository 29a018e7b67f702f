"""Measuring some methods again replaces their figures and no others."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from expnet.errors import MethodError
from expnet.methods.registry import TABLE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
script = importlib.import_module("measure_methods")
OLD, NEW = "torch 1, expnet 0.1.0", "torch 2, expnet 0.1.0"


def row(name: str, ratio: float, **options: str) -> dict:
    return {"name": name, "options": options, "ratio": ratio, "least": ratio, "most": ratio, "repeats": 1}


def report(versions: str, *rows: dict) -> dict:
    return {"model": "demo", "versions": versions, "methods": list(rows), "peers": []}


BEFORE = report(OLD, row("random", 1.0), row("rollout", 2.0), row("lime", 3.0), row("lime", 4.0, replacement="delete"))


def test_only_the_methods_measured_again_change_and_the_others_keep_their_figures_and_other_libraries_theirs():
    before = BEFORE | {"peers": [{"name": "shap"}]}
    merged = script.merged(before, report(OLD, row("lime", 30.0), row("lime", 40.0, replacement="delete")))
    assert [(row_of_method["name"], row_of_method["ratio"]) for row_of_method in merged["methods"]] == [
        ("random", 1.0),
        ("rollout", 2.0),
        ("lime", 30.0),
        ("lime", 40.0),
    ]
    assert merged["peers"] == [{"name": "shap"}]
    assert not [row_of_method for row_of_method in merged["methods"] if "versions" in row_of_method]


def test_a_new_method_takes_its_place_in_the_table_and_one_that_is_gone_leaves_it():
    before = report(OLD, row("random", 1.0), row("of_yesterday", 9.0), row("lime", 3.0))
    merged = script.merged(before, report(OLD, row("rollout", 2.0)))
    assert [row_of_method["name"] for row_of_method in merged["methods"]] == ["random", "rollout", "lime"]


def test_figures_of_other_versions_say_so_and_the_table_shows_it():
    merged = script.merged(BEFORE, report(NEW, row("rollout", 20.0)))
    assert merged["versions"] == OLD
    assert {
        row_of_method["name"]: row_of_method["versions"]
        for row_of_method in merged["methods"]
        if "versions" in row_of_method
    } == {"rollout": NEW}
    tables = importlib.import_module("tables")
    shown = tables.cost(merged | {"batch": 32, "tokens": 27, "threads": 1}).splitlines()
    assert OLD in shown[0]
    assert shown[-1] == f"`rollout`: {NEW}."
    again = script.merged(merged, report(OLD, row("rollout", 2.0)))
    assert again == BEFORE


def test_where_methods_work_is_merged_by_name_too():
    before = {
        "versions": OLD,
        "methods": {"random": {"bert": ""}, "of_yesterday": {"bert": ""}, "lime": {"bert": "no"}},
    }
    merged = script.merged(before, {"versions": OLD, "methods": {"lime": {"bert": ""}, "rollout": {"bert": ""}}})
    assert merged["methods"] == {"random": {"bert": ""}, "rollout": {"bert": ""}, "lime": {"bert": ""}}
    assert list(merged["methods"]) == ["random", "rollout", "lime"]


def test_the_command_measures_the_named_methods_and_writes_the_others_back(monkeypatch, tmp_path):
    file, asked = tmp_path / "methods.json", []
    whole = report(script.versions(), *(row(method.name, 1.0) for method in TABLE))
    file.write_text(json.dumps({"speed": whole, "support": {"kept": True}}))

    def speed(methods, _repeats, _seconds, peers):
        asked.append(([method.name for method in methods], peers))
        return report(script.versions(), *(row(method.name, 7.0) for method in methods))

    monkeypatch.setattr(script, "speed", speed)
    monkeypatch.setattr(script.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["x", "speed", "--only", "rollout", "random", "--output", str(file)])
    script.main()
    assert asked == [(["random", "rollout"], False)]
    merged = json.loads(file.read_text())
    ratios = {row_of_method["name"]: row_of_method["ratio"] for row_of_method in merged["speed"]["methods"]}
    assert ratios == {method.name: 7.0 if method.name in ("random", "rollout") else 1.0 for method in TABLE}
    assert merged["support"] == {"kept": True}
    monkeypatch.setattr(sys, "argv", ["x", "speed", "--only", "rolout", "--output", str(file)])
    with pytest.raises(MethodError, match="rollout"):
        script.main()
