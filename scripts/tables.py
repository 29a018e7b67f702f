"""Write the measured tables into README.md and the pages in docs/, from the files of the other scripts.

python scripts/tables.py
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import backbone_tables
import cost_tables
import limits
import research_tables
from cost_tables import number

from expnet.benchmark.present import comparison
from expnet.benchmark.present.summary import HEADLINE, figure, group, main_marks, places, system
from expnet.benchmark.present.table import Table, markdown, shown
from expnet.benchmark.present.tables import all_tables
from expnet.benchmark.rows import Row, read_rows
from expnet.demo import FOLDER
from expnet.methods.method import describe
from expnet.methods.registry import TABLE

ROOT = Path(__file__).parents[1]
DEMOS = ("sentiment", "acceptability", "hate-speech")
PLANS = ("ring", "paper")
UNMEASURED = "not measured"


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


def pages() -> dict[Path, str]:
    """Return each page with its tables up to date."""
    reports = {name: json.loads((FOLDER / name / "report.json").read_text()) for name in DEMOS}
    measured = read("speed")
    tables = {
        ROOT / "README.md": {"speed": cost_tables.speed(measured), "picture": cost_tables.picture(read("picture"))},
        ROOT / "docs" / "results.md": {
            "plausibility": full(reports),
            "classifiers": classifiers(reports),
            "speed": cost_tables.speed(measured),
        },
        ROOT / "docs" / "methods.md": methods(read("methods")),
        ROOT / "docs" / "serve.md": {
            "serve": cost_tables.serve(read("serve")),
            "protocol": cost_tables.protocol(read("protocol")),
        },
    }
    measured = json.loads((ROOT / "docs" / "studio.json").read_text())
    tables[ROOT / "docs" / "studio.md"] = {
        "studio": cost_tables.studio(measured),
        "clicks": cost_tables.clicks(measured),
    }
    tables[ROOT / "docs" / "accessibility.md"] = {"contrast": cost_tables.contrast(read("contrast"))}
    tables[ROOT / "docs" / "speed.md"] = cost_tables.costs(ROOT / "docs")
    rows = group(read_rows([ROOT / "benchmarks" / "rows" / "all.parquet"]), lambda row: str(row.provenance["plan"]))
    sections = {plan: all_tables(rows[plan]) for plan in PLANS}
    tables[ROOT / "README.md"]["headline"] = brief(rows["ring"])
    tables[ROOT / "docs" / "limits.md"] = {"classifiers": classifiers(reports)} | limits.tables(rows["ring"])
    tables[ROOT / "docs" / "limits.md"]["elsewhere"] = limits.elsewhere(read("elsewhere"))
    for plan in PLANS:
        tables[ROOT / "docs" / "results.md"] |= benchmark(plan, sections[plan])
    tables[ROOT / "docs" / "results.md"]["classifiers of the ring"] = fine_tuned("ring", rows["ring"])
    tables[ROOT / "docs" / "backbones.md"] = backbone_tables.tables(rows["backbones"]) | {
        "verdicts": backbone_tables.verdicts(read("verdicts")),
        "classifiers of the backbones": fine_tuned("backbones", rows["backbones"]),
    }
    tables[ROOT / "docs" / "research.md"] = {
        "ablation": research_tables.ablation(read("ablation")),
        "models": research_tables.models(read("models")),
        "people": research_tables.people(rows["ring"]),
        "front": research_tables.front(read("front")),
        "adaptation": research_tables.front(read("adapt")),
        "robust": research_tables.robust(read("robust")),
        "used": research_tables.front(read("used")),
        "used means": research_tables.means(read("used")),
        "sums": research_tables.sums(read("used")),
        "difference means": research_tables.means(read("difference")),
        "difference": research_tables.by_classifier(read("difference")),
        "difference sums": research_tables.sums(read("difference")),
        "stream means": research_tables.means(read("stream")),
        "stream": research_tables.by_classifier(read("stream")),
        "marks": research_tables.starts(read("marks")),
        "prompts": research_tables.prompts(read("prompts")),
    }
    pages = {ROOT / "docs" / f"{plan}-tables.md": whole(plan, sections[plan]) for plan in PLANS}
    for path, parts in tables.items():
        pages[path] = path.read_text(encoding="utf-8")
        for name, table in parts.items():
            pages[path] = between(pages[path], name, table)
    return pages


def stale() -> list[str]:
    """Return the names of the pages whose tables are not up to date.

    A method that nobody has measured yet may be missing from its tables.
    """
    measured = read("methods")
    known = {row["name"] for row in measured["speed"]["methods"]} & measured["support"]["methods"].keys()
    rows = tuple(f"| `{method.name}` |" for method in TABLE if method.name not in known)

    def kept(page: str) -> list[str]:
        return [line for line in page.splitlines() if not line.startswith(rows)]

    return [path.name for path, text in pages().items() if kept(path.read_text(encoding="utf-8")) != kept(text)]


def read(name: str) -> Any:
    """Read what a script wrote into docs/."""
    return json.loads((ROOT / "docs" / f"{name}.json").read_text())


def between(page: str, name: str, table: str) -> str:
    """Replace what stands between the two comments that name a table."""
    start, end = f"<!-- {name} -->", f"<!-- end {name} -->"
    head, _, rest = page.partition(start)
    _, _, tail = rest.partition(end)
    if not rest or end not in rest:
        raise SystemExit(f"The page lacks {start} … {end}.")
    return f"{head}{start}\n{table}\n{end}{tail}"


def brief(rows: list[Row]) -> str:
    """Return the mean average precision on each set of the best baseline, the ExpNets, random scores and people."""
    chosen = [row for row in main_marks(rows) if not row.sample]
    names = {
        "zero-shot": "ExpNet, adapted",
        "zero-shot, gradients": "ExpNet with gradients, adapted",
        "16 texts": "ExpNet, 16 marks, from adapted",
        "16 texts, gradients": "ExpNet with gradients, 16 marks, from adapted",
        "all texts": "ExpNet, all marks, from adapted",
    }
    lines = ["| set | texts | best baseline | " + " | ".join(names) + " | random | one annotator |"]
    lines.append("|---|---|---|" + "---|" * (len(names) + 2))
    for place, here in places(chosen).items():
        of = group(here, system)
        best = comparison.best(here)
        cells = [mean_of(of.get(name, [])) for name in (*names.values(), "random", "human")]
        texts = figure(best, HEADLINE).n
        lines.append(f"| {place} | {texts} | {mean_of(best)} {best[0].method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_of(rows: list[Row]) -> str:
    return f"{figure(rows, HEADLINE).mean:.3f}" if rows else "–"


def benchmark(plan: str, sections: dict[str, list[Table]]) -> dict[str, str]:
    """Return the tables of results.md that come from the benchmark."""
    names = ("headline", "ahead", "few_marks", "trade_off") if plan == "ring" else ("headline", "ahead")
    return {f"{plan} {name}": joined(sections[name]) for name in names if name in sections}


def fine_tuned(plan: str, rows: Sequence[Row]) -> str:
    """Return the figures of each fine-tuned classifier on its development split, and what random removals change."""
    header = ("classifier", "trained on", "with masked words", "accuracy", "macro-F1", "MCC", "random words masked")
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    removed = [row for row in rows if row.kind == "faithfulness" and row.method == "random" and not row.sample]
    for name, report in json.loads((ROOT / "benchmarks" / "rows" / "classifiers.json").read_text())[plan].items():
        figures = " | ".join(f"{report['dev_figures'][key]:.3f}" for key in ("accuracy", "macro_f1", "mcc"))
        masked = f"{share:.0%}" if (share := report["config"].get("mask_robust", 0)) else "none"
        task, seed, _ = name.rsplit("-", 2)
        here = [  # classifiers of a task are counted as their seeds are
            row
            for row in removed
            if re.sub("[ /]", "-", row.classifier) == task and str(row.condition["classifier"]) == seed
        ]
        change = shown(figure(here, "comprehensiveness")) if here else "–"
        lines.append(f"| {task}-{seed} | {report['train']} texts | {masked} | {figures} | {change} |")
    return "\n".join(lines)


def whole(plan: str, sections: dict[str, list[Table]]) -> str:
    """Return the page with all tables of a plan that results.md leaves out."""
    left = ("plausibility", "gains", "gains_sample", "faithfulness", "stability", "sanity", "cost")
    source = f"From `benchmarks/rows/all.parquet`, plan {plan}; see [benchmark.md](benchmark.md)."
    head = f"# All tables of the plan {plan}\n\n{source}"
    parts = [f"## {name.replace('_', ', ')}\n\n{joined(sections[name])}" for name in left if name in sections]
    return "\n\n".join([head, *parts]) + "\n"


def joined(tables: list[Table]) -> str:
    return "\n\n".join(markdown(table) for table in tables)


def full(reports: dict[str, Any]) -> str:
    """Return every row with its intervals."""
    lines = [
        "| set | n | method | AUROC | average precision | F1 | average precision above raw attention |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in DEMOS:
        for row in reports[name]["explainer"]["results"]:
            cells = [
                f"{row[metric]:.3f} [{row[f'{metric}_interval'][0]:.3f}, {row[f'{metric}_interval'][1]:.3f}]"
                for metric in ("auroc", "average_precision", "f1", "gain")
            ]
            lines.append(f"| {row['set']} | {row['n']} | {row['method']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def classifiers(reports: dict[str, Any]) -> str:
    """Return the figures of the shipped adapters beside full fine-tuning, where it was run."""
    lines = ["| demo | development split | | accuracy | macro-F1 | MCC |", "|---|---|---|---|---|---|"]
    for name in DEMOS:
        report = reports[name]["classifier"]
        kinds = {"adapter, as shipped": report["dev_figures"]}
        if "full_fine_tuning" in report:
            kinds["full fine-tuning"] = report["full_fine_tuning"]["dev_figures"]
        for kind, reached in kinds.items():
            cells = " | ".join(f"{reached[metric]:.3f}" for metric in ("accuracy", "macro_f1", "mcc"))
            lines.append(f"| {name} | {report['dev']} | {kind} | {cells} |")
    return "\n".join(lines)


def methods(measured: dict[str, Any]) -> dict[str, str]:
    """Return the table of methods, their options, their costs beside other libraries', and where they work."""
    speed, support = measured["speed"], measured["support"]["methods"]
    ratios = {row["name"]: row for row in speed["methods"] if not row["options"]}
    lines = [
        "| method | family | paper | signed | target | complete | random | forward | backward | cost | time |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for method in TABLE:
        flags = (method.signed, method.uses_target, method.complete, not method.deterministic)
        cells = [f"`{method.name}`", method.family, method.paper, *("yes" if flag else "" for flag in flags)]
        time = number(ratios[method.name]["ratio"]) if method.name in ratios else UNMEASURED
        lines.append(f"| {' | '.join([*cells, method.forward, method.backward, method.cost, time])} |")
    return {
        "methods": "\n".join(lines),
        "options": options(),
        "cost": cost(speed),
        "peers": peers(speed),
        "support": supported(support),
    }


def options() -> str:
    lines = ["| method | option | default | values |", "|---|---|---|---|"]
    for method in TABLE:
        for name, parameter in method.options.items():
            default = "required" if parameter.default is parameter.empty else f"`{parameter.default}`"
            lines.append(f"| `{method.name}` | `{name}` | {default} | {describe(parameter.annotation)} |")
    return "\n".join(lines)


def cost(speed: dict[str, Any]) -> str:
    """Return every setting that was timed, with its spread."""
    lines = [
        f"{speed['model']}, {speed['batch']} texts of {speed['tokens']} tokens, {speed['threads']} thread, CPU time; "
        f"{speed['versions']}.",
        "",
        "| method | options | time / prediction | smallest – largest | runs |",
        "|---|---|---|---|---|",
    ]
    for row in speed["methods"]:
        chosen = ", ".join(f"{name}={value}" for name, value in row["options"].items()) or "defaults"
        spread = f"{number(row['least'])} – {number(row['most'])}"
        lines.append(f"| `{row['name']}` | {chosen} | {number(row['ratio'])} | {spread} | {row['repeats']} |")
    others: dict[str, list[str]] = {}  # whose figures are from other versions
    for row in speed["methods"]:
        if "versions" in row:
            others.setdefault(row["versions"], []).append(f"`{row['name']}`")
    notes = (f"\n{', '.join(dict.fromkeys(names))}: {versions}." for versions, names in others.items())
    return "\n".join([*lines, *notes])


def peers(speed: dict[str, Any]) -> str:
    lines = ["| library call | time / prediction | smallest – largest | runs |", "|---|---|---|---|"]
    for row in speed["peers"]:
        spread = f"{number(row['least'])} – {number(row['most'])}"
        lines.append(f"| {row['name']} | {number(row['ratio'])} | {spread} | {row['repeats']} |")
    return "\n".join(lines)


def supported(rows: dict[str, dict[str, str]]) -> str:
    """Return where each method keeps its contract, and the reasons where it does not."""
    models = list(next(iter(rows.values())))
    lines = [f"| method | {' | '.join(models)} |", "|---|" + "---|" * len(models)]
    reasons: dict[str, int] = {}
    for method in TABLE:
        cells = []
        for model in models:
            why = rows.get(method.name, {}).get(model, UNMEASURED)
            refused = why and why != UNMEASURED
            cells.append(f"({reasons.setdefault(why, len(reasons) + 1)})" if refused else why or "yes")
        lines.append(f"| `{method.name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{index}. {why}" for why, index in reasons.items())])


if __name__ == "__main__":
    main()
