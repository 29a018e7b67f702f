"""Run docs/notebook.ipynb from its first cell to its last, and store what it shows.

python scripts/notebook.py
"""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, record_timing=False).execute()
    notebook.metadata.pop("language_info", None)  # the version of Python, which says nothing here
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
