"""The versions of packages, as written into files to say what made them."""

import sys
from importlib.metadata import version

from expnet._version import __version__


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of the packages that scores depend on: expnet, torch and transformers.

    Args:
        packages: More packages that are installed, by their names.
    """
    return {"expnet": __version__, **{name: _version(name) for name in ("torch", "transformers", *packages)}}


def _version(name: str) -> str:
    # A loaded module also names its build, such as 2.13.0+cu130, which the metadata of a wheel may leave out.
    loaded = getattr(sys.modules.get(name), "__version__", None)
    return version(name) if loaded is None else str(loaded)
