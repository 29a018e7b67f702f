"""The example notebook runs in a real kernel, shows what it stores, and explanations show themselves there."""

import html
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import expnet
from expnet import Explanation, Word
from expnet.text.words import split_words

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"
SOURCE = Path(expnet.__file__).parents[1]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the code cells of the example show, run one after the other in a kernel of its own."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.setenv("OMP_NUM_THREADS", "1")
        NotebookClient(notebook, timeout=300).execute()
    return [cell.outputs[-1].data for cell in notebook.cells if cell.cell_type == "code"]


def test_an_explanation_at_the_end_of_a_cell_shows_its_words_as_a_page_does(shown):
    text = "A gripping, beautifully shot film with a wooden lead."
    page = shown[0]["text/html"]
    assert "<script" not in page
    for span in split_words(text):
        word = re.escape(text[span.start : span.end])
        assert re.search(rf'<span [^>]*title="0\.\d+"[^>]*>{word}<', page), word
    assert shown[0]["text/plain"].strip()


def test_every_cell_shows_something_and_frames_their_status(shown):
    assert all(shown)
    assert "missing" in shown[3]["text/html"]


def test_the_notebook_is_stored_with_what_it_shows_today_and_is_small(shown):
    def steady(data):
        """Return what is shown without figures, which differ in their last digits between machines."""
        return {kind: re.sub(r"\d+", "0", "".join(content)) for kind, content in data.items() if "html" in kind}

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    stored = [cell.outputs[-1].data for cell in notebook.cells if cell.cell_type == "code"]
    assert [steady(data) for data in stored] == [steady(data) for data in shown], "run python scripts/notebook.py"
    assert [len(data) for data in stored] == [len(data) for data in shown]
    assert NOTEBOOK.stat().st_size < 60_000


def test_what_a_notebook_shows_of_a_hostile_text_is_text():
    attack = "<img src=x onerror=alert(1)></div><script>alert(2)</script>"
    words = (Word(attack, 0, len(attack), 0, 0.9),)
    explanation = Explanation(attack, None, words, attack, 0.9, {attack: 0.9, "b": 0.1}, method="expnet")
    shown = explanation._repr_html_()
    assert "<img" not in shown
    assert "<script" not in shown
    assert html.escape(attack) in shown
