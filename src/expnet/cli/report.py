"""`expnet report`: rows of a benchmark in; a page, tables and plots out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli.outputs import check_folder_of, say_written
from expnet.errors import InputError, require_extra

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expnet.benchmark.present.table import Table


def report(
    rows: Annotated[list[Path], typer.Argument(help="Files of rows that `expnet benchmark` wrote, or their folders.")],
    output: Annotated[Path, typer.Option(help="Write the page to this file.")],
    plan: Annotated[
        str | None, typer.Option(help="Only the rows of this plan, of files that hold those of several.")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="Also write the tables to this folder, as CSV and as one Markdown file.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Also write the plots to this folder, as PDF, PNG and SVG.")
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help="Example texts to show: the file that the benchmark wrote.")
    ] = None,
) -> None:
    """Write a page that presents the results of a benchmark to newcomers."""
    require_extra("matplotlib", "report")
    check_folder_of(output)
    from expnet.benchmark.present import plots as plotting
    from expnet.benchmark.present.report.examples import read_examples
    from expnet.benchmark.present.report.page import page
    from expnet.benchmark.present.summary import check_rows
    from expnet.benchmark.present.tables import all_tables
    from expnet.benchmark.rows import read_rows

    shown = [] if examples is None else read_examples(examples)
    results = read_rows(rows)
    if plan is not None:
        plans = {str(row.provenance.get("plan")) for row in results}
        results = [row for row in results if row.provenance.get("plan") == plan]
        if not results:
            raise InputError(f"There are no rows of the plan {plan!r}; there are those of {', '.join(sorted(plans))}.")
    check_rows(results)
    sections, figures = all_tables(results), plotting.plots(results)
    output.write_text(page(results, sections, figures, shown), encoding="utf-8")
    if tables is not None:
        _write(sections, tables)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        plotting.save(figures, plots)
    say_written(path for path in (output, tables, plots) if path is not None)


def _write(sections: "Mapping[str, Sequence[Table]]", folder: Path) -> None:
    """Write each table as CSV, and all of them as Markdown that says which file is which."""
    from expnet.benchmark.present.table import markdown, to_csv

    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for section, tables in sections.items():
        for number, table in enumerate(tables, start=1):
            name = f"{section}-{number:02}.csv"
            (folder / name).write_text(to_csv(table), encoding="utf-8")
            parts.append(f"{markdown(table)}\n\nFigures: [{name}]({name})")
    (folder / "tables.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
