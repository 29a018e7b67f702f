"""The report as one HTML file: no script, nothing from outside, every string escaped."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure as Plot

from expnet.benchmark.present import plots
from expnet.benchmark.present.report import prose
from expnet.benchmark.present.report.examples import ReportExample
from expnet.benchmark.present.report.verdict import in_short, verdict
from expnet.benchmark.present.summary import MeanOverSeeds
from expnet.benchmark.present.table import Cell, Table, shown
from expnet.benchmark.rows import Row
from expnet.explanation import html
from expnet.explanation.escape import escape

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_PLOTTED = {"trade_off": "trade_off", "few_marks": "few_marks", "faithfulness": "deletion"}
_TOLD = ("plan", "expnet", "torch", "transformers")
# Of these sections a part is in view: what the rest is called.
_AGAIN = {"headline": " Every way of training", "trade_off": ": the figures"}
_MISSING = "<p>Not measured in this run.</p>"
# How many tables of a section are in view once it is unfolded; more would bury the rest.
_IN_VIEW = {"gains": 1, "faithfulness": 0, "stability": 0, "sanity": 0, "plausibility": 0}


def page(
    rows: Sequence[Row],
    tables: Mapping[str, Sequence[Table]],
    figures: Mapping[str, Plot],
    examples: Sequence[ReportExample] = (),
) -> str:
    """Return the report of some rows, with tables and plots; it says so where something was not measured."""
    example = [example for example in examples if example.why != "worst case"]
    worst = [example for example in examples if example.why == "worst case"]
    parts = [
        '<article lang="en">',
        _in_view(rows, tables, figures),
        "<h2>More</h2>",
        _folded("The comparison in words", "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(rows))),
        _folded("What was asked", prose.ASKED),
        *(_measured(name, tables, {} if name == "trade_off" else figures) for name in prose.SECTIONS),
        _folded("Examples", _examples(example)),
        _folded("Where it goes wrong", _examples(worst)),
        _folded("What these figures do not say", prose.LIMITS),
        _folded("Where it comes from", _provenance(rows)),
        "</article>",
    ]
    return html.document(parts, prose.TITLE, style=_STYLE)


def _in_view(rows: Sequence[Row], tables: Mapping[str, Sequence[Table]], figures: Mapping[str, Plot]) -> str:
    """Return what somebody new reads: three sentences, a chart and a table."""
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in in_short(rows))
    table = tables.get("headline", ())
    return (
        f'<section class="verdict" aria-label="In short"><h2>In short</h2>{sentences}</section>'
        f"<section><h2>{prose.SECTIONS['trade_off'][0]}</h2>{_plot('trade_off', figures) or _MISSING}</section>"
        f"<section><h2>{prose.SECTIONS['headline'][0]}</h2><p>{prose.SECTIONS['headline'][1]}</p>"
        f"{_table(overview(table[-1])) if table else _MISSING}</section>"
    )


def overview(table: Table) -> Table:
    """Return a headline table with fewer columns: of the ExpNets that without marks, with the fewest and with all."""
    names = table.header
    ours = [name for name in names[4:-3] if name.partition(", ")[2]]
    unmarked = [name for name in ours if name.endswith(", adapted")] or ours[:1]
    chosen = dict.fromkeys([*unmarked, *[name for name in ours if " marks" in name][:1], *ours[-1:]])
    columns = [0, 2, 3, *(names.index(name) for name in chosen), *range(len(names) - 3, len(names))]
    rows = tuple(tuple(row[column] for column in columns) for row in table.rows)
    bold = set()
    for place, row in enumerate(rows):
        means = {i: row[i].mean for i in range(2, len(columns) - 3) if isinstance(row[i], MeanOverSeeds) and row[i].n}
        bold |= {(place, max(means, key=lambda i: means[i]))} if means else set()
    title = f"{table.title}, main columns"  # the whole table, further below, has a name of its own
    return Table(title, tuple(names[column] for column in columns), rows, table.notes, frozenset(bold))


def _folded(title: str, content: str) -> str:
    return f'<details class="more"><summary><h3>{title}</h3></summary>{content}</details>'


def _plot(name: str, figures: Mapping[str, Plot]) -> str:
    if name not in figures:
        return ""
    title = next(prose.SECTIONS[section][0] for section, plot in _PLOTTED.items() if plot == name)
    element = plots.svg(figures[name], name=name, label=escape(title))
    return f'<figure tabindex="0">{element}<figcaption>{escape(prose.FIGURES[name])}</figcaption></figure>'


def _measured(name: str, tables: Mapping[str, Sequence[Table]], figures: Mapping[str, Plot]) -> str:
    title, lead = prose.SECTIONS[name]
    shown = [*tables.get(name, ()), *tables.get(f"{name}_sample", ())]
    body = [f"<p>{lead}</p>" if lead else ""]
    body.append(_plot(_PLOTTED.get(name, ""), figures))
    in_view = _IN_VIEW.get(name, len(shown))
    body += [_table(table) for table in shown[:in_view]]
    body += [f"<details><summary>{escape(table.title)}</summary>{_table(table)}</details>" for table in shown[in_view:]]
    if not shown:
        body.append(_MISSING)
    return _folded(title + _AGAIN.get(name, ""), "".join(body))


def _table(table: Table) -> str:
    title = escape(table.title)
    words = [any(isinstance(row[j], str) for row in table.rows) for j in range(len(table.header))]
    head = "".join(
        f'<th scope="col" class="{"name" if is_words else "number"}">{escape(name)}</th>'
        for name, is_words in zip(table.header, words, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, j, (i, j) in table.bold) for j, cell in enumerate(row)) + "</tr>"
        for i, row in enumerate(table.rows)
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return (
        f'<div class="box" role="region" tabindex="0" aria-label="{title}">'
        f"<table><caption><span>{title}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{notes}"
    )


def _cell(cell: Cell, column: int, best: bool) -> str:
    text, interval = shown(cell), ""
    if not isinstance(cell, str):
        text, _, interval = text.partition(" [")
    inner = f"<strong>{escape(text)}</strong>" if best else escape(text)
    if interval:
        inner += f" <small>[{escape(interval)}</small>"
    if column == 0:
        return f'<th scope="row" dir="auto">{inner}</th>'
    return f'<td class="name" dir="auto">{inner}</td>' if isinstance(cell, str) else f"<td>{inner}</td>"


def _examples(examples: Iterable[ReportExample]) -> str:
    blocks = [
        f'<div class="example"><h4 dir="auto">{escape(example.set)}: {escape(example.explanations[0].label)}</h4>'
        f"{html.headless(example.explanations)}</div>"
        for example in examples
    ]
    lead = (
        "<p>The first line is what people marked; a figure before a method is its average precision on this text.</p>"
        if blocks
        else "<p>No texts were given for this report.</p>"
    )
    return lead + "".join(blocks)


def _provenance(rows: Sequence[Row]) -> str:
    counts = {
        "Measurements": len(rows),
        "Sets": len({row.set for row in rows}),
        "Methods": len({row.method for row in rows}),
        "Classifiers": len({row.classifier for row in rows}),
    }
    told = {key: {str(row.provenance[key]) for row in rows if key in row.provenance} for key in _TOLD}
    facts = {**counts, **{key: ", ".join(sorted(values)) for key, values in told.items() if values}}
    lines = "".join(f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items())
    return f'<dl class="facts">{lines}</dl>'
