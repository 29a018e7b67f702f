"""The endpoints as a page that one reads: made of the server's own description, without a script, offline."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from expnet.explanation.templates import environment

_REFERENCE = "#/components/schemas/"
_MOST = 3  # examples


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path and what it does: the names of the types that it takes and gives, and its refusals by their status."""

    method: str
    path: str
    summary: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    refusals: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field of a type, its own type and default in words; `types` are those that have a section of their own."""

    name: str
    kind: str
    types: tuple[str, ...]
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class TypeTable:
    """A type of requests or answers."""

    name: str
    description: str
    fields: tuple[FieldRow, ...]
    examples: tuple[str, ...]


def router() -> APIRouter:
    """Return the page, at `/docs`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def show(request: Request) -> Response:
        described = request.app.openapi()
        content = _template().render(
            about=described["info"], endpoints=tuple(endpoints(described)), types=tuple(types(described))
        )
        return Response(content, media_type="text/html")

    return routes


def endpoints(described: Mapping[str, Any]) -> Iterator[Endpoint]:
    """Yield the endpoints of a description in OpenAPI's form."""
    for path, methods in described["paths"].items():
        for method, asked in methods.items():
            answers = asked["responses"]
            yield Endpoint(
                method.upper(),
                path,
                asked.get("summary", ""),
                tuple(dict.fromkeys(_named(asked.get("requestBody", {})))),
                tuple(dict.fromkeys(_named({status: answers[status] for status in answers if status < "300"}))),
                {status: answer["description"] for status, answer in answers.items() if status >= "400"},
            )


def types(described: Mapping[str, Any]) -> Iterator[TypeTable]:
    """Yield the objects that requests and answers are made of."""
    for name, schema in sorted(described["components"]["schemas"].items()):
        if name not in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which no answer has
            rows = tuple(
                _row(field, of, schema.get("required", ())) for field, of in schema.get("properties", {}).items()
            )
            shown = tuple(json.dumps(one, ensure_ascii=False) for one in schema.get("examples", ())[:_MOST])
            yield TypeTable(name, schema.get("description", ""), rows, shown)


def _row(name: str, of: Mapping[str, Any], required: Sequence[str]) -> FieldRow:
    default = "required" if name in required else json.dumps(of.get("default"), ensure_ascii=False)
    return FieldRow(name, _kind(of), tuple(dict.fromkeys(_named(of))), default, of.get("description", ""))


def _kind(of: Mapping[str, Any]) -> str:
    """Say in a few words what a value may be."""
    if "$ref" in of:
        return str(of["$ref"]).removeprefix(_REFERENCE)
    for several in ("anyOf", "oneOf"):
        if several in of:
            return " or ".join(dict.fromkeys(map(_kind, of[several])))
    if "const" in of or "enum" in of:
        return " or ".join(json.dumps(value) for value in of.get("enum", [of.get("const")]))
    if of.get("type") == "array":
        return f"list of {_kind(of['items'])}" if of.get("items") else "list"
    return str(of.get("type", "anything"))


def _named(part: Any) -> Iterator[str]:
    """Yield the names of the types that a part of a description refers to."""
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].removeprefix(_REFERENCE)
        for value in part.values():
            yield from _named(value)
    elif isinstance(part, list):
        for value in part:
            yield from _named(value)


@cache
def _template() -> Any:
    return environment(Path(__file__).parent / "templates").get_template("reference.html")
