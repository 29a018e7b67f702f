"""The pages: one text to mark, the list of them, Fit with before and after."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from markupsafe import Markup

from expnet.errors import RefusedError
from expnet.explanation import bars, colour, html
from expnet.explanation.templates import environment
from expnet.studio.comparing import ENOUGH_TO_TELL, FOLDS
from expnet.studio.desk import Desk
from expnet.studio.fitting import LEAST, RECOMMENDED, Fitting
from expnet.studio.marking import chosen_in, label_of, pieces_of, places_of, words_of
from expnet.studio.marks import ConflictError, Entry
from expnet.studio.outcome import BeforeAndAfter, TrainingResult
from expnet.studio.together import as_source
from expnet.web import refusals
from expnet.web.failures import is_failure, raisable, unreadable
from expnet.web.forms import last, read_form

_LISTED = 100  # texts on a page of the list
_CHANGED = 8  # words
_ELSEWHERE = 303


def router(desk: Desk) -> APIRouter:
    """Return the pages of a desk."""
    routes = APIRouter(include_in_schema=False)
    routes.include_router(_marking(desk))
    routes.include_router(_training(desk))
    return routes


async def _body(request: Request) -> bytes:
    return await request.body()


_Body = Annotated[bytes, Depends(_body)]


def _marking(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.get("/")
    def begin() -> Response:
        return _go(desk.next())

    @routes.get("/texts")
    def listed(page: int = 1, saved: int = 0) -> Response:
        entries = list(enumerate(desk.entries(), start=1))
        pages = max(1, -(-len(entries) // _LISTED))
        page = min(max(1, page), pages)
        shown = entries[_LISTED * (page - 1) : _LISTED * page]
        people = desk.people()
        return _page(desk, "texts.html", entries=shown, page=page, pages=pages, saved=saved, people=people)

    @routes.get("/texts/{number}")
    def show(number: int, saved: int = 0, explanation: int = 0) -> Response:
        return _text(desk, _place(desk, number), saved=saved, explain=bool(explanation))

    @routes.post("/texts/{number}")
    def save(number: int, request: Request, body: _Body) -> Response:
        answer = _saved(desk, _place(desk, number), read_form(body))
        if answer.status_code == _ELSEWHERE and request.headers.get("accept") == "application/json":
            # The page's script goes there itself, once it knows that the marks are saved.
            return Response(refusals.encode({"next": answer.headers["location"]}), media_type="application/json")
        return answer

    @routes.post("/texts/{number}/explanation")
    def reveal(number: int) -> Response:
        place = _place(desk, number)
        if desk.entry(place).annotation(desk.annotator) is None:
            raise RefusedError(409, "Mark and save the text first: a shown explanation would lead you.")
        desk.marks.shown([desk.texts[place]], desk.annotator)
        return _redirect(f"../../texts/{number}?explanation=1#explanation")

    return routes


def _saved(desk: Desk, place: int, fields: Mapping[str, list[str]]) -> Response:
    """Save the marks in a form, withdraw them or skip the text, and redirect to the next text."""
    record, action = desk.texts[place], last(fields, "action", "save")
    if action == "skip":
        desk.marks.skip(record, desk.annotator)
        return _go(desk.next(place), up=1)
    if action == "withdraw":
        desk.marks.withdraw(record, desk.annotator)
        return _redirect(f"../texts/{place + 1}")
    chosen, label = (
        chosen_in(record.text, last(fields, "words", "")),
        label_of(desk.explainer.classifier.labels, last(fields, "label", "")),
    )
    spans = [record.text.words[word] for word in chosen]
    try:
        desk.marks.save(record, desk.annotator, spans, label, seen=last(fields, "seen", ""))
    except ConflictError as conflict:
        return _text(desk, place, entry=conflict.entry, unsaved=(chosen, label))
    return _go(desk.next(place), saved=place + 1, up=1)


def _training(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.get("/fit")
    def show() -> Response:
        outcome = desk.outcome
        pairs = outcome.pairs if outcome is not None and outcome.annotator == desk.annotator else ()
        return _page(
            desk,
            "fit.html",
            outcome=outcome,
            cards=[(pair.after, _table(pair)) for pair in pairs],
            changed=_changed(outcome) if outcome is not None and pairs else "",
            read=desk.could_read(),
            after_explanation=_led(desk),
        )

    @routes.post("/fit")
    def begin(body: _Body) -> Response:
        fields = read_form(body)
        desk.fit(read=last(fields, "read", "") == "yes", source=as_source(last(fields, "source", "own")))
        return _redirect("fit")

    @routes.post("/fit/cancel")
    def cancel() -> Response:
        if desk.fitting is not None:
            desk.fitting.cancel()
            desk.fitting.join(5)
        return _redirect("../fit")

    @routes.get("/fit/state")
    def state() -> Response:
        return Response(refusals.encode(_state(desk.fitting)), media_type="application/json")

    return routes


def failure(desk: Desk, error: RefusedError, *, number: int = 0, up: int = 0) -> Response:
    """Return a page that says what is wrong; a text that cannot be shown, by its number, can be skipped.

    Args:
        desk: The desk.
        error: What is wrong.
        number: Of the text.
        up: How many parts the address of the page has before its last one.
    """
    skip = number if 1 <= number <= len(desk.texts) else 0
    response = _page(desk, "failure.html", up=up, error=str(error), skip=skip)
    return Response(response.body, error.status, refusals.headers(error), "text/html")


def _state(fitting: Fitting | None) -> dict[str, Any]:
    if fitting is None:
        return {"stage": "none"}
    return {
        "stage": fitting.stage,
        "doing": fitting.doing,
        "done": fitting.done,
        "total": fitting.total,
        "seconds": round(fitting.elapsed, 1),
    }


def _text(
    desk: Desk,
    place: int,
    *,
    saved: int = 0,
    explain: bool = False,
    entry: Entry | None = None,
    unsaved: tuple[list[int], str | None] | None = None,
) -> Response:
    """Show a text to mark, as this person left it; `unsaved` marks were refused because others came between."""
    entry = entry or desk.entry(place)
    record, mine, doing = desk.texts[place], entry.annotation(desk.annotator), entry.doing(desk.annotator)
    classifier = desk.explainer.classifier
    with _reading():
        prediction = classifier.predict(classifier.encode([record.text]))
    predicted = int(prediction.chosen[0])
    marks, label = ([], None) if mine is None else (places_of(record, mine.spans), mine.label)
    if unsaved is not None:
        marks, label = unsaved
    suggested = record.label if record.label in classifier.labels else classifier.labels[predicted]
    explanation = ""
    if explain and mine is not None and doing.explanation_shown_at:
        # By its index: a class may be called "all", which as a target means every class.
        target = classifier.target_index(mine.label) if mine.label in classifier.labels else None
        with _reading():
            explanation = desk.newest.explain(record.text, target=target).to_html()
    response = _page(
        desk,
        "mark.html",
        up=1,
        number=place + 1,
        segments=[pieces_of(record.text, segment) for segment in ((0,) if record.text.pair is None else (0, 1))],
        marks=marks,
        theirs=words_of(record, mine.spans) if unsaved is not None and mine is not None else None,
        label=label if label in classifier.labels else suggested,
        given=record.label,
        predicted=(classifier.labels[predicted], float(prediction.outputs[0, predicted]), prediction.kind),
        labels=classifier.labels,
        mine=mine,
        doing=doing,
        others=[
            annotation.annotator for annotation in entry.record.annotations if annotation.annotator != desk.annotator
        ],
        saved=saved,
        explanation=Markup(explanation),  # the renderer escapes
    )
    return response if unsaved is None else Response(response.body, 409, media_type="text/html")


@contextmanager
def _reading() -> Iterator[None]:
    """Say that the model fails on a text as a refusal, so that the text can be skipped."""
    try:
        yield
    except Exception as error:
        told = raisable(error)
        raise (unreadable(told) if is_failure(told) else told) from error


def _table(pair: BeforeAndAfter) -> Markup:
    rows = [replace(pair.before, method="before"), replace(pair.after, method="after")]
    change = pair.change
    return Markup(html.table(rows if change is None else [*rows, change]))  # the renderer escapes


def _changed(outcome: TrainingResult) -> Markup:
    scale = colour.Scale(1.0, signed=True)
    rows = [
        bars.BarRow(
            change.word,
            abs(change.change),
            f"{change.before:.2f} \u2192 {change.after:.2f}",
            colour.hue(change.change, scale),
        )
        for change in outcome.changed_most(_CHANGED)
    ]
    return Markup(bars.table("What changed most", rows))  # likewise


def _led(desk: Desk) -> int:
    return sum(doing.marked_after_explanation for entry in desk.entries() for doing in entry.doings.values())


def _place(desk: Desk, number: int) -> int:
    if not 1 <= number <= len(desk.texts):
        raise RefusedError(404, f"There is no text {number}: they are numbered from 1 to {len(desk.texts)}.")
    return number - 1


def _go(place: int | None, *, saved: int = 0, up: int = 0) -> Response:
    query = "?" + urlencode({"saved": saved}) if saved else ""
    return _redirect("../" * up + (f"texts{query}" if place is None else f"texts/{place + 1}{query}"))


def _redirect(where: str) -> Response:
    """Redirect to an address relative to the one asked for, as a proxy may put the studio below a path of its own."""
    return Response(status_code=_ELSEWHERE, headers={"location": where})


def _page(desk: Desk, name: str, *, up: int = 0, **given: Any) -> Response:
    """Return a page whose address has `up` parts before its last one, from which its links lead up."""
    content = _TEMPLATES.get_template(name).render(
        desk=desk, progress=desk.progress(), fitting=desk.fitting, root="../" * up, **given
    )
    return Response(content, media_type="text/html")


_TEMPLATES = environment(Path(__file__).parent / "templates")
_TEMPLATES.globals |= {
    "least": LEAST,
    "recommended": RECOMMENDED,
    "folds": FOLDS,
    "enough": ENOUGH_TO_TELL,
    "listed": _LISTED,
}
