"""Keep the rows of finished benchmarks in the repository: figures only, no texts.

    python scripts/keep_rows.py runs ring
    python scripts/tables.py

Also keeps how well the fine-tuned classifiers do on their development splits.
"""

import argparse
import gzip
import json
from pathlib import Path

from expnet.benchmark.plan import read_plan
from expnet.benchmark.present.summary import check_rows
from expnet.benchmark.rows import RowFile

ROOT = Path(__file__).parents[1] / "benchmarks"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, help="the output folder of `expnet benchmark`")
    parser.add_argument("plans", nargs="+")
    parser.add_argument("--without", nargs="*", default=[], help="sets of an unfinished run to leave out")
    args = parser.parse_args()
    (ROOT / "rows").mkdir(exist_ok=True)
    for name in args.plans:
        sets = {test.file for task in read_plan(ROOT / f"{name}.toml").tasks for test in task.tests} - set(args.without)
        rows = [row for row in RowFile(args.runs / f"{name}.jsonl").read() if row.set in sets]
        check_rows(rows)
        lines = []
        for number, row in enumerate(rows):
            lines.append(json.dumps(json.loads(row.to_json()) | {"cell": str(number), "part": 0, "of": 1}))
        # No time stamp: the same rows give the same file.
        (ROOT / "rows" / f"{name}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
        print(name, len(rows), "rows")
    reports = {path.parent.name: json.loads(path.read_text()) for path in args.runs.glob("classifiers/*/finetune.json")}
    kept = json.dumps(dict(sorted(reports.items())), indent=1) + "\n"
    (ROOT / "rows" / "classifiers.json").write_text(kept)


if __name__ == "__main__":
    main()
