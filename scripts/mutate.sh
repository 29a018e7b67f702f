#!/usr/bin/env bash
# Change the code of one slice in small ways, and show the changes that its tests did not notice; not for CI:
#     scripts/mutate.sh 'metrics/statistics.py' tests/metrics/test_metrics.py
#     MUTANTS=40 scripts/mutate.sh 'attention/*.py' tests/attention
# The first word is a pattern below src/expnet, the others are the tests that should notice. MUTANTS tries so many of the
# changes, drawn with a fixed seed, instead of all. Needs mutmut 3.
set -euo pipefail
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
slice=$1
shift
cat >> "$copy/pyproject.toml" <<EOF

[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/expnet/$slice"]
pytest_add_cli_args = ["-n", "0"]
pytest_add_cli_args_test_selection = [$(printf '"%s", ' "$@")]
EOF
cd "$copy"
export OMP_NUM_THREADS=1
# No name matches, so that mutants are written and none is run.
mutmut run none > written.txt 2>&1 || true
python3 - "${MUTANTS:-0}" > names.txt <<'EOF'
import json, random, sys
from pathlib import Path
names = [name for path in sorted(Path("mutants").rglob("*.meta")) for name in json.loads(path.read_text())["exit_code_by_key"]]
wanted = int(sys.argv[1]) or len(names)
print(f"{min(wanted, len(names))} of {len(names)} changes are tried", file=sys.stderr)
print("\n".join(random.Random(0).sample(names, min(wanted, len(names)))))
EOF
xargs mutmut run --max-children "${CHILDREN:-2}" < names.txt | tail -c 100
mutmut results --all true | grep -F -f names.txt > results.txt || true
sed 's/.*: //' results.txt | sort | uniq -c
grep ': survived' results.txt | while IFS=': ' read -r name _; do mutmut show "$name"; done
