"""The container is not built here; but what its steps name exists: files, extras, the lock, commands, a path."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from expnet.serve import create_app
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.project.test_docs_run import parse

ROOT = Path(__file__).parents[2]


def steps(text):
    """Return the steps of a container file, each as its instruction and what follows, in its stage."""
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    parsed, stage = [], -1
    for line in filter(None, map(str.strip, lines)):
        instruction, _, rest = line.partition(" ")
        stage += instruction == "FROM"
        parsed.append((stage, instruction, rest.strip()))
    return parsed


STEPS = steps((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def of(instruction, stage=1):
    return [rest for at, name, rest in STEPS if name == instruction and at == stage]


def test_every_file_that_is_copied_is_in_the_repository_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for rest in of("COPY", 0) for name in rest.split()[:-1]]
    assert len(copied) == 5
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name
    assert ignored[1] == "*"
    names = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {names["readme"], *names["license-files"]} < set(copied), "the build of the package reads them"


def test_what_is_installed_is_pinned_and_its_extras_exist():
    installed = [rest for rest in of("RUN", 0) if "pip install" in rest]
    torch, package = installed
    pattern = re.search(r"grep --only-matching '([^']+)' ([\w.]+)", torch)
    pinned = re.findall(pattern[1], (ROOT / pattern[2]).read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pinned) == 1
    assert "--constraint constraints.txt" in package
    extras = re.search(r"'\.\[([\w,]+)\]'", package)[1].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras) <= known.keys()
    assert "serve" in extras


def test_what_the_build_made_is_what_runs_and_not_as_root():
    assert of("COPY") == ["--from=build /opt/expnet /opt/expnet"]
    assert "AS build" in of("FROM", 0)[0]
    assert of("FROM", 0)[0].split()[0] == of("FROM")[0], "a virtual environment works with the Python it was made by"
    assert all("PATH=/opt/expnet/bin:$PATH" in " ".join(of("ENV", stage)) for stage in (0, 1))
    names = [name for at, name, _ in STEPS if at == 1]
    (user,) = of("USER")
    assert user.partition(":")[0] not in ("root", "0")
    assert f"--uid {user.partition(':')[0]} " in of("RUN")[0]
    assert names.index("USER") < names.index("ENTRYPOINT")


@pytest.fixture(scope="module")
def paths():
    app = create_app({"tiny": tiny_explainer(tiny_classifier())})
    return {getattr(route, "path", "") for route in app.routes} | set(app.openapi()["paths"])


def test_the_command_exists_and_the_health_check_asks_its_port_for_a_path_that_it_serves(paths):
    (start,), (models,) = (map(json.loads, of(name)) for name in ("ENTRYPOINT", "CMD"))
    assert start[:2] == ["expnet", "serve"]
    parse([*start[1:], *models])
    (check,) = of("HEALTHCHECK")
    program, option, code = json.loads(check.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    ast.parse(code)
    port, path = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)'", code).groups()
    assert port == start[start.index("--port") + 1] == of("EXPOSE")[0]
    assert path in paths


def test_a_step_over_several_lines_is_one():
    text = "# why\nFROM a AS build\nRUN x; \\\n    y\n\nFROM b\nCOPY c d\n"
    expected = [(0, "FROM", "a AS build"), (0, "RUN", "x;      y"), (1, "FROM", "b"), (1, "COPY", "c d")]
    assert steps(text) == expected


def containers():
    documents = yaml.safe_load_all((ROOT / "docs" / "kserve.yaml").read_text(encoding="utf-8"))
    parts = [
        part for document in documents for part in (document["spec"]["predictor"], document["spec"].get("explainer"))
    ]
    return [container for part in parts if part for container in part.get("containers", ())]


def test_the_manifest_for_kserve_starts_the_server_as_it_is_and_asks_paths_that_there_are():
    (entry,) = of("ENTRYPOINT")
    command = json.loads(entry)
    port = int(command[command.index("--port") + 1])
    paths = create_app({"tiny": tiny_explainer(tiny_classifier())}).openapi()["paths"]
    assert len(containers()) == 2
    for container in containers():
        parse([*command[1:], *container["args"]])
        assert [entry["containerPort"] for entry in container["ports"]] == [port]
        for probe in ("readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["path"] in paths
            assert container[probe]["httpGet"]["port"] == port
