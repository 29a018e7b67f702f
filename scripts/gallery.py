"""Draw the pictures of docs/gallery.md, each by the command that stands beside it.

python scripts/gallery.py [PICTURE.svg ...]
"""

import contextlib
import re
import shlex
import sys
from pathlib import Path

from expnet.cli.app import app

PAGE = Path(__file__).parents[1] / "docs" / "gallery.md"
COMMAND = re.compile(r"^expnet (explain .* --output (\S+\.svg).*)$", re.MULTILINE)


def main() -> None:
    pictures = PAGE.parent / "gallery"
    with contextlib.chdir(pictures):
        for arguments, picture in commands(PAGE.read_text(encoding="utf-8")):
            if not sys.argv[1:] or picture in sys.argv[1:]:
                app(arguments, standalone_mode=False)


def commands(page: str) -> list[tuple[list[str], str]]:
    """Return the arguments of each command of a page, and the picture that it writes."""
    joined = page.replace("\\\n", "")
    return [(shlex.split(arguments), picture) for arguments, picture in COMMAND.findall(joined)]


if __name__ == "__main__":
    main()
