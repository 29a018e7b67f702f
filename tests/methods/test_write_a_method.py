"""What docs/write-a-method.md shows works as it says, from a package that is found by its entry point."""

import re
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app
from expnet.errors import ContractError
from expnet.methods.contract.specimen import tiny_classifier
from expnet.methods.registry import TABLE
from tests.methods.test_costs import assert_passes

PAGE = (Path(__file__).parents[2] / "docs" / "write-a-method.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lay down what `pip install` of the page's package would."""
    package, metadata = tmp_path / "my_package", tmp_path / "my_package-1.0.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "methods.py").write_text("\n\n".join(blocks("python")[:2]))
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    entry = blocks("toml")[0].partition("\n")[2].replace("project.entry-points.", "").replace('"', "")
    (metadata / "entry_points.txt").write_text(entry)
    monkeypatch.syspath_prepend(tmp_path)
    yield expnet.find_method("contrast")
    sys.modules.pop("my_package.methods"), sys.modules.pop("my_package")


def test_it_is_found_listed_and_told_about(installed):
    assert [method.name for method in expnet.list_methods()] == [*(method.name for method in TABLE), "contrast"]
    told = CliRunner().invoke(app, ["methods", "contrast"])
    assert told.exit_code == 0, told.output
    assert "steps" in told.output


def test_its_own_test_passes_and_its_passes_are_those_declared(installed):
    space = {"expnet": expnet, "CONTRAST": installed}
    exec(blocks("python")[2], space)
    space["test_the_contract_is_kept"]()
    assert_passes(installed, {"steps": 3})


def test_for_two_classes_why_this_and_why_that_are_opposite(installed):
    classifier = tiny_classifier()
    encoding = classifier.encode([expnet.Text.of("A good film."), expnet.Text.of("bad")])
    with torch.no_grad():  # the third class never comes second
        classifier.model.classifier.bias[2] = -100.0
    this, that = (installed.attribute(classifier, encoding, torch.full((2,), target)) for target in (0, 1))
    assert this.abs().max() > 0.01
    torch.testing.assert_close(this, -that, atol=1e-5, rtol=1e-4)  # float32, sums of 16 products


def test_the_mistake_that_the_page_shows_is_named_as_it_says(installed):
    source, right = "\n\n".join(blocks("python")[:2]), "@by_part()\n"
    assert right in source
    space = {}
    exec(source.replace(right, ""), space)
    with pytest.raises(ContractError) as caught:
        expnet.check_method(space["CONTRAST"])
    assert str(caught.value) == blocks("text")[0].strip()
