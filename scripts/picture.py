"""Draw docs/explanation.png and docs/methods.png: what expnet says of the README's sentence, in headless Chromium.

python scripts/picture.py

First it writes docs/picture.json: what removing the top words of this sentence does to the prediction. `--figures`
writes nothing else, and needs no browser. Then `python scripts/tables.py` brings the README up to date.
"""

import argparse
import base64
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.chromium import Chromium

import expnet
from expnet.explanation import html
from expnet.methods.registry import TABLE, find_method
from expnet.metrics.removal import check
from expnet.runtime.versions import versions

DOCS = Path(__file__).parents[1] / "docs"
TEXT = "A gripping, beautifully shot film with a wooden lead."
# One method needs texts to count words in; a few sentences are enough for a picture.
DOCUMENTS = ["A film with a lead.", "A beautifully lit room with a view.", "A shot in the dark.", "The lead is wooden."]
BOX = "(({x, y, width, height}) => [x, y, width, height])(document.querySelector('section').getBoundingClientRect())"


CHECKED, COUNT = ("expnet", "expnet_used", "integrated_gradients"), 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", action="store_true", help="write docs/picture.json alone")
    figures_only = parser.parse_args().figures
    explainer = expnet.load()
    (DOCS / "picture.json").write_text(json.dumps(figures(explainer), indent=1) + "\n", encoding="utf-8")
    if figures_only:
        return
    draw(html.fragment(explainer.explain(TEXT)), DOCS / "explanation.png", width=780, scale=2)
    rows = [
        suiting(method.name, explainer).explain(
            TEXT, method=method.name, options={"documents": DOCUMENTS} if "documents" in method.options else {}
        )
        for method in TABLE
        if set(_required(method)) <= {"documents"}  # learned weights belong to one classifier, and nobody learned any
    ]
    draw(html.side_by_side(rows), DOCS / "methods.png", width=860, scale=1)


def suiting(method: str, explainer: expnet.Explainer) -> expnet.Explainer:
    """Return the demo's explainer, or the universal one for the readings of an ExpNet with gradients or differences."""
    if find_method(method).family != "learned" or not find_method(method).uses_target:
        return explainer
    return expnet.load(explainer="universal/difference" if method == "expnet_difference" else "universal/gradient")


def figures(explainer: expnet.Explainer) -> dict[str, Any]:
    """Return the probability of the explained class with the top words of some methods removed, and random ones."""
    explanations = [suiting(method, explainer).explain(TEXT, method=method) for method in CHECKED]
    rows = check(explainer.classifier, expnet.Text.of(TEXT), explanations, count=COUNT)
    return {
        "model": explainer.classifier.name,
        "label": explanations[0].label,
        "removed": COUNT,
        "versions": versions(),
        "rows": [asdict(row) for row in rows],
    }


def _required(method: expnet.Method) -> list[str]:
    return [name for name, option in method.options.items() if option.default is option.empty]


def draw(fragment: str, picture: Path, *, width: int, scale: int) -> None:
    """Save what a page of this width shows of a fragment, `scale` times as fine as a screen, with a narrow margin."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html.document([fragment]), encoding="utf-8")
        browser = Chromium()
        try:
            browser.send(
                "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=scale, mobile=False
            )
            browser.open(page.as_uri())
            box = browser.value(BOX)
            clip = {"x": box[0] - 8, "y": box[1] - 8, "width": box[2] + 16, "height": box[3] + 16, "scale": 1}
            shot = browser.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        finally:
            browser.close()
    picture.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
