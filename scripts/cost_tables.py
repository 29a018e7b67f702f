"""Tables of costs; scripts/tables.py writes them into the pages."""

import json
from itertools import starmap
from pathlib import Path
from statistics import median
from typing import Any

from expnet.explanation.colour import percent
from expnet.metrics.removal import RANDOM
from expnet.timing.lengths import table as lengths_table
from expnet.timing.throughput import table as mixed_table


def speed(measured: dict[str, Any]) -> str:
    """Return the cost of an explanation compared with the bare prediction."""
    of = {(timing["batch"], timing["tokens"], timing["name"]): timing for timing in measured["timings"]}
    versions = ", ".join(f"{name} {value}" for name, value in measured["versions"].items())
    lines = [
        f"{measured['model']}, {measured['device']}, {measured['threads']} threads, {measured['timings'][0]['rounds']} "
        f"interleaved repeats; {versions}.",
        "",
        "| batch | tokens | prediction, ms | explanation, ms | explanation / prediction | quartiles |",
        "|---|---|---|---|---|---|",
    ]
    for batch, tokens in dict.fromkeys((batch, tokens) for batch, tokens, _ in of):
        bare, explained = of[batch, tokens, "prediction"], of[batch, tokens, "expnet"]
        lines.append(
            f"| {batch} | {tokens} | {1000 * bare['seconds']:.1f} | {1000 * explained['seconds']:.1f} "
            f"| {explained['ratio']:.3f} | {explained['low']:.3f} – {explained['high']:.3f} |"
        )
    return "\n".join(lines)


def picture(measured: dict[str, Any]) -> str:
    """Return what removing the top words of the sentence in the picture does to its prediction."""
    lines = [
        f'Does the classifier depend on these words? The whole sentence is "{measured["label"]}" with '
        f"{percent(measured['rows'][0]['full'])}. With {measured['removed']} words replaced by [MASK]:",
        "",
        f"| top {measured['removed']} words of | words | without them | with them alone |",
        "|---|---|---|---|",
    ]
    for row in measured["rows"]:
        name = "(random words)" if row["name"] == RANDOM else f"`{row['name']}`"
        words = " ".join(f"`{word}`" for word in row["words"]) or "mean of several draws"
        lines.append(f"| {name} | {words} | {percent(row['without'])} | {percent(row['alone'])} |")
    return "\n".join(lines)


def studio(measured: dict[str, Any]) -> str:
    """Return how long Fit takes, in medians over runs, and what it improves."""
    rows = [
        f"| {row['set']} | {row['marked']} | "
        + " | ".join(
            f"{median(run['seconds'][name] for run in row['runs']):.1f}"
            for name in ("ready", "ready, processor", "figures")
        )
        + " | {:.3f} → {:.3f} |".format(*row["runs"][0]["before and after"]["average precision"])
        for row in measured["rows"]
    ]
    return "\n".join(
        (
            f"Medians of {len(measured['rows'][0]['runs'])} fits, {measured['threads']} threads on "
            f"{measured['processors']} processors (load {measured['load average']}):",
            "",
            "| set | marked | explainer, s | explainer, CPU s | figures, s | average precision |",
            "|---|---|---|---|---|---|",
            *rows,
        )
    )


def clicks(measured: dict[str, Any]) -> str:
    """Return how many clicks lead from the first page of the studio to a fitted explainer, by what they are for."""
    purposes = ("words", "another class", "save", "fit")
    return "\n".join(
        (
            f"| set | texts | clicks | {' | '.join(purposes)} |",
            "|---|---|---|" + "---|" * len(purposes),
            *(
                f"| {name} | {row['texts']} | {row['all']} | {' | '.join(str(row.get(part, 0)) for part in purposes)} |"
                for name, row in measured["clicks"].items()
            ),
        )
    )


def contrast(measured: dict[str, Any]) -> str:
    """Return the least contrast of each kind of thing on each page."""
    asked = measured["least"]
    kinds = list(dict.fromkeys(kind for row in measured["rows"].values() for kind in (*asked, *row)))
    names = (f"{kind} ({asked[kind]:g})" if kind in asked else kind for kind in kinds)
    return "\n".join(
        (
            f"| page | {' | '.join(names)} |",
            "|---|" + "---|" * len(kinds),
            *(
                f"| {page} | {' | '.join(f'{row[kind][0]:.2f}' if kind in row else '' for kind in kinds)} |"
                for page, row in measured["rows"].items()
            ),
        )
    )


def start(measured: dict[str, Any]) -> str:
    """Return how long the first commands take, by the clock and of the processor."""
    rows = (f"| `{row['command']}` | {row['seconds']:.1f} | {row['processor']:.1f} |" for row in measured["rows"])
    return "\n".join(
        (
            f"{measured['texts']} texts; {measured['processors']} processors (load {measured['load average']}):",
            "",
            "| command | seconds | CPU seconds |",
            "|---|---|---|",
            *rows,
        )
    )


def costs(docs: Path) -> dict[str, str]:
    """Return the tables of the page on speed; a table without figures says that they are not measured yet."""
    tables = {
        "lengths": (docs / "lengths.json", lengths_table),
        "float32": (docs / "throughput.json", lambda report: mixed_table(report["float32"])),
        "bfloat16": (docs / "throughput.json", bfloat16),
        "int8": (docs / "throughput.json", lambda report: mixed_table(report["int8"])),
        "budgets": (docs / "throughput.json", lambda report: budgets(report["budgets"])),
        "long": (docs / "long.json", lambda report: "\n\n".join(map(lengths_table, report.values()))),
        "overhead": (docs / "overhead.json", overhead),
        "start": (docs / "start.json", start),
        "peers": (docs / "peers.json", lambda report: "\n\n".join(starmap(peers_of, report.items()))),
    }
    return {
        name: show(json.loads(path.read_text())) if path.exists() else f"Not measured yet: {path.name} is missing."
        for name, (path, show) in tables.items()
    }


def overhead(measured: dict[str, Any]) -> str:
    """Return what each part of an explanation takes."""
    settings, rows = measured["settings"], measured["rows"]
    versions = ", ".join(f"{name} {value}" for name, value in settings["versions"].items())
    lines = [
        f"{settings['model']}, {settings['device']}, threads: {settings['threads']}; {versions}. Medians of "
        f"{measured['rounds']} rounds, in milliseconds{' of the processor' * (measured['clock'] == 'processor')}.",
        "",
        "| | " + " | ".join(f"{row['batch']} × {row['tokens']}" for row in rows) + " |",
        "|---|" + "---|" * len(rows),
    ]
    for name in rows[0]["ms"]:
        lines.append(f"| {name} | " + " | ".join(f"{row['ms'][name]:.2f}" for row in rows) + " |")
    return "\n".join(lines)


def bfloat16(measured: dict[str, Any]) -> str:
    """Return the speed in bfloat16, and how far the scores differ."""
    gap = measured["agreement"]
    return (
        f"{mixed_table(measured['bfloat16'])}\n\nScores in float32 are {gap['mean difference']:.4f} away on average, "
        f"{gap['largest difference']:.3f} at most, rank correlation {gap['rank correlation']:.4f}, on the "
        f"same side of the threshold {100 * gap['same side of the threshold']:.2f} %; the same label "
        f"{100 * gap['same label']:.2f} %."
    )


def budgets(measured: dict[str, Any]) -> str:
    """Return the speed under each budget of tokens."""
    lines = [
        f"The first {measured['texts']} of these texts, {measured['threads']} threads.",
        "",
        "| tokens per batch | texts/s | CPU ms per text |",
        "|---|---|---|",
    ]
    for row in measured["rows"]:
        lines.append(f"| {row['budget']:,} | {row['texts_per_second']:.1f} | {row['processor']:.1f} |")
    return "\n".join(lines)


def peers_of(model: str, measured: dict[str, Any]) -> str:
    """Return the time that libraries take for the same texts on one model."""
    lines = [
        f"{model}: {measured['texts']} texts of {measured['tokens']} tokens, {measured['threads']} thread, "
        f"CPU time; the prediction takes {measured['prediction_ms']:.0f} ms. {measured['versions']}.",
        "",
        "| library call | time / prediction | smallest – largest | runs |",
        "|---|---|---|---|",
    ]
    for row in measured["rows"]:
        spread = f"{number(row['least'])} – {number(row['most'])}"
        lines.append(f"| {row['name']} | {number(row['ratio'])} | {spread} | {row['repeats']} |")
    return "\n".join(lines)


def serve(measured: dict[str, Any]) -> str:
    """Return a server's throughput, latency and memory."""
    lines = [
        f"{measured['model']} on {measured['threads']} thread; texts of {measured['texts']}, one per request.",
        "",
        "| clients | | requests/s | median, ms | 99th percentile, ms | CPU ms per request |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured["rows"]:
        times = (row["median_ms"], row["p99_ms"], row["processor_ms"])
        figures = " | ".join(f"{value:.1f}" for value in (row["requests_a_second"], *times))
        lines.append(f"| {row['clients']} | `:{row['verb']}` | {figures} |")
    held = ", ".join(f"{reading['megabytes']:.0f}" for reading in measured["memory"])
    lines += [
        "",
        f"Memory after each tenth of {measured['memory'][-1]['requests']:,} more explanations, in MB: {held}.",
    ]
    return "\n".join(lines)


def protocol(measured: dict[str, Any]) -> str:
    """Return which calls of real clients succeeded, by client and protocol, and why the others did not."""
    lines = ["| client | protocol | calls | passed | failed |", "|---|---|---|---|---|"]
    failed = [call for call in measured["calls"] if not call["passed"]]
    for client, version in measured["versions"].items():
        for name in ("V1", "V2"):
            calls = [call for call in measured["calls"] if (call["client"], call["protocol"]) == (client, name)]
            if calls:
                passed = sum(call["passed"] for call in calls)
                lines.append(f"| `{client}` {version} | {name} | {len(calls)} | {passed} | {len(calls) - passed} |")
    told = [f"- `{call['client']}`: {call['call']}. {call['why'].partition('.')[0]}." for call in failed]
    return "\n".join([*lines, "", "What fails:", "", *told] if failed else lines)


def number(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
