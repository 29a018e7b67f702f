#!/usr/bin/env bash
# Run the tests with the newest releases of everything, or with the oldest that pyproject.toml allows:
#     scripts/check_dependencies.sh newest|oldest [requirement, such as torch==2.13.0]...
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in
    newest) resolution=highest ;;
    oldest) resolution=lowest-direct ;;
    *) echo "Expected newest or oldest, got '${1:-}'." >&2 && exit 2 ;;
esac
shift
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
python3 -m venv "$environment"
. "$environment/bin/activate"
pip install --quiet uv
printf '%s\n' "$@" > "$environment/held.txt"
uv pip compile --quiet --no-config --resolution "$resolution" --no-annotate --extra dev --extra ray \
    --constraints "$environment/held.txt" --output-file "$environment/versions.txt" pyproject.toml
cat "$environment/versions.txt"
pip install --quiet --requirement "$environment/versions.txt"
pip install --quiet --no-deps --editable .
# Old releases beside new ones of what they need in turn warn of each other; that is no error of ours.
if [ "$resolution" = highest ]; then python -m pytest; else python -m pytest -o filterwarnings=; fi
