"""The page for people: plain forms, rendered on the server; its script only avoids reloading."""

import json
from dataclasses import asdict
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from markupsafe import Markup

from expnet.errors import ExpnetError, RefusedError
from expnet.explanation import comparison, html, latex, markdown, svg
from expnet.explanation.result import Explanation
from expnet.explanation.templates import environment
from expnet.methods.learned import SECOND_OUTPUT
from expnet.metrics.removal import RANDOM
from expnet.serve import v1
from expnet.serve.answers import MOST, RANKED, Form, PageAnswer, answer, form_of
from expnet.serve.models import Models, Served, find
from expnet.web import refusals
from expnet.web.forms import last, read_form

# What somebody may try who has no text at hand: each has a reason for more than one class of some task.
_EXAMPLES = (
    "A gripping, beautifully shot film with a wooden lead.",
    "The waiter was rude, but the food was worth the wait.",
    "The keys to the cabinet is on the table.",
)
# What a result can be downloaded as: content type, and how its file is called.
_KINDS = {
    "html": ("text/html", "html"),
    "json": ("application/json", "json"),
    "svg": ("image/svg+xml", "svg"),
    "latex": ("application/x-tex", "tex"),
    "markdown": ("text/markdown", "md"),
}


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
            return _page(models, models[first], Form(), refusal=refusals.refused(error))
        return _page(models, served, Form(methods=_first(served)))

    @routes.post("/")
    async def ask(request: Request) -> Response:
        served, form = models[first], Form()
        try:
            fields = read_form(await request.body())
            served = find(models, last(fields, "model", first))
            form = form_of(fields)
            return _page(models, served, form, result=await answer(models, served, form))
        except refusals.EXPECTED as error:
            return _page(models, served, form, refusal=refusals.refused(error))

    @routes.post("/download")
    async def download(request: Request) -> Response:
        fields = read_form(await request.body())
        served = find(models, last(fields, "model", first))
        result = await answer(models, served, form_of(fields))
        asked = last(fields, "format", "html")
        kind = asked if asked in _KINDS else "html"
        media_type, ending = _KINDS[kind]
        name = {"content-disposition": f'attachment; filename="explanation.{ending}"'}
        return Response(_saved(result, kind, served.name), media_type=media_type, headers=name)

    return routes


def _saved(result: PageAnswer, kind: str, title: str) -> str | bytes:
    """Return a result as a file; a picture, LaTeX and Markdown hold one explanation below the other."""
    explanations = [one for ranking in result.rankings for one in ranking] or result.explanations
    if kind == "json":
        return _record(result)
    if result.models:
        explanations = comparison.comparable(explanations, result.models)  # so that their models have names
    if kind == "svg":
        return svg.picture(explanations)
    if kind in ("latex", "markdown"):
        write = latex.fragment if kind == "latex" else markdown.fragment
        return "\n\n".join(map(write, explanations)) + "\n"
    return html.document([_card(result), _checked(result)], title)


def _record(result: PageAnswer) -> bytes:
    checks = [asdict(check) for removal in result.removals.values() for check in removal.checks]
    return refusals.encode(v1.answer(result.rankings or result.explanations) | {"checks": checks})


def _card(result: PageAnswer) -> str:
    if result.rankings:
        return "".join(map(html.ranked, result.rankings))
    several = len(result.explanations) > 1
    return html.side_by_side(result.explanations, result.models) if several else result.explanations[0].to_html()


def _checked(result: PageAnswer) -> str:
    template = _TEMPLATES.get_template("check.html")
    return "".join(
        template.render(checks=removal.checks, unchecked=removal.unchecked, label=removal.label, model=model)
        for model, removal in result.removals.items()
    )


def _page(
    models: Models,
    served: Served,
    form: Form,
    *,
    result: PageAnswer | None = None,
    refusal: RefusedError | None = None,
) -> Response:
    content = _TEMPLATES.get_template("page.html").render(
        names=list(models),
        served=served,
        form=form,
        families=_families(served),
        passes={method.name: method.told_cost for method in served.methods},
        examples=_EXAMPLES,
        free=_free(served),
        most=MOST,
        ranks=min(RANKED, served.limits.texts),
        result=result,
        card=Markup(_card(result)) if result else "",  # the renderer escapes
        checked=Markup(_checked(result)) if result else "",  # likewise
        grids=Markup(result.grids) if result else "",  # likewise
        # In ASCII, so that nothing in it need be spelled out.
        facts=_facts(result.explanations[0]) if result else "",
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
