"""The cost of `explain-file` compared with jobs that only predict, in rows per second, CPU seconds and memory.

    python scripts/measure_batch.py DATA --rows 20000
    python scripts/measure_batch.py DATA --rows 2000 --shortest 2000

DATA is a folder of sets, set/split.jsonl.gz, whose lines hold `text` or `tokens`; rows are drawn from all of them.
Each way runs in a process of its own on one thread, or two with one thread each, and reads the same tokens (at most 512
a text). Its time starts when the model is loaded; with Ray the workers load it within that time, so that the job on ten
rows, from the start of the process to its end, says what is left on top. Memory is the largest sum over the way's
processes, in which what several share counts once. CPU time, which says more than the clock where other processes run,
is that of all of them, on Ray with loading. Needs psutil, and the packages of the ways: datasets, Ray, ONNX Runtime.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import pipeline

import expnet
from expnet.batch import Settings, explain_file
from expnet.batch.on_ray import on_ray
from expnet.export import OnnxExplainer, export
from expnet.timing.clock import Stopwatch

WAYS = (
    "predict in file order",
    "predict sorted by length",
    "datasets.map + pipeline",
    "Ray Data + pipeline, 2 workers",
    "onnxruntime, explain",
    "explain-file",
    "explain-file on Ray, 2 workers",
)
BATCH, WINDOW = 32, 1024
PARTS = 10  # of the rows, for two workers to share
SAMPLED = 0.25  # seconds
os.environ |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--shortest", type=int, default=0, help="characters of a text")
    parser.add_argument("--longest", type=int, default=1_000_000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--model", default="demo/sentiment")
    parser.add_argument("--way", choices=WAYS, help="run this way here, on the Parquet file DATA")
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measured(args.way, args.data, args.model)))
        return
    with tempfile.TemporaryDirectory() as folder:
        texts = draw(args.data, args.rows, shortest=args.shortest, longest=args.longest)
        sources = [Path(folder) / "texts" / "texts.parquet", Path(folder) / "ten" / "texts.parquet"]
        for source, rows in zip(sources, (texts, texts[:10]), strict=True):
            source.parent.mkdir()
            pq.write_table(pa.table({"text": rows}), source, row_group_size=WINDOW)
        print("| way | rows/s | processor, s | peak memory, MB | ten rows, s |\n|---|---|---|---|---|")
        for way in args.ways:
            command = [sys.executable, __file__, "--way", way, "--model", args.model]
            whole, ten = (watched([*command, str(source)]) for source in sources)
            figures = (args.rows / whole["seconds"], whole["processor"], whole["memory"], ten["whole"])
            print(f"| {way} | {' | '.join(f'{figure:.1f}' for figure in figures)} |", flush=True)


def watched(command: list[str]) -> dict[str, float]:
    """Run a way in a process of its own; return its figures, and what its processes took together."""
    start, most, worked = time.perf_counter(), 0.0, dict[int, float]()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            memory = 0
            for one in tree(process.pid):
                try:
                    memory += one.memory_full_info().pss
                    worked[one.pid] = sum(one.cpu_times()[:2])
                except psutil.Error:  # it has ended meanwhile
                    continue
            most = max(most, memory / 2**20)
            time.sleep(SAMPLED)
        assert process.stdout is not None
        child = json.loads(process.stdout.read().splitlines()[-1])
    whole = {"whole": time.perf_counter() - start, "memory": most}
    figures: dict[str, float] = {"processor": sum(worked.values())} | child | whole
    return figures


def tree(number: int) -> list[psutil.Process]:
    """Return a process and all that it started."""
    try:
        process = psutil.Process(number)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def draw(data: Path, rows: int, *, shortest: int = 0, longest: int = 1_000_000) -> list[str]:
    """Return texts of all sets alike, of so many characters, as many of each as there are or as it takes."""
    chance, sets = random.Random(0), []
    for path in sorted(data.glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        texts = [line.get("text") or " ".join(line["tokens"]) for line in lines if line.get("text") or "tokens" in line]
        texts = [text for text in texts if shortest <= len(text) <= longest]
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
    output = source.parent / way
    explainer: Any = expnet.load(model, device="cpu")
    if way.startswith("onnx"):
        explainer = OnnxExplainer.load(export(explainer, source.parent / "graph"), threads=1)
    watch = Stopwatch()
    if way.startswith("predict"):
        predict(explainer, source, in_order=way.endswith("order"))
    elif way.startswith("onnx"):
        for batch in pq.ParquetFile(source).iter_batches(WINDOW):
            explainer.explain(batch.column("text").to_pylist(), truncate=True)
    elif way.startswith("datasets"):
        rows = datasets.load_dataset("parquet", data_files=str(source), split="train", cache_dir=str(source.parent))
        rows.map(Labels(model), batched=True, batch_size=WINDOW).to_parquet(output)
    elif way.startswith("Ray"):
        import ray.data  # an extra; other scripts take their texts from this one

        ray.init(address="local", num_cpus=3, include_dashboard=False, log_to_driver=False)
        blocks = ray.data.read_parquet(str(source)).repartition(PARTS)  # otherwise one worker gets all
        two = ray.data.ActorPoolStrategy(size=2)
        labels = blocks.map_batches(
            Labels, fn_constructor_args=(model,), batch_size=WINDOW // 4, compute=two, num_cpus=1
        )
        labels.write_parquet(str(output))
    else:
        engine = on_ray(partial(expnet.load, model), workers=2) if "Ray" in way else None
        settings = Settings(truncate=True, shard_rows=max(1, pq.read_metadata(source).num_rows // PARTS))
        explain_file(explainer, source, output, settings=settings, engine=engine, progress=True)
    took = watch.read()
    return {"seconds": took.seconds} | ({} if "Ray" in way else {"processor": took.processor})


class Labels:
    """What `datasets.map` and Ray Data run on a batch of rows: transformers' pipeline, which only predicts."""

    def __init__(self, model: str) -> None:
        torch.set_num_threads(1)
        classifier = expnet.load(model, device="cpu").classifier
        loaded, tokenizer = classifier.model, classifier.tokenizer
        self.pipeline: Any = pipeline("text-classification", model=loaded, tokenizer=tokenizer)  # type: ignore[call-overload]

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        texts = list(map(str, batch["text"]))
        answers = self.pipeline(texts, batch_size=BATCH, truncation=True, max_length=512)
        return {"text": texts, **{name: [answer[name] for answer in answers] for name in ("label", "score")}}


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
