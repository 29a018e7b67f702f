"""The core works alone, each extra brings what it needs, and what lacks one says how to install it."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.classifiers import tiny_classifier, tiny_explainer
from tests.environments import link_packages, run_in
from tests.models import build, save

# Runs a command of `expnet`, which must succeed.
COMMAND = """
import sys
from typer.testing import CliRunner
from expnet.cli.app import app

def run(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output

texts, model, network, out = sys.argv[1:]
with_model = ("--model", model, "--explainer", network)
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Texts, a classifier and its ExpNet, as files."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "texts.jsonl").write_text('{"text": "a good film"}\n{"text": "bad"}\n')
    save(folder / "model", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(folder / "network")
    return folder / "texts.jsonl", folder / "model", folder / "network"


def test_the_core_alone_explains_and_every_command_has_its_help(tmp_path, given):
    code = """
from typer.main import get_command

def helped(command, path):
    assert "Usage" in run(*path, "--help")
    for name, inner in getattr(command, "commands", {}).items():
        helped(inner, (*path, name))

helped(get_command(app), ())
run("methods")
print(run("explain", *with_model, "--method", "expnet", "--method", "lime", "--format", "json", "a good film"))
"""
    assert '"good"' in run_in(link_packages(tmp_path / "core", None), COMMAND + code, *given, tmp_path)


# What is asked for, and the extra that it needs.
LACKING = [
    ("expnet.load()", "demo"),
    ("import expnet.batch", "batch"),
    ("from expnet.audit.dataset import record_file", "batch"),
    ("import expnet.serve", "serve"),
    ("import expnet.studio", "serve"),
    ("expnet.ExpNetEstimator", "train"),
    ("expnet.finetune(model, [], [], texts, expnet.FinetuneConfig())", "train"),
    ("expnet.explain_frame(None, None)", "pandas"),
    ("import expnet.integrations.mlflow", "mlflow"),
    ("from expnet.export import export; export(None, texts)", "onnx"),
    ("from expnet.export import OnnxExplainer; OnnxExplainer.load(texts)", "onnx"),
    ("from expnet.rationales.hub import read_dataset; read_dataset('name', split='train')", "data"),
    ("expnet.load(model, explainer=network).explain('a good film', method='attention_flow')", "methods"),
    ("expnet.load(model, explainer=network).explain('a good film', method='partition_shap')", "methods"),
    ("command('explain-file', texts, texts)", "batch"),
    ("command('audit', 'file', texts)", "batch"),
    ("command('serve', model)", "serve"),
    ("command('studio', model, texts, '--marks', texts)", "serve"),
    ("command('export', model, '--output', texts)", "onnx"),
    ("command('report', texts, '--output', texts)", "report"),
    ("command('speed', '--plot', 'plot.png')", "report"),
    ("command('finetune', model, texts, texts, '--output', texts)", "train"),
    ("command('explain', 'a good film')", "demo"),
]


def test_what_lacks_an_extra_says_which(tmp_path, given):
    code = """
import sys, expnet
from expnet.cli.app import app
from expnet.errors import MissingExtraError

texts, model, network = sys.argv[1:4]

def command(*arguments):
    app(arguments, standalone_mode=False)

for each in sys.argv[4:]:
    try:
        exec(each)
        print("nothing raised")
    except MissingExtraError as error:
        print(str(error).replace("\\n", " "))
"""
    asked = [what for what, _ in LACKING]
    said = run_in(link_packages(tmp_path / "core", None), code, *given, *asked).splitlines()
    for (what, extra), line in zip(LACKING, said, strict=True):
        assert line.endswith(f"pip install 'expnet[{extra}]'"), (what, line)


# What each extra is for, done with its packages and those of the core alone.
USES = {
    "batch": "run('explain-file', texts, out, *with_model); run('audit', 'file', out)",
    "data": "import expnet.rationales.hub, datasets",
    "demo": "run('explain', 'A touching, funny film.')",
    "methods": """
run("explain", *with_model, "--method", "attention_flow", "--method", "partition_shap", "a good film")
""",
    "mlflow": """
import expnet.integrations.mlflow
expnet.integrations.mlflow.save_model(expnet.load(model, explainer=network), out)
""",
    "onnx": """
run("export", model, "--explainer", network, "--output", out)
run("explain", "--model", out, "a good film")
""",
    "otel": """
from expnet.serve import create_app
from expnet.serve.otel import from_environment
create_app({"tiny": __import__("expnet").load(model, explainer=network)}, traces=from_environment())
""",
    "pandas": """
import expnet, pandas
frame = expnet.explain_frame(expnet.load(model, explainer=network), pandas.DataFrame({"text": ["a good film"]}))
assert list(frame["status"]) == ["ok"]
""",
    "ray": "import expnet.batch.on_ray, ray.data; run('explain-file', texts, out, *with_model)",
    "report": "import expnet.benchmark.present.report.page",
    "serve": """
from expnet import load
from expnet.serve import create_app
from expnet.studio import Desk
import expnet.web.running
""",
    "train": """
from expnet import ExpNetEstimator, FinetuneConfig, Record, Text, finetune
records = [Record(str(n), Text.from_words(["a", word]), word) for n, word in enumerate(["good", "bad"] * 4)]
figures = finetune(model, records, records, out, FinetuneConfig(epochs=1))
assert 0 <= figures["accuracy"] <= 1
""",
}


@pytest.mark.parametrize("extra", USES)
def test_an_extra_brings_all_that_it_needs(extra, tmp_path, given):
    for package in ("ray", "onnxscript"):
        if extra in (package, package.removesuffix("script")) and find_spec(package) is None:
            pytest.skip(f"needs {package}")
    if extra == "otel":
        pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra otel")
    run_in(link_packages(tmp_path / extra, extra), COMMAND + USES[extra], *given, tmp_path / "out")
