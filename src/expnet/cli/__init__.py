"""The command line."""

import sys


def main() -> None:
    """Run `expnet`. An error that expnet raises itself becomes one line and exit status 2."""
    from expnet.cli.app import app
    from expnet.errors import ExpnetError
    from expnet.explanation.escape import printable

    try:
        app()
    except ExpnetError as error:
        print(f"expnet: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
