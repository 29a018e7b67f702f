"""`expnet doctor` says what is there, and fails for what is broken."""

import json
import re
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

import expnet
from expnet.cli import diagnosis
from expnet.cli.app import app
from expnet.errors import InputError
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.cli.test_cli import run
from tests.models import build, save


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for architecture in ("bert", "roformer", "fnet"):
        save(root / architecture, build(architecture, num_hidden_layers=2), typed=True)
    tiny_explainer(tiny_classifier(num_hidden_layers=2)).network.save_pretrained(root / "fits")
    tiny_explainer(tiny_classifier(num_hidden_layers=1)).network.save_pretrained(root / "of-another")
    return root


def examine(*arguments):
    """Return exit status and findings."""
    done = CliRunner().invoke(app, ["doctor", *map(str, arguments), "--format", "json"])
    return done.exit_code, json.loads(done.stdout)


def test_versions_and_extras_are_those_installed():
    status, found = examine()
    assert (status, found["problems"], found["model"]) == (0, [], None)
    assert found["versions"]["expnet"] == expnet.__version__
    assert found["versions"]["transformers"] == version("transformers")
    assert found["extras"]["methods"] == []
    assert found["devices"][0].startswith("cpu (")


def test_an_extra_that_is_not_there_says_how_to_install_it_and_breaks_nothing(monkeypatch):
    def lacks_pyarrow(package):
        if package == "pyarrow":
            raise diagnosis.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(diagnosis, "version", lacks_pyarrow)
    shown = run("doctor")
    assert re.search(r"batch +lacks pyarrow>=17: pip install 'expnet\[batch\]'", shown)
    assert re.search(r"mlflow +lacks pyarrow>=17", shown), "it brings batch in by way of pandas"
    assert re.search(r"methods +installed", shown)


def test_a_package_that_is_too_old_is_broken_only_if_expnet_cannot_do_without_it(monkeypatch):
    old = {"torch": "2.1", "matplotlib": "1.0"}
    monkeypatch.setattr(diagnosis, "version", lambda package: old.get(package) or version(package))
    status, found = examine()
    assert status == 1
    assert found["problems"] == ["expnet needs torch>=2.7 (there is 2.1): pip install --upgrade expnet"]
    assert found["extras"]["report"] == ["matplotlib>=3.9 (there is 1.0)"]


def test_a_model_and_the_explainer_that_fits_it(folders):
    status, found = examine(folders / "bert", "--explainer", folders / "fits")
    model = found["model"]
    told = ("architecture", "attention", "not_fused_because", "anchor", "layers", "heads", "methods_refused")
    assert {name: model[name] for name in told} == {
        "architecture": "bert",
        "attention": "fused",
        "not_fused_because": "",
        "anchor": "first: the first token",
        "layers": 2,
        "heads": 4,
        "methods_refused": {},
    }
    assert model["methods_that_need_options"]["inverse_document_frequency"] == ["documents"]
    assert {"saliency", "lime", "rollout"} <= set(model["methods"])
    assert (status, found["explainer"]["fits"], found["explainer"]["method"]) == (0, True, "expnet")
    assert "`expnet trust" in found["explainer"]["check"]


def test_an_explainer_of_another_model_is_broken_and_the_model_is_described_all_the_same(folders):
    status, found = examine(folders / "bert", "--explainer", folders / "of-another")
    assert status == 1
    assert "layers 2 instead of 1" in found["problems"][0]
    assert (found["explainer"]["fits"], found["model"]["attention"]) == (False, "fused")
    shown = (
        CliRunner().invoke(app, ["doctor", str(folders / "bert"), "--explainer", str(folders / "of-another")]).stdout
    )
    assert re.search(r"fits +no", shown)
    assert "Broken" in shown


def test_eager_capture_says_why_it_is_not_fused_and_methods_that_refuse_say_why(folders):
    status, found = examine(folders / "roformer")
    assert (status, found["model"]["attention"]) == (0, "eager")
    assert "does not use transformers' attention interface" in found["model"]["not_fused_because"]


def test_a_model_without_attention_is_broken_and_lists_what_works(folders):
    status, found = examine(folders / "fnet")
    assert status == 1
    assert found["model"]["attention"] is None
    assert "captured neither way" in found["model"]["not_captured_because"]
    assert "saliency" in found["model"]["methods"]
    assert "captured neither way" in found["model"]["methods_refused"]["rollout"]


def test_the_verdict_of_a_check_is_shown(folders, tmp_path):
    (tmp_path / "texts.txt").write_text("A good film\nbad text\n")
    run("trust", folders / "bert", tmp_path / "texts.txt", "--explainer", folders / "fits", "--output", tmp_path / "c")
    _, found = examine(folders / "bert", "--explainer", tmp_path / "c")
    assert found["explainer"]["check"].startswith("Checked on this classifier with 2 texts: ")


def test_what_is_no_model_is_broken_and_an_explainer_alone_is_refused(folders):
    status, found = examine("/no/such/model")
    assert (status, found["model"]) == (1, None)
    assert "neither a folder" in found["problems"][0]
    with pytest.raises(InputError, match="--explainer needs a model"):
        run("doctor", "--explainer", folders / "fits")
