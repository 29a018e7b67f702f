"""The versions of packages, as files of expnet say what made them."""

from importlib.metadata import version

from expnet._version import __version__


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of the packages that scores depend on: expnet, torch and transformers.

    Args:
        packages: More packages that are installed, by their names.
    """
    return {"expnet": __version__, **{name: version(name) for name in ("torch", "transformers", *packages)}}
