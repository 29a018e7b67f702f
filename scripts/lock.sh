#!/usr/bin/env bash
# Renew constraints.txt: the newest releases that fit together, on every platform that pyproject.toml names.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet uv
"$environment/bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra ray \
    --annotation-style line --custom-compile-command scripts/lock.sh --output-file constraints.txt pyproject.toml
