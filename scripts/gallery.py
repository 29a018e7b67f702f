"""Draw the pictures of docs/gallery.md, each by the command that stands beside it.

python scripts/gallery.py [PICTURE.svg | PAGE.html ...]

What a command writes as a page is shown in headless Chromium, and its upper part kept in docs/screens.
"""

import base64
import contextlib
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.chromium import Chromium

from expnet.cli.app import app

PAGE = Path(__file__).parents[1] / "docs" / "gallery.md"
COMMAND = re.compile(r"^expnet (explain .* --output (\S+\.svg).*)$", re.MULTILINE)


PAGES = re.compile(r"^expnet (.* --output (\S+)\.html.*)$", re.MULTILINE)
READING = re.compile(r"^expnet (explain-file .*)$", re.MULTILINE)
WIDTH, HEIGHT = 860, 1300


def main() -> None:
    page, chosen = PAGE.read_text(encoding="utf-8"), sys.argv[1:]
    with contextlib.chdir(PAGE.parent / "gallery"):
        for arguments, picture in commands(page):
            if not chosen or picture in chosen:
                app(arguments, standalone_mode=False)
    screens = [(arguments, name) for arguments, name in pages(page) if not chosen or f"{name}.html" in chosen]
    if screens:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            shutil.copy(PAGE.parent / "reviews.jsonl", ".")
            for arguments in READING.findall(page):
                app(shlex.split(arguments), standalone_mode=False)
            for arguments, name in screens:
                app(arguments, standalone_mode=False)
                draw(Path(f"{name}.html").resolve(), PAGE.parent / "screens" / f"{name}.png")


def draw(page: Path, picture: Path) -> None:
    """Save the upper part of a page."""
    browser = Chromium()
    try:
        browser.show(WIDTH, HEIGHT)
        browser.open(page.as_uri())
        height = min(HEIGHT, browser.value("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        shot = browser.send("Page.captureScreenshot", clip=clip)
    finally:
        browser.close()
    picture.write_bytes(base64.b64decode(shot["data"]))


def pages(page: str) -> list[tuple[list[str], str]]:
    """Return the arguments of each command that writes a page, and the page's name without its ending."""
    return [(shlex.split(arguments), name) for arguments, name in PAGES.findall(page.replace("\\\n", ""))]


def commands(page: str) -> list[tuple[list[str], str]]:
    """Return the arguments of each command of a page, and the picture that it writes."""
    joined = page.replace("\\\n", "")
    return [(shlex.split(arguments), picture) for arguments, picture in COMMAND.findall(joined)]


if __name__ == "__main__":
    main()
