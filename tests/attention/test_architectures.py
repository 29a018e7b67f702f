"""Every architecture is captured as the page says, exactly, or refused with the reason that the page gives."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

from tests.models import EVERY_ARCHITECTURE

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
script = importlib.import_module("measure_architectures")
MEASURED_WITH = re.search(r"torch ([\d.]*\d)", script.PAGE.read_text(encoding="utf-8"))[1]
TABLE = [line.strip("| ").split(" | ") for line in script.PAGE.read_text(encoding="utf-8").splitlines() if "|" in line]
RECORDED = {cells[0]: cells for cells in TABLE[2:]}


def test_the_page_has_every_architecture():
    assert tuple(RECORDED) == EVERY_ARCHITECTURE


@pytest.mark.parametrize("name", EVERY_ARCHITECTURE)
def test_an_architecture_is_captured_exactly_or_refused_as_the_page_says(name):
    row = script.measure(name)
    recorded = RECORDED[name]
    assert row.cells()[:4] == recorded[:4]
    note = recorded[8] if len(recorded) > 8 else ""
    assert _words(row.note) == _words(note)
    if torch.__version__.partition("+")[0] == MEASURED_WITH:
        assert row.note == note
    if row.support is not None:
        # Three layers of float32 sums in another order; logits are sums of up to a few tens.
        assert max(row.exact[1:]) <= 1e-5
        assert row.exact[0] <= 5e-5
        # Bfloat16 knows a score of 8 to 1/32, and both sides round on their own.
        assert max(row.half[1:]) <= 0.06


def _words(note: str) -> str:
    """Return a note without its figures: another release of torch than the page's may draw other weights."""
    return re.sub(r"[\d.]+", "#", note)
