#!/usr/bin/env bash
# Change the code of one slice in small ways, and say which changes its tests did not notice; not for CI:
#     scripts/mutate.sh 'metrics/statistics.py' tests/metrics/test_metrics.py
# The first word is a pattern below src/expnet, the others are the tests that should notice. Needs mutmut 3.
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
mutmut run --max-children 2 | tail -c 100
mutmut results | grep -v ': killed' > survived.txt || true
while IFS=': ' read -r name _; do mutmut show "$name"; done < survived.txt
wc -l < survived.txt
