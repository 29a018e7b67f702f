"""The miniature benchmark, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from expnet.benchmark.rows import Row, read_rows

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")
def test_the_quick_benchmark_runs_and_its_report_can_be_read(tmp_path):
    expnet = [sys.executable, "-c", "from expnet.cli import main; main()"]
    # One thread: another file of tests runs beside it.
    command = [*expnet, "benchmark", "--quick", "--threads", "1", "--data", DATA, "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = read_rows([tmp_path / "quick.jsonl"])
    plausible = {name: _mean(rows, name) for name in ("in-domain", "control", "floor")}
    assert plausible["in-domain"] > max(plausible["control"], plausible["floor"]) + 0.1
    across = {row.classifier for row in rows if row.experiment == "cross-base"}
    assert across == {"sentiment on half the layers"}  # the others are on one base
    said = done.stdout.splitlines()[-1].removeprefix("Read them with: ")
    assert said.startswith("expnet report ")
    command = [*expnet, *said.split()[1:-1], str(tmp_path / "report.html")]
    subprocess.run(command, check=True, capture_output=True)
    assert "fair_sst/test" in (tmp_path / "report.html").read_text()


def _mean(rows: list[Row], experiment: str) -> float:
    chosen = [row for row in rows if row.kind == "plausibility" and row.experiment == experiment]
    return float(np.nanmean(np.concatenate([row.values["average_precision"] for row in chosen])))
