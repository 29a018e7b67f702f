"""The commands of `expnet`."""

import typer

from expnet.cli import (
    adapt,
    audit,
    benchmark,
    data,
    explain,
    explain_file,
    export,
    finetune,
    fit,
    methods,
    report,
    serve,
    speed,
    studio,
    trust,
)

app = typer.Typer(
    name="expnet",
    help="Show which words made a transformer text classifier decide, learned from words that people marked.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("explain")(explain.explain)
app.command("explain-file")(explain_file.explain_file)
app.command("methods")(methods.methods)
app.command("fit")(fit.fit)
app.command("adapt")(adapt.adapt)
app.command("trust")(trust.trust)
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
