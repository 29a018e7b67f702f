"""The public face is exact, quick to import, and its modules import one way only."""

import ast
import subprocess
import sys
from pathlib import Path

import expnet

SOURCE = Path(expnet.__file__).parent

# From the ground up: a module may import what stands before it, never what stands after.
ORDER = [
    "errors",
    "lines",
    "progress",
    "writing",
    "parsing",
    "tokenizerfile",
    "locks",
    "ambient",
    "memory",
    "words",
    "texts",
    "windows",
    "labels",
    "render",
    "explanation",
    "encoding",
    "attention.borrow",
    "attention.kernels",
    "attention.gradients",
    "attention.intercept",
    "attention.fused",
    "attention.capture",
    "attention.signals",
    "attention.probe",
    "modelfiles",
    "adapters",
    "loading",
    "wrappers",
    "weights",
    "prediction",
    "capacity",
    "classifier",
    "features",
    "heads",
    "checkpoint",
    "network",
    "trust",
    "universal",
    "rationales",
    "metrics",
    "rationales.description",
    "training",
    "methods.cost",
    "methods.method",
    "methods.passes",
    "methods.replacement",
    "methods.layers",
    "methods.coalitions",
    "metrics.faithfulness",
    "metrics.removal",
    "metrics.erasure",
    "metrics.sanity",
    "methods.controls",
    "methods.attention",
    "methods.gradient",
    "methods.deeplift",
    "methods.attention_gradient",
    "methods.transformer_attribution",
    "methods.propagation",
    "methods.blocks",
    "methods.decomposition",
    "methods.decompx",
    "methods.perturbation",
    "methods.surrogate",
    "methods.partition",
    "methods.learned",
    "methods.registry",
    "training.adapt",
    "training.fit",
    "methods.specimen",
    "methods.snapshot",
    "methods.contract",
    "demo",
    "explainer",
    "identity",
    "speed",
    "export.manifest",
    "export.batches",
    "export.explaining",
    "export.graph",
    "export.writing",
    "export",
    "throughput",
    "batch.settings",
    "batch.rows",
    "batch.hashed",
    "batch.columns",
    "batch.formats",
    "batch.folders",
    "batch.files",
    "batch.shards",
    "batch.job",
    "batch.on_ray",
    "batch",
    "frames",
    "estimator",
    "pipeline",
    "mlflow",
    "audit.record",
    "audit.verifying",
    "audit.shards",
    "audit.rows",
    "audit.words",
    "audit.drift",
    "audit.sample",
    "audit.dataset",
    "audit.pages",
    "audit",
    "serve.limits",
    "serve.tasks",
    "serve.failures",
    "serve.worker",
    "serve.models",
    "serve.refusals",
    "serve.schema",
    "serve.metrics",
    "serve.origins",
    "serve.guard",
    "serve.v1",
    "serve.forms",
    "serve.page",
    "serve.app",
    "serve.running",
    "serve",
    "studio.texts",
    "studio.marks",
    "studio.importing",
    "studio.comparing",
    "studio.fitting",
    "studio.desk",
    "studio.page",
    "studio.app",
    "studio",
    "benchmark.rows",
    "benchmark.plan",
    "benchmark.data",
    "benchmark.scores",
    "benchmark.making",
    "benchmark.contestants",
    "benchmark.measures",
    "benchmark.cost",
    "benchmark.measuring",
    "benchmark.run",
    "benchmark.examples",
    "benchmark.summary",
    "benchmark.comparison",
    "benchmark.table",
    "benchmark.tables",
    "benchmark.plots",
    "benchmark.report.examples",
    "benchmark.report.verdict",
    "benchmark.report.prose",
    "benchmark.report.page",
    "cli",
]


def test_the_public_names_are_exactly_these():
    assert sorted(expnet.__all__) == [
        "Classifier",
        "Encoding",
        "ExpNet",
        "ExpNetConfig",
        "ExpNetEstimator",
        "Explainer",
        "Explanation",
        "ExpnetError",
        "FeatureConfig",
        "FinetuneConfig",
        "FitConfig",
        "HeadSetConfig",
        "Method",
        "Prediction",
        "Record",
        "Source",
        "Span",
        "Text",
        "Trace",
        "Word",
        "__version__",
        "adapt",
        "check_method",
        "explain_frame",
        "find_method",
        "finetune",
        "fit",
        "fit_mixture",
        "list_methods",
        "load",
        "read_records",
    ]
    for name in expnet.__all__:
        assert getattr(expnet, name) is not None


def test_type_checkers_see_the_same_public_names():
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == expnet._HOMES


def test_importing_expnet_loads_neither_torch_nor_transformers():
    code = "import expnet, sys; print(sorted({'torch', 'transformers', 'numpy', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_imports_point_one_way_only():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        for imported in _imports(path):
            if _rank(imported) > _rank(module):
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


def test_names_with_a_leading_underscore_never_leave_their_module():
    wrong = [
        f"{path.name}: {alias.name}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("expnet")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert wrong == []


def _rank(module: str) -> int:
    rooms = [room for room in ORDER if module == room or module.startswith(f"{room}.")]
    ranks = [ORDER.index(max(rooms, key=len))] if rooms else []  # a module may have a later place than its package
    if not ranks:  # a package whose modules have places of their own
        ranks = [i for i, room in enumerate(ORDER) if room.startswith(f"{module}.")]
    assert ranks, f"{module} has no place in the order of imports: give it one in ORDER"
    return ranks[0]


def _imports(path: Path) -> list[str]:
    """Imports that happen at run time, also inside functions, but not those for type checkers only."""
    found = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("expnet."):
            base = node.module.removeprefix("expnet.")
            found.extend(
                f"{base}.{alias.name}" if (SOURCE / base.replace(".", "/") / f"{alias.name}.py").is_file() else base
                for alias in node.names
            )
        if isinstance(node, ast.ImportFrom) and node.module == "expnet":
            found.extend(alias.name for alias in node.names if alias.name in ORDER)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found
