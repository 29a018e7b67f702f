"""The table of attribution methods: ours, and those that other packages bring."""

import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from expnet.errors import MethodError, did_you_mean
from expnet.methods import learned
from expnet.methods.families import (
    attention,
    attention_gradient,
    controls,
    decomposition,
    decompx,
    deeplift,
    discretized,
    gradient,
    head_weights,
    partition,
    perturbation,
    propagation,
    stream,
    sums,
    surrogate,
    transformer_attribution,
)
from expnet.methods.method import Method

GROUP = "expnet.methods"
# The order of the table.
_MODULES = (
    learned,
    controls,
    attention,
    head_weights,
    gradient,
    discretized,
    deeplift,
    attention_gradient,
    stream,
    sums,
    transformer_attribution,
    propagation,
    decomposition,
    decompx,
    perturbation,
    surrogate,
    partition,
)


def _declared(module: ModuleType) -> Iterator[Method]:
    """Yield what a module declares, in the order of its source."""
    return (value for value in vars(module).values() if isinstance(value, Method))


TABLE: tuple[Method, ...] = tuple(method for module in _MODULES for method in _declared(module))


def list_methods() -> tuple[Method, ...]:
    """Return every method: expnet's own in the order of the table, then those of other packages by name.

    Another package brings a method by an entry point of the group "expnet.methods", whose name is the method's and
    whose object is a `Method`.

    Raises:
        MethodError: If a package brings a name that is taken, or something other than a `Method` of that name.
    """
    return (*TABLE, *(_load(point) for _, point in sorted(_plugins().items())))


def find_method(name: str) -> Method:
    """Return a method by name.

    Raises:
        MethodError: If there is none; the message offers the nearest name. Also as for `list_methods`.
    """
    plugins = _plugins()
    for method in TABLE:
        if method.name == name:
            return method
    if name in plugins:
        return _load(plugins[name])
    names = [*(method.name for method in TABLE), *sorted(plugins)]
    raise MethodError(f"There is no method {name!r}.{did_you_mean(name, names)} Methods: {', '.join(names)}.")


@lru_cache(maxsize=8)  # searching the installed packages takes longer than explaining a short text
def _installed(_path: tuple[str, ...]) -> tuple[Any, ...]:
    # Entry points, but which class of them: a package that brings its own `importlib_metadata` replaces the finder.
    return tuple(entry_points(group=GROUP))


def _plugins() -> dict[str, Any]:
    taken = {method.name: "expnet" for method in TABLE}
    points = {}
    for point in _installed(tuple(sys.path)):
        owner = point.dist.name if point.dist else point.value
        if point.name in taken:
            raise MethodError(
                f"The package {owner} brings an attribution method {point.name!r}, but {taken[point.name]} has one of "
                "that name. Rename its entry point, or uninstall one of them."
            )
        taken[point.name], points[point.name] = owner, point
    return points


def _load(point: Any) -> Method:
    method = point.load()
    if not isinstance(method, Method) or method.name != point.name:
        raise MethodError(
            f"The entry point {point.name!r} leads to {point.value}, which is {method!r}; expected an expnet.Method of "
            "that name."
        )
    return method
