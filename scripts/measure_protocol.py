"""Which calls of KServe's and Triton's own clients `expnet serve` answers as they expect.

    python scripts/measure_protocol.py CLIENTS/bin/python

The argument is a Python with these clients, apart from expnet's: see protocol_clients.py. Writes docs/protocol.json;
scripts/tables.py makes the table of it.
"""

import argparse
import json
import subprocess
from pathlib import Path

from measure_serve import server

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("python", help="with the clients")
    parser.add_argument("--model", default="demo/sentiment")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "protocol.json")
    args = parser.parse_args()
    with server(args.model, 1) as port:
        command = [args.python, "-I", str(HERE / "protocol_clients.py"), f"http://127.0.0.1:{port}", "model"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    failed = [call for call in report["calls"] if not call["passed"]]
    print(f"{len(report['calls']) - len(failed)} passed, {len(failed)} failed", *failed, sep="\n")
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
