"""`expnet report`: rows of a benchmark in, one page, tables and plots out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.errors import InputError, require_extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expnet.benchmark.present.table import Table


def report(
    rows: Annotated[list[Path], typer.Argument(help="Files of rows that `expnet benchmark` wrote, or their folders.")],
    output: Annotated[Path, typer.Option(help="Write the page to this file.")],
    tables: Annotated[Path | None, typer.Option(help="Write the tables to this folder: CSV, and one Markdown.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write the plots to this folder: PDF, PNG and SVG.")] = None,
    examples: Annotated[Path | None, typer.Option(help="Texts to show, as the benchmark wrote them.")] = None,
) -> None:
    """Make a page that tells somebody new to it what a benchmark found."""
    require_extra("matplotlib", "report")
    if not output.parent.is_dir():
        raise InputError(f"The folder {output.parent} does not exist; create it, or write elsewhere.")
    from expnet.benchmark.present import plots as plotting
    from expnet.benchmark.present.report.examples import read_examples
    from expnet.benchmark.present.report.page import page
    from expnet.benchmark.present.summary import check_rows
    from expnet.benchmark.present.tables import all_tables
    from expnet.benchmark.rows import read_rows

    shown = [] if examples is None else read_examples(examples)
    found = read_rows(rows)
    check_rows(found)
    made, figures = all_tables(found), plotting.plots(found)
    output.write_text(page(found, made, figures, shown), encoding="utf-8")
    if tables is not None:
        _write(made, tables)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        plotting.save(figures, plots)


def _write(tables: "Mapping[str, Sequence[Table]]", folder: Path) -> None:
    """Write each table as CSV, and all of them as Markdown that says which file is which."""
    from expnet.benchmark.present.table import markdown, to_csv

    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for section, several in tables.items():
        for number, table in enumerate(several, start=1):
            name = f"{section}-{number:02}.csv"
            (folder / name).write_text(to_csv(table), encoding="utf-8")
            parts.append(f"{markdown(table)}\n\nFigures: [{name}]({name})")
    (folder / "tables.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
