"""Requests per second, latency and memory of `expnet serve`.

    python scripts/measure_serve.py DATA --threads 1

DATA is a folder of sets as for measure_batch.py. The server is a process of its own; clients ask it from this one, each
on a connection that stays open, for one text at a time, for predictions and for explanations by turns. The same
endpoint, queue and batches serve both, so that their difference is what explaining costs. The server's CPU time says
more than the clock where other processes run. Writes docs/serve.json; scripts/tables.py makes the table of it.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from measure_batch import draw

from expnet.timing.clock import Stopwatch

VERBS = ("predict", "explain")
HEADERS = {"content-type": "application/json"}
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="demo/sentiment")
    parser.add_argument("--threads", type=int, default=1, help="of the model")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=1000, help="for each verb and number of clients")
    parser.add_argument("--memory-requests", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs" / "serve.json")
    args = parser.parse_args()
    texts = [text[:2000] for text in draw(args.data, 2000)]
    with server(args.model, args.threads) as port:
        rows = []
        for clients in args.clients:
            # The first round warms up; then the verbs take turns, so that a busy machine slows both.
            rounds: dict[str, list[dict[str, Any]]] = {verb: [] for verb in VERBS}
            for turn in range(ROUNDS + 1):
                for verb in VERBS:
                    count = args.requests // ROUNDS if turn else 20
                    rounds[verb].append(ask(port, verb, list(islice(cycle(texts), count)), clients))
            rows += [row(verb, clients, rounds[verb][1:]) for verb in VERBS]
            print(*rows[-2:], sep="\n", flush=True)
        memory = list(watch(port, texts, args.memory_requests))
    report = {
        "model": args.model,
        "threads": args.threads,
        "texts": f"{statistics.median(map(len, texts)):.0f} characters (median)",
        "rows": rows,
        "memory": memory,
    }
    args.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


@contextmanager
def server(model: str, threads: int) -> Iterator[int]:
    command = ["expnet", "serve", f"model={model}", "--port", "0", "--threads", str(threads)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from expnet.cli import main; main()", *command[1:]], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if match := re.search(r"running on http://127.0.0.1:(\d+)", line):
                break
        else:
            raise SystemExit("The server did not start.")
        with ThreadPoolExecutor(1) as reader:
            reader.submit(process.stderr.read)  # a full pipe would stop it
            yield int(match[1])
            process.terminate()
    finally:
        process.kill()
        process.wait()


def ask(port: int, verb: str, texts: Sequence[str], clients: int) -> dict[str, Any]:
    """Return the seconds that each request took, the seconds that all took together, and the server's CPU seconds."""
    left = iter(texts)  # of a list, which threads may share

    def client(_number: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        seconds = []
        for text in left:
            watch = Stopwatch()
            connection.request("POST", f"/v1/models/model:{verb}", json.dumps({"instances": [text]}), HEADERS)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{answer.status}: {content[:300]!r}")
            seconds.append(watch.read().seconds)
        connection.close()
        return seconds

    watch, before = Stopwatch(), figure(port, "process_cpu_seconds_total")
    with ThreadPoolExecutor(clients) as pool:
        seconds_of_requests = [second for seconds in pool.map(client, range(clients)) for second in seconds]
    worked = figure(port, "process_cpu_seconds_total") - before
    return {"each": seconds_of_requests, "all": watch.read().seconds, "processor": worked}


def figure(port: int, name: str) -> float:
    """Read a figure from the server's metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    return float(re.findall(rf"^{name} (.*)", page, re.MULTILINE)[0])


def row(verb: str, clients: int, turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = sorted(second for turn in turns for second in turn["each"])
    return {
        "verb": verb,
        "clients": clients,
        "requests": len(seconds),
        "requests_a_second": len(seconds) / sum(turn["all"] for turn in turns),
        "median_ms": 1000 * statistics.median(seconds),
        "p99_ms": 1000 * seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))],
        "processor_ms": 1000 * sum(turn["processor"] for turn in turns) / len(seconds),
    }


def watch(port: int, texts: Sequence[str], requests: int) -> Iterator[dict[str, float]]:
    """Yield the memory of the server after each tenth of the requests."""
    turning, tenth = cycle(texts), requests // 10
    for turn in range(11):
        if turn:
            ask(port, "explain", list(islice(turning, tenth)), 8)
        yield {"requests": turn * tenth, "megabytes": figure(port, "process_resident_memory_bytes") / 2**20}


if __name__ == "__main__":
    main()
