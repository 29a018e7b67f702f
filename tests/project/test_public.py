"""The public face is exact, quick to import, and its modules import one way only."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import expnet

SOURCE = Path(expnet.__file__).parent
TESTS = Path(__file__).parents[1]

# From the ground up: a room may import what stands before it, never what stands after.
ROOMS = [
    "_version",
    "errors",
    "files",
    "runtime",
    "text",
    "explanation",
    "attention",
    "model",
    "network",
    "universal",
    "methods",
    "metrics",
    "rationales",
    "finetuning",
    "training",
    "demo",
    "checking",
    "explainer",
    "identity",
    "export",
    "timing",
    "batch",
    "integrations",
    "mlflow",
    "pipeline",
    "audit",
    "web",
    "serve",
    "studio",
    "benchmark",
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
        "HeadEffects",
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
        "argilla_record",
        "as_tokens",
        "check_method",
        "explain_frame",
        "explain_heads",
        "explain_table",
        "find_method",
        "finetune",
        "fit",
        "fit_mixture",
        "learn_head_weights",
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


def test_rooms_import_one_way_only():
    wrong = [
        f"{module} imports {imported}"
        for module, imports in _graph().items()
        for imported in imports
        if ROOMS.index(_room(imported)) > ROOMS.index(_room(module))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("former", "name", "home"),
    [
        ("expnet.universal", "named", "expnet.network.universal"),
        ("expnet.pipeline", "register", "expnet.integrations.transformers"),
        ("expnet.mlflow", "save_model", "expnet.integrations.mlflow"),
    ],
)
def test_names_of_modules_from_before_the_rooms_still_import(former, name, home):
    assert getattr(import_module(former), name) is getattr(import_module(home), name)


def test_every_room_has_its_place_and_every_place_a_room():
    assert sorted({_room(module) for module in _graph()}) == sorted(ROOMS)


def test_the_modules_of_a_room_import_each_other_without_a_circle():
    graph = _graph()
    inside = {module: {one for one in imports if _room(one) == _room(module)} for module, imports in graph.items()}
    list(TopologicalSorter(inside).static_order())  # a CycleError names the modules of a circle


def test_no_two_classes_have_the_same_name():
    homes: dict[str, list[str]] = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name.lstrip("_"), []).append(path.relative_to(SOURCE).as_posix())
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_tests_lie_in_the_room_of_what_they_test():
    folders = {path.parent.name for path in TESTS.rglob("test_*.py")}
    assert folders <= {*ROOMS, "project"}
    assert list(TESTS.glob("test_*.py")) == []


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


def _graph() -> dict[str, set[str]]:
    """Return what each module imports at run time, of this package; the front door, `expnet`, is left out."""
    paths = {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCE.rglob("*.py")
        if path != SOURCE / "__init__.py"
    }
    return {module: _imports(path, set(paths)) - {module} for module, path in paths.items()}


def _room(module: str) -> str:
    return module.partition(".")[0]


def _imports(path: Path, modules: set[str]) -> set[str]:
    """Return the imports that happen at run time, also inside functions, but not those for type checkers only."""
    imports = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "expnet":
            base = node.module.removeprefix("expnet").removeprefix(".")
            for alias in node.names:
                submodule = f"{base}.{alias.name}".removeprefix(".")
                imports.add(submodule if submodule in modules else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return imports - {""}
