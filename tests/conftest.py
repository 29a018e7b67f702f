"""Shapes and types are checked while testing; nothing reaches for the network; a busy machine is no failure."""

import os
from pathlib import Path
from pkgutil import iter_modules

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

torch.set_num_threads(1)  # the models are tiny; more threads only wait for each other

# jaxtyping takes a coroutine for the answer that `async def` promises, so that the modules of the server are left out.
PACKAGE = Path(__file__).parents[1] / "src" / "expnet"
SERVERS = ("web", "serve", "studio")
CHECKED = [f"expnet.{module.name}" for module in iter_modules([str(PACKAGE)]) if module.name not in SERVERS]
PLAIN = (
    "web.limits",
    "serve.tasks",
    *(f"studio.{name}" for name in ("texts", "marks", "comparing", "fitting", "desk")),
)
install_import_hook([*CHECKED, *(f"expnet.{name}" for name in PLAIN)], "beartype.beartype")

# A stranger's run gives our verdict; HYPOTHESIS_PROFILE=explore draws examples that nobody has tried yet.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeat", UNHURRIED, derandomize=True)
settings.register_profile("explore", UNHURRIED)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))


@pytest.fixture
def unchecked():
    """What a user gets, for whom nobody checks types."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def browser():
    """A Chromium with one page; only for tests that are skipped without one."""
    from tests.chromium import Chromium

    chromium = Chromium()
    yield chromium
    chromium.close()
