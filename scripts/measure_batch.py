"""The cost of `explain-file` compared with a plain predict loop, in rows per second, CPU seconds and memory.

    python scripts/measure_batch.py DATA --rows 20000

DATA is a folder of sets, set/split.jsonl.gz, whose lines hold `text` or `tokens`; rows are drawn from all of them.
Each way runs in a process of its own on one thread and reads the same tokens (at most 512 a text). Its time starts when
the model is loaded; its CPU time says more than the clock where other processes run. Ray's processes are not in its own
CPU time and memory, so only the clock is shown for it.
"""

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

import expnet
from expnet.batch import Settings, explain_file
from expnet.batch.on_ray import on_ray
from expnet.timing.clock import Stopwatch

WAYS = ("predict in file order", "predict sorted by length", "explain-file", "explain-file on Ray, 2 workers")
BATCH, WINDOW = 32, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--model", default="demo/sentiment")
    parser.add_argument("--way", choices=WAYS, help="run this way here, on the Parquet file DATA")
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measured(args.way, args.data, args.model)))
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "texts.parquet"
        pq.write_table(pa.table({"text": draw(args.data, args.rows)}), source)
        print("| way | rows/s | processor, s | peak memory, MB |\n|---|---|---|---|")
        for way in args.ways:
            command = [sys.executable, __file__, str(source), "--way", way, "--model", args.model]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            child = json.loads(done.stdout.splitlines()[-1])
            processor, memory = ("", "") if "Ray" in way else (f"{child['processor']:.0f}", f"{child['memory']:.0f}")
            print(f"| {way} | {args.rows / child['seconds']:.1f} | {processor} | {memory} |", flush=True)


def draw(data: Path, rows: int) -> list[str]:
    """Return texts of all sets alike, as many of each as there are or as it takes."""
    chance, sets = random.Random(0), []
    for path in sorted(data.glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        texts = [line.get("text") or " ".join(line["tokens"]) for line in lines if line.get("text") or "tokens" in line]
        chance.shuffle(texts)
        sets.append(texts)
    drawn: list[str] = []
    while len(drawn) < rows and any(sets):
        drawn += [texts.pop() for texts in sets if texts]
    if len(drawn) < rows:
        raise SystemExit(f"{data} holds {len(drawn)} texts, expected {rows}")
    chance.shuffle(drawn)
    return drawn[:rows]


def measured(way: str, source: Path, model: str) -> dict[str, float]:
    torch.set_num_threads(1)
    explainer = expnet.load(model)
    watch = Stopwatch()
    if way.startswith("predict"):
        predict(explainer, source, in_order=way.endswith("order"))
    else:
        engine = on_ray(partial(expnet.load, model), workers=2) if "Ray" in way else None
        output = source.parent / way
        explain_file(explainer, source, output, settings=Settings(truncate=True), engine=engine, progress=True)
    took = watch.read()
    return {
        "seconds": took.seconds,
        "processor": took.processor,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def predict(explainer: expnet.Explainer, source: Path, *, in_order: bool) -> None:
    """Predict as plain transformers does, in batches."""
    model, tokenizer = explainer.classifier.model, explainer.classifier.tokenizer
    for batch in pq.ParquetFile(source).iter_batches(WINDOW):
        texts = batch.column("text").to_pylist()
        if not in_order:
            texts.sort(key=len)
        for start in range(0, len(texts), BATCH):
            part = texts[start : start + BATCH]
            inputs = tokenizer(part, padding=True, truncation=True, max_length=512, return_tensors="pt")
            with torch.inference_mode():
                model(**inputs).logits.softmax(-1).tolist()


if __name__ == "__main__":
    main()
