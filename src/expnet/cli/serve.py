"""`expnet serve`: models behind an address, for programs and for people."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli import options
from expnet.cli.hosts import served_names
from expnet.cli.inputs import by_name, lists_by_name, prompt_of
from expnet.cli.outputs import say
from expnet.errors import InputError, require_extra

if TYPE_CHECKING:
    from expnet.serve.otel import OpenTelemetry

_limit = partial(typer.Option, rich_help_panel="Limits")


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Demos, folders or hub ids, or NAME=MODEL to name one. By default demo/sentiment."),
    ] = None,
    explainer: Annotated[
        list[str] | None,
        typer.Option(help="NAME=EXPLAINER: ExpNet of the model of this name, a folder or a hub id; repeat it."),
    ] = None,
    revision: Annotated[
        list[str] | None,
        typer.Option(help="NAME=REVISION: commit, tag or branch of the model of this name on the hub; repeat it."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: prompt, with labels, of the language model of this name; repeat it."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=LABEL=WORD: the word that stands for a label of the language model of this name, unless the "
            "file of its prompt has them; repeat it."
        ),
    ] = None,
    zero_shot: Annotated[
        list[str] | None,
        typer.Option(help="NAME=LABEL: label for the model of natural language inference of this name; repeat it."),
    ] = None,
    hypothesis: Annotated[
        list[str] | None,
        typer.Option(help="NAME=TEMPLATE: template, with {} for a label, of the model of this name; repeat it."),
    ] = None,
    method: options.MethodsOption = None,
    host: options.HostOption = "127.0.0.1",
    port: options.PortOption = 8000,
    allow_host: options.AllowedHosts = None,
    max_body: Annotated[int, _limit(min=1, help="Bytes in a request.")] = 256_000,
    max_texts: Annotated[int, _limit(min=1, help="Texts in a request.")] = 64,
    max_characters: Annotated[int, _limit(min=1, help="Characters in a text and its pair together.")] = 20_000,
    max_tokens: Annotated[
        int,
        _limit(min=1, help="Tokens that a method of many passes may read for one request."),
    ] = 50_000,
    max_waiting: Annotated[int, _limit(min=1, help="Texts that may wait for a model.")] = 256,
    max_seconds: Annotated[float, _limit(min=0.1, help="Seconds until a request must be answered.")] = 30.0,
    threads: options.ThreadsOption = 0,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Log what clients send.")] = False,
    traces: Annotated[
        bool,
        typer.Option("--traces", help="Send traces of requests to OpenTelemetry, as the variables OTEL_* say."),
    ] = False,
) -> None:
    """Serve predictions and explanations over HTTP, and a page to try them.

    Clients may use every method, or only those named with `--method`.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require_extra(package, "serve")
    if traces:
        require_extra("opentelemetry.exporter.otlp.proto.http", "otel")
    named = _named(models or ["demo/sentiment"])
    networks = by_name(explainer or [], kind="explainer", names=list(named))
    revisions = by_name(revision or [], kind="revision", names=list(named))
    prompts = by_name(prompt or [], kind="file", names=list(named))
    words = lists_by_name(label or [], kind="label", names=list(named))
    labels = lists_by_name(zero_shot or [], kind="label", names=list(named))
    hypotheses = by_name(hypothesis or [], kind="template", names=list(named))
    from expnet.explainer import load
    from expnet.serve.app import create_app
    from expnet.web.limits import Limits
    from expnet.web.running import run

    limits = Limits(
        body=max_body,
        texts=max_texts,
        characters=max_characters,
        tokens=max_tokens,
        waiting=max_waiting,
        seconds=max_seconds,
    )
    options.set_threads(threads)
    explainers = {
        name: load(
            model,
            explainer=networks.get(name),
            revision=revisions.get(name),
            device=device,
            dtype=dtype,
            prompt=prompt_of(
                Path(prompts[name]) if name in prompts else None,
                words.get(name),
                labels.get(name),
                hypotheses.get(name),
            ),
        )
        for name, model in named.items()
    }
    hosts = served_names(host, allow_host)
    app = create_app(
        explainers,
        limits=limits,
        methods=method,
        hosts=hosts,
        log_texts=log_texts,
        traces=_from_environment() if traces else None,
    )
    for name, loaded in explainers.items():
        trust = f" Explained by {loaded.name}. {loaded.trust}" if loaded.trust else ""
        say(f"{name}: {named[name]}.{trust}")
    run(app, limits, host=host, port=port)


def _from_environment() -> "OpenTelemetry":
    from expnet.serve.otel import from_environment

    return from_environment()


def _named(models: Sequence[str]) -> dict[str, str]:
    """Return models by name: the one given, or the last part of the path or hub id."""
    named: dict[str, str] = {}
    for typed in models:
        name, equals, model = typed.partition("=")
        if not equals:
            name, model = Path(typed).name, typed
        if name in named:
            raise InputError(f"Both {named[name]} and {model} are called {name!r}: name one, as in mine={model}.")
        named[name] = model
    return named
