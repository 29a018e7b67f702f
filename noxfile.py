"""The steps that every change must pass, and the slower ones of a release: `nox --list` names them.

All run in the environment that nox itself runs in, so that one installation of torch serves them all. `.ci/run` makes
one from nothing.
"""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests", "docs"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types."""
    session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, or those named after `--`."""
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation site in docs/_build."""
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build")


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests and measure which lines and branches they reach."""
    session.run("python", "-m", "pytest", "--cov", "--cov-report=term", *session.posargs)


@nox.session
@nox.parametrize("releases", [nox.param(name, id=name) for name in ("newest", "oldest", "oldest-without-onnx")])
def dependencies(session: nox.Session, releases: str) -> None:
    """Run the tests in a fresh environment of the newest or the oldest releases that pyproject.toml allows."""
    session.run("scripts/check_dependencies.sh", releases, *session.posargs)


@nox.session
def mutate(session: nox.Session) -> None:
    """Change the modules named after `--`, and show the changes that the tests named with them do not notice."""
    if len(session.posargs) < 2:
        session.error("Expected a pattern below src/expnet and the tests that should notice: see scripts/mutate.sh.")
    session.run("scripts/mutate.sh", *session.posargs)
