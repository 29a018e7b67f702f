"""The report as one HTML file: no script, nothing from outside, every string escaped."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure as Plot

from expnet.benchmark.present import plots
from expnet.benchmark.present.report import prose
from expnet.benchmark.present.report.examples import ReportExample
from expnet.benchmark.present.report.verdict import verdict
from expnet.benchmark.present.table import Cell, Table, shown
from expnet.benchmark.rows import Row
from expnet.explanation import html
from expnet.explanation.escape import escape

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_PLOTTED = {"trade_off": "trade_off", "few_marks": "few_marks", "faithfulness": "deletion"}
_TOLD = ("plan", "expnet", "torch", "transformers")
# How many tables are in view; more would bury the rest.
_IN_VIEW = {"gains": 1, "faithfulness": 0, "stability": 0, "sanity": 0, "plausibility": 0}


def page(
    rows: Sequence[Row],
    tables: Mapping[str, Sequence[Table]],
    figures: Mapping[str, Plot],
    examples: Sequence[ReportExample] = (),
) -> str:
    """Return the report of some rows, with tables and plots; it says so where something was not measured."""
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in verdict(rows))
    parts = [
        '<article lang="en">',
        f'<section class="verdict" aria-label="In short"><h2>In short</h2>{sentences}</section>',
        f"<section><h2>What was asked</h2>{prose.ASKED}</section>",
        *(_measured(name, tables, figures) for name in prose.SECTIONS),
        _examples("Examples", [example for example in examples if example.why != "worst case"]),
        _examples("Where it goes wrong", [example for example in examples if example.why == "worst case"]),
        f"<section><h2>What these figures do not say</h2>{prose.LIMITS}</section>",
        _provenance(rows),
        "</article>",
    ]
    return html.document(parts, prose.TITLE, style=_STYLE)


def _measured(name: str, tables: Mapping[str, Sequence[Table]], figures: Mapping[str, Plot]) -> str:
    title, lead = prose.SECTIONS[name]
    shown = [*tables.get(name, ()), *tables.get(f"{name}_sample", ())]
    body = [f"<p>{lead}</p>" if lead else ""]
    if (plot := _PLOTTED.get(name, "")) in figures:
        element = plots.svg(figures[plot], name=plot, label=escape(title))
        body.append(f'<figure tabindex="0">{element}<figcaption>{escape(prose.FIGURES[plot])}</figcaption></figure>')
    in_view = _IN_VIEW.get(name, len(shown))
    body += [_table(table) for table in shown[:in_view]]
    body += [f"<details><summary>{escape(table.title)}</summary>{_table(table)}</details>" for table in shown[in_view:]]
    if not shown:
        body.append("<p>Not measured in this run.</p>")
    return f"<section><h2>{title}</h2>{''.join(body)}</section>"


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


def _examples(title: str, examples: Iterable[ReportExample]) -> str:
    blocks = [
        f'<div class="example"><h3 dir="auto">{escape(example.set)}: {escape(example.explanations[0].label)}</h3>'
        f"{html.headless(example.explanations)}</div>"
        for example in examples
    ]
    lead = (
        "<p>The first line is what people marked; a figure before a method is its average precision on this text.</p>"
        if blocks
        else "<p>No texts were given for this report.</p>"
    )
    return f"<section><h2>{title}</h2>{lead}{''.join(blocks)}</section>"


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
    return f'<section><h2>Where it comes from</h2><dl class="facts">{lines}</dl></section>'
