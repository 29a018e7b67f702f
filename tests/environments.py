"""Environments with the core of expnet and one extra: links to the packages that it declares, and to no others."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import expnet

SOURCE = Path(expnet.__file__).parents[1]


def link_packages(folder: Path, extra: str | None) -> Path:
    """Link into a new folder what `pip install 'expnet[extra]'` would put into an empty environment."""
    folder.mkdir()
    for name in _required(extra):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files if not file.name.endswith(".pth")} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


def run_in(folder: Path, code: str, *arguments: str | Path) -> str:
    """Run code that sees the standard library, our source and a folder of packages; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-S", "-W", "ignore", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (SOURCE, folder))), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _required(extra: str | None) -> set[str]:
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [("expnet", frozenset({extra} if extra else ()))]
    while todo:
        name, extras = asked = todo.pop()
        if asked in seen:
            continue
        seen.add(asked)
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": chosen}) for chosen in (*extras, "")):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen}
