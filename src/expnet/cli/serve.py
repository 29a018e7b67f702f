"""`expnet serve`: models behind an address, for programs and for people."""

import ipaddress
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from expnet.errors import InputError, require_extra
from expnet.explanation.escape import printable

_LOCAL = ("localhost", "127.0.0.1", "::1")


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Demos, folders or hub ids, or NAME=MODEL; without any, demo/sentiment."),
    ] = None,
    explainer: Annotated[
        list[str] | None, typer.Option(help="NAME=EXPLAINER: folder or hub id of the ExpNet of a model; repeat it.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="Offer only this method; repeat it.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one of this machine.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that clients may use for this server, beside localhost and addresses; repeat it."),
    ] = None,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = 256_000,
    max_texts: Annotated[int, typer.Option(min=1, help="Texts of a request.")] = 64,
    max_characters: Annotated[int, typer.Option(min=1, help="Characters of a text, with its pair.")] = 20_000,
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that a method of many passes may read for a request.")
    ] = 50_000,
    max_waiting: Annotated[int, typer.Option(min=1, help="Texts that wait for a model.")] = 256,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="Time until an answer.")] = 30.0,
    threads: Annotated[int, typer.Option(min=0, help="Of the processor, for each model; 0 is all.")] = 0,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda; by default the best there is.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type of the weights, such as bfloat16.")] = None,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Log what clients send.")] = False,
) -> None:
    """Serve predictions and explanations over HTTP, and a page to try them."""
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        require_extra(package, "serve")
    named = _named(models or ["demo/sentiment"])
    networks = _networks(explainer or [], named)
    import torch

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
    if threads:
        torch.set_num_threads(threads)
    loaded = {
        name: load(model, explainer=networks.get(name), device=device, dtype=dtype) for name, model in named.items()
    }
    app = create_app(loaded, limits=limits, methods=method, hosts=names(host, allow_host), log_texts=log_texts)
    for name, each in loaded.items():
        trust = f" Explained by {each.name}. {each.trust}" if each.trust else ""
        print(printable(f"{name}: {named[name]}.{trust}"), file=sys.stderr)
    run(app, limits, host=host, port=port)


def _named(models: Sequence[str]) -> dict[str, str]:
    """Return models by name: the one given, or the last part of where the model is."""
    named: dict[str, str] = {}
    for each in models:
        name, equals, model = each.partition("=")
        if not equals:
            name, model = Path(each).name, each
        if name in named:
            raise InputError(f"Both {named[name]} and {model} are called {name!r}: name one, as in mine={model}.")
        named[name] = model
    return named


def _networks(given: Sequence[str], named: dict[str, str]) -> dict[str, str]:
    networks = dict(item.split("=", 1) for item in given if "=" in item)
    if len(networks) != len(given) or not networks.keys() <= named.keys():
        raise InputError(
            f"Expected explainers as NAME=EXPLAINER, each name once and one of {', '.join(named)}; got {list(given)}."
        )
    return networks


def names(host: str, allowed: Sequence[str] | None) -> list[str]:
    """Return the names this server answers to: those of the loopback, that of where it listens, and those allowed."""
    if host not in _LOCAL and not _loopback(host):
        print(
            "expnet: whoever reaches this address can use the models; there are no passwords here. Clients reach it by "
            "address; --allow-host NAME lets them use a name.",
            file=sys.stderr,
        )
    return [host, *_LOCAL, *(allowed or ())]


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
