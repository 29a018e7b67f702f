"""The page for people: plain forms, rendered on the server; its script only avoids reloading."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from markupsafe import Markup

from expnet.errors import ExpnetError, InputError, RefusedError
from expnet.explainer.heads import LISTENING
from expnet.explanation import comparison, html, latex, markdown, svg
from expnet.explanation.colour import shorten
from expnet.explanation.escape import printable
from expnet.explanation.result import Explanation
from expnet.explanation.templates import environment
from expnet.methods.learned import SECOND_OUTPUT
from expnet.metrics.removal import RANDOM, Checked
from expnet.serve import v1
from expnet.serve.models import Models, Served, find
from expnet.serve.tasks import Check, Compare, Explain, Heads
from expnet.text.labels import ALL
from expnet.web import refusals
from expnet.web.forms import last, read_form
from expnet.web.limits import Item

_COUNT, _MOST = "3", 50  # top words to remove
_RANKED = 10  # classes at most, where every class is asked for
# What a result can be downloaded as: content type, and how its file is called.
_KINDS = {
    "html": ("text/html", "html"),
    "json": ("application/json", "json"),
    "svg": ("image/svg+xml", "svg"),
    "latex": ("application/x-tex", "tex"),
    "markdown": ("text/markdown", "md"),
}


@dataclass(frozen=True, slots=True)
class _Form:
    """A filled form, as it was typed: a text, how to explain it, top words to remove, a word to show the heads of."""

    text: str = ""
    pair: str = ""
    target: str = ""
    against: str = ""
    methods: tuple[str, ...] = ()
    count: str = _COUNT
    word: str = ""


@dataclass(frozen=True, slots=True)
class _Result:
    """The result: explanations of one class or rankings of all, the methods left out, what was checked or why not.

    `listened` are the methods whose heads can be shown, and `grids` those of the word that was picked, as HTML.
    """

    explanations: list[Explanation]
    rankings: list[list[Explanation]]
    left_out: dict[str, str]
    checks: tuple[Checked, ...]
    unchecked: str
    listened: tuple[str, ...] = ()
    grids: str = ""


def router(models: Models) -> APIRouter:
    """Return the page of some models."""
    routes = APIRouter(include_in_schema=False)
    first = next(iter(models))

    @routes.get("/")
    async def show(request: Request, model: str = first) -> Response:
        if not request.url.query and "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"status": "alive"})  # to no browser but a client of KServe's V1, or the like
        try:
            served = find(models, model)
        except ExpnetError as error:
            return _page(models, models[first], _Form(), refusal=refusals.refused(error))
        return _page(models, served, _Form(methods=_first(served)))

    @routes.post("/")
    async def ask(request: Request) -> Response:
        served, form = models[first], _Form()
        try:
            fields = read_form(await request.body())
            served = find(models, last(fields, "model", first))
            form = _form(fields)
            return _page(models, served, form, result=await _result(served, form))
        except refusals.EXPECTED as error:
            return _page(models, served, form, refusal=refusals.refused(error))

    @routes.post("/download")
    async def download(request: Request) -> Response:
        fields = read_form(await request.body())
        served = find(models, last(fields, "model", first))
        result = await _result(served, _form(fields))
        asked = last(fields, "format", "html")
        kind = asked if asked in _KINDS else "html"
        media_type, ending = _KINDS[kind]
        name = {"content-disposition": f'attachment; filename="explanation.{ending}"'}
        return Response(_saved(result, kind, served.name), media_type=media_type, headers=name)

    return routes


def _form(fields: Mapping[str, list[str]]) -> _Form:
    return _Form(
        text=last(fields, "text", ""),
        pair=last(fields, "pair", ""),
        target=last(fields, "target", ""),
        against=last(fields, "against", ""),
        methods=tuple(dict.fromkeys(fields.get("method", []))),
        count=last(fields, "count", _COUNT),
        word=last(fields, "word", ""),
    )


async def _result(served: Served, form: _Form) -> _Result:
    """Explain by each method; errors of some methods are shown beside the explanations by the others.

    Raises:
        ExpnetError: If no method was chosen, none could run, or there is something else wrong with the form.
    """
    if not (form.count.isdecimal() and len(form.count) < 4 and 1 <= int(form.count) <= _MOST):
        raise InputError(f"Expected 1 to {_MOST} words to remove, got {shorten(form.count)!r}.")
    if not form.methods:
        raise InputError("Choose a method.")
    item = (form.text, form.pair or None)
    target, against = _class(form.target), _class(form.against)
    classes = min(_RANKED, served.limits.texts) if target == ALL else None
    asked = {method: Explain(method, target=target, against=against, classes=classes) for method in form.methods}
    explained, left_out, failure = list[Any](), dict[str, str](), None
    for method, outcome in (await _outcomes(served, asked, item)).items():
        if isinstance(outcome, ExpnetError):
            left_out[method], failure = str(outcome), failure or outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            explained.append(outcome)
    if not explained and failure is not None:
        raise failure
    rankings = explained if target == ALL else []
    explanations = [ranking[0] for ranking in rankings] if rankings else explained
    listened = tuple(name for name in form.methods if name in LISTENING and name not in left_out)
    grids = await _grids(served, form, listened, item) if form.word else ""
    checks: tuple[Checked, ...] = ()
    unchecked = ""
    try:
        (checks,) = await served.do(Check(tuple(explanations), int(form.count)), [item])
    except ExpnetError as error:
        unchecked = str(error)
    return _Result(explanations, rankings, left_out, checks, unchecked, listened, grids)


async def _grids(served: Served, form: _Form, methods: Sequence[str], item: Item) -> str:
    """Return the heads of the word that was picked, by each method, or why they cannot be shown."""
    target, against = (None if form.target == ALL else _class(form.target)), _class(form.against)
    parts = []
    for method in methods:
        try:
            (effects,) = await served.do(Heads(method, target=target, against=against), [item])
            parts.append(effects.to_html(_class(form.word) or 0))
        except ExpnetError as error:
            parts.append(str(Markup('<p class="alert">{}</p>').format(printable(str(error)))))
    return "".join(parts)


async def _outcomes(
    served: Served, asked: Mapping[str, Explain], item: Item
) -> dict[str, Explanation | list[Explanation] | BaseException]:
    """Return the explanation by each method, or its error; light methods run together, unless one of them fails."""
    outcomes: dict[str, Any] = {}
    light = {method.name for method in served.methods if method.worth_sharing}
    together = [each for method, each in asked.items() if method in light]
    if len(together) > 1:
        try:
            (by_method,) = await served.do(Compare(tuple(together)), [item])
        except ExpnetError as error:
            if isinstance(error, RefusedError) and error.status != 422:  # the server takes nothing now
                raise
            # Otherwise one of the methods cannot run: below it fails alone.
        else:
            for each, of_classes in zip(together, by_method, strict=True):
                outcomes[each.method] = of_classes if each.target == ALL else of_classes[0]
    rest = [method for method in asked if method not in outcomes]
    answers = await asyncio.gather(*(served.do(asked[method], [item]) for method in rest), return_exceptions=True)
    for method, answer in zip(rest, answers, strict=True):
        outcomes[method] = answer if isinstance(answer, BaseException) else answer[0]
    return {method: outcomes[method] for method in asked}


def _class(typed: str) -> str | int | None:
    return int(typed) if typed.isdecimal() and len(typed) < 9 else typed or None


def _saved(result: _Result, kind: str, title: str) -> str | bytes:
    """Return a result as a file; a picture, LaTeX and Markdown hold one explanation below the other."""
    explanations = [one for ranking in result.rankings for one in ranking] or result.explanations
    if kind == "json":
        return _record(result)
    if kind == "svg":
        return svg.picture(explanations)
    if kind in ("latex", "markdown"):
        write = latex.fragment if kind == "latex" else markdown.fragment
        return "\n\n".join(map(write, explanations)) + "\n"
    return html.document([_card(result), _checked(result)], title)


def _record(result: _Result) -> bytes:
    content = v1.answer(result.rankings or result.explanations) | {"checks": [asdict(check) for check in result.checks]}
    return refusals.encode(content)


def _card(result: _Result) -> str:
    if result.rankings:
        return "".join(map(html.ranked, result.rankings))
    several = len(result.explanations) > 1
    return html.side_by_side(result.explanations) if several else result.explanations[0].to_html()


def _checked(result: _Result) -> str:
    return _TEMPLATES.get_template("check.html").render(
        checks=result.checks, unchecked=result.unchecked, label=result.explanations[0].label
    )


def _page(
    models: Models,
    served: Served,
    form: _Form,
    *,
    result: _Result | None = None,
    refusal: RefusedError | None = None,
) -> Response:
    content = _TEMPLATES.get_template("page.html").render(
        names=list(models),
        served=served,
        form=form,
        families=_families(served),
        free=_free(served),
        most=_MOST,
        ranks=min(_RANKED, served.limits.texts),
        result=result,
        card=Markup(_card(result)) if result else "",  # the renderer escapes
        checked=Markup(_checked(result)) if result else "",  # likewise
        grids=Markup(result.grids) if result else "",  # likewise
        # In ASCII, so that nothing in it need be spelled out.
        facts=_facts(result.explanations[0]) if result else "",
        differences=comparison.differences(result.explanations) if result and not result.rankings else [],
        error="" if refusal is None else str(refusal),
    )
    status, headers = (200, None) if refusal is None else (refusal.status, refusals.headers(refusal))
    return Response(content, status, headers, "text/html")


def _facts(explanation: Explanation) -> str:
    """Return what the page's script compares texts by; the sentences for readers stand on the page already."""
    facts = {name: value for name, value in explanation.to_dict().items() if name not in ("meaning", "checked")}
    return json.dumps(facts, allow_nan=False)


def _listed(served: Served) -> tuple[str, ...]:
    """Return the methods that need nothing but a text; "expnet" stands for the first output of whichever network."""
    return tuple(
        method.name
        for method in served.methods
        if (method.name == "expnet" or "network" not in method.supplied or method in SECOND_OUTPUT)
        and all(option.default is not option.empty for option in method.options.values())
    )


def _first(served: Served) -> tuple[str, ...]:
    """Return the method chosen by default: the ExpNet, otherwise the first that is not a control."""
    families = {method.name: method.family for method in served.methods}
    return tuple(sorted(_listed(served), key=lambda name: families[name] == "control")[:1])


def _families(served: Served) -> dict[str, list[str]]:
    listed = _listed(served)
    families: dict[str, list[str]] = {}
    for method in served.methods:
        if method.name in listed:
            families.setdefault(method.family, []).append(method.name)
    return families


def _free(served: Served) -> frozenset[str]:
    """Return the methods whose scores are the same for every class."""
    explainer = served.explainer
    if explainer.classifier.hypotheses is not None:  # a zero-shot label is part of what is read
        return frozenset()
    learned = explainer.network is not None and not explainer.network.uses_target
    listed = {method.name: method.uses_target for method in served.methods} | {"expnet": not learned}
    return frozenset(name for name in _listed(served) if not listed[name])


_TEMPLATES = environment(Path(__file__).parent / "templates")
_TEMPLATES.globals["RANDOM"] = RANDOM
