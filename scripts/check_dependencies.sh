#!/usr/bin/env bash
# Run the tests with the newest releases of everything, or with the oldest that pyproject.toml allows:
#     scripts/check_dependencies.sh newest|oldest|oldest-without-onnx [requirement, such as torch==2.13.0]...
# The extra onnx needs a newer torch than the rest does, so the oldest torch is tested without it.
set -euo pipefail
cd "$(dirname "$0")/.."
extras='s/^$//'
case "${1:-}" in
    newest) resolution=highest ;;
    oldest) resolution=lowest-direct ;;
    oldest-without-onnx) resolution=lowest-direct extras='s/,onnx,/,/' ;;
    *) echo "Expected newest, oldest or oldest-without-onnx, got '${1:-}'." >&2 && exit 2 ;;
esac
shift
environment=$(mktemp -d)
trap 'rm -rf "$environment"' EXIT
chmod 755 "$environment"  # some tests become another user, who has to read the packages
python3 -m venv "$environment"
. "$environment/bin/activate"
pip install --quiet uv
printf '%s\n' "$@" > "$environment/held.txt"
sed "$extras" pyproject.toml > "$environment/pyproject.toml"
uv pip compile --quiet --no-config --resolution "$resolution" --no-annotate --extra dev --extra ray \
    --constraints "$environment/held.txt" --output-file "$environment/versions.txt" "$environment/pyproject.toml"
cat "$environment/versions.txt"
pip install --quiet --requirement "$environment/versions.txt"
pip install --quiet --no-deps --editable .
# Old releases beside new ones of what they need in turn warn of each other; that is no error of ours.
if [ "$resolution" = highest ]; then python -m pytest; else python -m pytest -o filterwarnings=; fi
