"""axe-core, a checker of pages for people who do not see or point: used where somebody has installed it.

npm install --no-save axe-core

puts it into node_modules/, where this looks; it is not part of the repository.
"""

import json
from pathlib import Path

from tests.chromium import Chromium

PROGRAM = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
_ASK = """
axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => JSON.stringify(
  violations.map(({id, impact, help, nodes}) => [impact, id, help, nodes.map(({html}) => html.slice(0, 200))])))
"""


def violations(browser: Chromium) -> list[tuple[str, str, str, list[str]]]:
    """Return what is wrong with the page that is shown: how bad, which rule, what it asks for, and where."""
    browser.value(PROGRAM.read_text(encoding="utf-8") + ";undefined")
    return [tuple(violation) for violation in json.loads(browser.value(_ASK))]
