"""Keep the rows of finished benchmarks in the repository: figures only, no texts, all plans in one Parquet file.

    python scripts/keep_rows.py runs ring
    python scripts/tables.py

Also keeps how well the fine-tuned classifiers do on their development splits.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from expnet.benchmark.plan import read_plan
from expnet.benchmark.present.summary import check_rows
from expnet.benchmark.rows import Row, RowFile, keep_rows, read_rows

ROOT = Path(__file__).parents[1] / "benchmarks"
ROWS = ROOT / "rows" / "all.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, help="the output folder of `expnet benchmark`")
    parser.add_argument("plans", nargs="+")
    parser.add_argument("--without", nargs="*", default=[], help="sets of an unfinished run to leave out")
    args = parser.parse_args()
    plans: dict[str, list[Row]] = {}
    for row in read_rows([ROWS]) if ROWS.is_file() else []:
        plans.setdefault(row.provenance["plan"], []).append(row)
    for name in args.plans:
        sets = {test.file for task in read_plan(ROOT / f"{name}.toml").tasks for test in task.tests} - set(args.without)
        plans[name] = [row for row in RowFile(args.runs / f"{name}.jsonl").read() if row.set in sets]
        check_rows(plans[name])
        print(name, len(plans[name]), "rows")
    keep_rows(ROWS, [row for rows in plans.values() for row in rows])
    path = ROOT / "rows" / "classifiers.json"
    reports: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    for name in args.plans:
        reports[name] = classifiers(args.runs, name)
    path.write_text(json.dumps(reports, indent=1) + "\n")


def classifiers(runs: Path, name: str) -> dict[str, Any]:
    """Return what `finetune.json` says of each classifier of a plan, by its folder."""
    folders = sorted(path.parent for path in runs.glob("classifiers/*/finetune.json"))
    tasks = {task.name.replace(" ", "-").replace("/", "-") for task in read_plan(ROOT / f"{name}.toml").tasks}
    return {
        folder.name: json.loads((folder / "finetune.json").read_text())
        for folder in folders
        if folder.name.rsplit("-", 2)[0] in tasks
    }


if __name__ == "__main__":
    main()
