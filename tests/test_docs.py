"""What the pages say is what was measured."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

import expnet

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))


def test_the_tables_in_the_pages_are_those_of_the_reports():
    for path, text in importlib.import_module("tables").pages().items():
        assert path.read_text(encoding="utf-8") == text, f"run python scripts/tables.py to bring {path.name} up to date"


def test_the_records_in_the_how_to_can_be_read(tmp_path):
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "how-to.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "marked.jsonl").write_text(blocks[0])
    records = expnet.read_records(tmp_path / "marked.jsonl")
    marked = [[record.text.word(span) for span in record.rationale] for record in records]
    assert marked == [["dull", "dull"], ["touching"], ["Nobody"]]


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(
            f"docs/{name}.md"
            for name in ("how-to", "architecture", "methods", "results", "benchmark", "serve", "export", "speed")
        ),
    ],
)
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_first_command_of_the_readme_installs_and_explains_and_the_second_runs_the_tests():
    commands = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "pip install" in commands[0]
    assert "expnet explain" in commands[0]
    assert commands[1].strip() in (ROOT / ".ci" / "run").read_text()


def test_there_is_one_version(capsys):
    project = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in project
    assert f"## {expnet.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_report_of_each_demo_names_seed_versions_and_split():
    for path in (ROOT / "src" / "expnet" / "demo" / "weights").glob("*/report.json"):
        report = json.loads(path.read_text())
        provenance = report["explainer"]["provenance"]
        assert provenance["versions"].keys() >= {"expnet", "torch", "transformers"}
        assert "seed" in provenance["fit"]
        assert report["classifier"]["finetune"]["config"]["seed"] == 0
        assert all(row["n"] > 0 and "/" in row["set"] for row in report["explainer"]["results"])
