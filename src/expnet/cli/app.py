"""The commands of `expnet`."""

from typing import Any

import typer
from typer.core import TyperGroup

from expnet.cli import (
    adapt,
    audit,
    benchmark,
    data,
    doctor,
    explain,
    explain_file,
    export,
    finetune,
    fit,
    head_weights,
    methods,
    report,
    serve,
    speed,
    studio,
    trust,
)


class _Welcoming(TyperGroup):
    """Says, without arguments, what one can do."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            from expnet.cli.welcome import welcome

            print(welcome())
            ctx.exit()
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    name="expnet",
    cls=_Welcoming,
    help="Show which words made a transformer text classifier decide, learned from words that people marked.",
    pretty_exceptions_enable=False,
)
app.command("explain")(explain.explain)
app.command("explain-file")(explain_file.explain_file)
app.command("methods")(methods.methods)
app.command("doctor")(doctor.doctor)
app.command("fit")(fit.fit)
app.command("adapt")(adapt.adapt)
app.command("trust")(trust.trust)
app.command("head-weights")(head_weights.head_weights)
app.command("finetune")(finetune.finetune)
app.command("benchmark")(benchmark.benchmark)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("speed")(speed.speed)
app.command("serve")(serve.serve)
app.command("studio")(studio.studio)
app.add_typer(data.app, name="data")
app.add_typer(audit.app, name="audit")


@app.callback(invoke_without_command=True)
def version(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Run without a command: print the version if it is asked for."""
    if version:
        from expnet._version import __version__

        print(f"expnet {__version__}")
        raise typer.Exit
