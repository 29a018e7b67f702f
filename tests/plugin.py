"""What a package that brings methods of its own would hold, and a way to have it installed."""

import importlib.metadata
from contextlib import contextmanager

import pytest
import torch

import expnet
from expnet.methods import registry
from expnet.methods.families.decomposition import alti


def first_token(classifier, encoding, target):
    """Score the first token of a text 1, others 0."""
    first = encoding.real & (encoding.real.int().cumsum(1) == 1)
    return first.to(torch.float32)


FIRST_TOKEN = expnet.Method(
    name="first_token",
    family="control",
    function=first_token,
    paper="",
    forward="0",
    signed=False,
    uses_target=False,
)


MY_ALTI = expnet.Method(
    name="my_alti",
    family="propagation",
    function=alti,
    paper="",
    forward="1",
    cost="quadratic",
    signed=False,
    uses_target=False,
)


class Package:
    name = "somebody-s-package"


def point(name, value):
    """An entry point as an installed package has it."""
    made = importlib.metadata.EntryPoint(name, value, registry.GROUP)
    return made._for(Package())  # type: ignore[attr-defined]  # what importlib itself calls


@contextmanager
def installing():
    """Yield what makes some entry points the only ones of the group, until the end."""

    def install(*points):
        registry._installed.cache_clear()
        patch.setattr(registry, "entry_points", lambda group: points if group == "expnet.methods" else ())

    with pytest.MonkeyPatch.context() as patch:
        yield install
    registry._installed.cache_clear()
