"""TeX itself compiles what we write, whatever the text, and no line runs off the page."""

import re
import shutil
import subprocess

import pytest

from expnet.text.words import split_words
from tests.explanation.test_render import everywhere, explain
from tests.payloads import PAYLOADS

HARD = {
    "special": "100% of \\textbf{bad} $x_1^2$ & #hash {open ~x ^hat <a|b> `quote` \"x\" -- --- ''a'' ?` !` \\\\ \\n %",
    "symbols": "Café Ærøskøbing Łódź ßtraße čeština İı ğ ŵ ḍ ç ¿qué? ‘a’ “b” – — … €5 £3 ¥¢ §1 ¶ ° ± × ÷ µ · • © ® ™ ½",
    "emoji": "Great 😀👍🏽 film 👩‍👩‍👧 flag 🇩🇪 ok ✓ ★",
    "scripts": "Привет мир, Ελλάδα, 中文电影很好, 日本語, 한국어, שלום עולם, مرحبا, हिन्दी, ไทย",
    "controls": "Z̷̛a̴l͎g̸o e\u0301 \u200b zero\u200dwidth \u202eright \u0007bell \ud800 lone",
    "lines": "First line.\nSecond\tline with tab\n\n\nafter blanks   three  spaces\n",
    "long": "It never ends. " * 300,
    "long word": "x" * 400 + " " + "donaudampfschiff" * 30,
    "nothing": "",
}
DOCUMENT = r"""\documentclass{article}
\usepackage{xcolor}
\begin{document}
%s
\end{document}
"""


def fragments():
    for text in HARD.values():
        scores = [(place % 9 - 4) / 4 for place in range(len(split_words(text)))]
        yield explain(text, scores, signed=True).to_latex()
        yield explain(text, [abs(score) for score in scores], threshold=0.5).to_latex()
    for payload in PAYLOADS:
        yield everywhere(payload).to_latex()


@pytest.mark.parametrize("engine", ["pdflatex", "xelatex", "lualatex"])
def test_an_engine_compiles_hard_texts_and_every_line_fits(engine, tmp_path):
    if shutil.which(engine) is None:
        pytest.skip(f"no {engine} here")
    (tmp_path / "words.tex").write_text(DOCUMENT % "\n\n".join(fragments()), encoding="ascii")
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "words.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "words.log").read_text(encoding="utf-8", errors="replace")
    assert re.findall(r"Overfull \\hbox.*", log) == []
    assert int(re.search(r"Output written on .*\((\d+) pages", log)[1]) >= 3
