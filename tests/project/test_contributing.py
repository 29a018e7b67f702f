"""What newcomers and the code host read names files that exist, and the steps are defined once."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import expnet

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOP = ("src/", "tests/", "docs/", "scripts/", ".ci/", ".github/", "benchmarks/")
ENDS = (".py", ".md", ".toml", ".txt", ".cff", ".yml", ".sh")


def named(page: str) -> list[str]:
    """Return the paths in backticks on a page, those that are built or made by running something left out."""
    text = (ROOT / page).read_text(encoding="utf-8")
    words = [word for quoted in re.findall(r"`([^`\n]+)`", text) for word in quoted.split()]
    paths = {word for word in words if word.startswith(TOP) or ("/" not in word and word.endswith(ENDS))}
    return sorted(path for path in paths if not path.startswith("docs/_build"))


def steps() -> dict[str, list[list[str]]]:
    """Return the commands of each session of noxfile.py, as far as they are written down there."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        function.name: [
            [part.value for part in node.args if isinstance(part, ast.Constant)]
            for node in ast.walk(function)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "session.run"
        ]
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
    }


@pytest.mark.parametrize("path", named("CONTRIBUTING.md"))
def test_a_file_that_contributing_names_exists(path):
    assert (ROOT / path).exists()


def test_enough_is_named_that_the_check_means_something():
    assert {"src/expnet/methods/registry.py", "tests/models.py", "noxfile.py", ".ci/run"} <= set(
        named("CONTRIBUTING.md")
    )


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/releasing.md"])
def test_links_of_the_pages_for_contributors_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert targets
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_ci_runs_the_sessions_of_the_noxfile_and_defines_no_step_itself():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^nox\b", run, re.MULTILINE)
    tools = {command[0] for commands in steps().values() for command in commands if command}
    assert {"ruff", "mypy", "sphinx-build"} <= tools
    assert not re.search(rf"^({'|'.join(map(re.escape, tools))})\b", run, re.MULTILINE)


def test_the_sessions_that_contributing_names_exist():
    sessions = set(re.findall(r"nox -s \"?([a-z]+)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    assert sessions == set(steps())


def test_the_scripts_that_a_session_runs_exist():
    scripts = [command[0] for commands in steps().values() for command in commands if command[0].startswith("scripts/")]
    assert len(scripts) == 2
    assert [path for path in scripts if not (ROOT / path).is_file()] == []


def test_the_public_ci_calls_the_same_run_on_every_python_that_the_package_names():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    check = workflow["jobs"]["check"]
    assert ".ci/run" in [step.get("run") for step in check["steps"]]
    versions = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", name)]
    assert check["strategy"]["matrix"]["python"] == versions
    assert workflow["permissions"] == {"contents": "read"}


def test_every_program_of_pre_commit_is_in_the_lock():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    programs = {hook["entry"].split()[0] for hook in hooks[0]["hooks"]}
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert {"ruff", "mypy"} <= programs
    for package in ("ruff", "mypy", "pre-commit", "pre-commit-hooks", "nox", "coverage", "pytest-cov"):
        assert re.search(rf"^{package}==", lock, re.MULTILINE), package


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == expnet.__version__
    assert citation["license"] == PROJECT["license"]


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_an_issue_form_has_what_the_code_host_asks_for(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content["name"]
    assert content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)
