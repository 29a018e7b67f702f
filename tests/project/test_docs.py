"""What the pages say is what was measured."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import expnet
from expnet.methods.registry import TABLE
from tests.plugin import FIRST_TOKEN
from tests.project.test_public import ROOMS

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))


def test_the_tables_in_the_pages_are_those_of_the_reports():
    # In a process of its own, where no type is checked: thousands of intervals are drawn.
    stale = "import tables; print(*tables.stale())"
    done = subprocess.run([sys.executable, "-c", stale], cwd=ROOT / "scripts", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], "run python scripts/tables.py to bring these up to date"


class TestAMethodThatNobodyHasMeasured:
    @pytest.fixture
    def tables(self, monkeypatch):
        import tables

        monkeypatch.setattr(tables, "TABLE", (*tables.TABLE, FIRST_TOKEN))
        return tables

    def test_its_rows_say_so(self, tables):
        table_of = tables.methods(tables.read("methods"))
        assert table_of["methods"].endswith(
            "| `first_token` | control |  |  |  |  |  | 0 | 0 | passes | not measured |"
        )
        (row,) = (line for line in table_of["support"].splitlines() if "first_token" in line)
        assert set(row.split(" | ")[1:]) == {"not measured", "not measured |"}

    def test_no_page_is_out_of_date_for_want_of_it_but_for_any_other_row(self, tables, tmp_path, monkeypatch):
        page = tmp_path / "methods.md"
        monkeypatch.setattr(tables, "pages", lambda: {page: "| `alti` | 2 |\n| `first_token` | not measured |\n"})
        for text, out_of_date in (("| `alti` | 2 |\n", []), ("| `alti` | 1 |\n", [page.name]), ("", [page.name])):
            page.write_text(text)
            assert tables.stale() == out_of_date


def test_every_figure_in_the_words_of_the_limits_stands_in_a_table_of_that_page():
    lines = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8").splitlines()
    words, tables = ([line for line in lines if line.startswith("|") == table] for table in (False, True))
    said = set(re.findall(r"-?\b\d\.\d{3}\b", "\n".join(words)))
    assert len(said) > 10
    assert said <= set(re.findall(r"-?\b\d\.\d{3}\b", "\n".join(tables)))


def test_the_page_on_methods_to_use_names_methods_that_there_are():
    page = (ROOT / "docs" / "which-method.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+)`", page))
    assert len(named) > 8
    assert named <= {method.name for method in TABLE}


def test_each_of_ten_questions_has_the_picture_that_its_command_draws():
    import gallery

    page = gallery.PAGE.read_text(encoding="utf-8")
    drawn = gallery.commands(page)
    shown = re.findall(r"^!\[.{20,}\]\(gallery/(.*)\)$", page, re.MULTILINE)
    assert [picture for _, picture in drawn] == shown
    assert len(shown) == len(re.findall(r"^## \d+\. .*\?$", page, re.MULTILINE)) == 10
    assert sorted(shown) == sorted(path.name for path in (gallery.PAGE.parent / "gallery").iterdir())
    for arguments, picture in drawn:
        source = (gallery.PAGE.parent / "gallery" / picture).read_text(encoding="utf-8")
        text = next(argument for argument in arguments[1:] if " " in argument)
        assert all(f">{word}<" in source for word in re.findall(r"\w{4,}", text)), picture


def test_each_page_of_the_gallery_has_the_picture_that_is_drawn_of_it():
    import gallery

    page = gallery.PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^!\[.{20,}\]\(screens/(.*)\)$", page, re.MULTILINE)
    assert [f"{name}.png" for _, name in gallery.pages(page)] == shown == ["heads.png", "file.png"]
    assert sorted(shown) == sorted(path.name for path in (gallery.PAGE.parent / "screens").iterdir())
    assert len(gallery.READING.findall(page)) == 1
    texts = [json.loads(line)["text"] for line in (gallery.PAGE.parent / "reviews.jsonl").read_text().splitlines()]
    assert len(set(texts)) == len(texts) == 60


def test_the_records_in_the_how_to_can_be_read(tmp_path):
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "how-to.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "marked.jsonl").write_text(blocks[0])
    records = expnet.read_records(tmp_path / "marked.jsonl")
    marked = [[record.text.word(span) for span in record.rationale] for record in records]
    assert marked == [["dull", "dull"], ["touching"], ["Nobody"]]


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_links_between_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_first_command_of_the_readme_installs_and_explains_and_the_second_runs_the_tests():
    commands = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "pip install" in commands[0]
    assert "expnet explain" in commands[0]
    words = ", ".join(f'"{word}"' for word in commands[1].split())
    assert f"session.run({words}, *session.posargs)" in (ROOT / "noxfile.py").read_text()


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


def test_the_architecture_page_has_every_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    named = {name.strip("`/ ") for row in rows for name in row.split(",")}
    assert named == set(ROOMS)


def test_the_architecture_page_names_every_module_in_the_row_of_its_room():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    missing = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "src" / "expnet").glob("*/*.py"))
        if path.stem != "__init__"
        and not any(f"`{path.parent.name}/`" in row[1] and f"`{path.stem}`" in row[2] for row in rows)
    ]
    assert missing == []


def test_the_check_beside_the_picture_is_what_the_package_says():
    import picture

    measured = json.loads((ROOT / "docs" / "picture.json").read_text())
    again = picture.figures(expnet.load())
    assert [row["words"] for row in measured["rows"]] == [list(row["words"]) for row in again["rows"]]
    for row, same in zip(measured["rows"], again["rows"], strict=True):
        for name in ("full", "without", "alone"):
            # Another processor or release adds up in another order; the page shows tenths of a percent.
            assert row[name] == pytest.approx(same[name], abs=2e-3)
