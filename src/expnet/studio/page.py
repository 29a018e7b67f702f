"""The pages: one text to mark, the list of them, Fit with before and after."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from markupsafe import Markup

from expnet.errors import InputError, RefusedError
from expnet.explanation import bars, colour, html
from expnet.explanation.templates import environment
from expnet.rationales import Record
from expnet.studio.comparing import ENOUGH_TO_TELL, FOLDS
from expnet.studio.desk import Desk
from expnet.studio.fitting import LEAST, RECOMMENDED, Fitting
from expnet.studio.marks import ConflictError, Entry
from expnet.studio.outcome import BeforeAndAfter, TrainingResult
from expnet.studio.together import as_source
from expnet.text.texts import Text
from expnet.text.words import Span
from expnet.web import refusals
from expnet.web.failures import is_failure, raisable, unreadable
from expnet.web.forms import last, read_form

_LISTED = 100  # texts on a page of the list
_CHANGED = 8  # words


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
    def save(number: int, body: _Body) -> Response:
        return _saved(desk, _place(desk, number), read_form(body))

    @routes.post("/texts/{number}/explanation")
    def reveal(number: int) -> Response:
        place = _place(desk, number)
        if desk.entry(place).annotation(desk.annotator) is None:
            raise RefusedError(409, "Mark and save the text first: a shown explanation would lead you.")
        desk.marks.shown([desk.texts[place]], desk.annotator)
        return _redirect(f"texts/{number}?explanation=1#explanation")

    return routes


def _saved(desk: Desk, place: int, fields: Mapping[str, list[str]]) -> Response:
    """Save the marks in a form, or skip the text, and redirect to the next text."""
    record = desk.texts[place]
    if last(fields, "action", "save") == "skip":
        desk.marks.skip(record, desk.annotator)
        return _go(desk.next(place))
    chosen, label = _chosen(record.text, last(fields, "words", "")), _label(desk, last(fields, "label", ""))
    spans = [record.text.words[word] for word in chosen]
    try:
        desk.marks.save(record, desk.annotator, spans, label, seen=last(fields, "seen", ""))
    except ConflictError as conflict:
        return _text(desk, place, entry=conflict.entry, unsaved=(chosen, label))
    return _go(desk.next(place), saved=place + 1)


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
        return _redirect("fit")

    @routes.get("/fit/state")
    def state() -> Response:
        return Response(refusals.encode(_state(desk.fitting)), media_type="application/json")

    return routes


def failure(desk: Desk, error: RefusedError, *, number: int = 0) -> Response:
    """Return a page that says what is wrong; a text that cannot be shown, by its number, can be skipped."""
    response = _page(desk, "failure.html", error=str(error), skip=number if 1 <= number <= len(desk.texts) else 0)
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
    marks, label = ([], None) if mine is None else (_places(record, mine.spans), mine.label)
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
        number=place + 1,
        segments=[_pieces(record.text, segment) for segment in ((0,) if record.text.pair is None else (0, 1))],
        marks=marks,
        theirs=_words(record, mine.spans) if unsaved is not None and mine is not None else None,
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


def _pieces(text: Text, segment: int) -> list[tuple[str, int | None]]:
    """Return the text in pieces, each with the number of its word, None between words."""
    part, at, pieces = text.part(segment), 0, list[tuple[str, int | None]]()
    for number, word in enumerate(text.words):
        if word.segment == segment:
            pieces += [(part[at : word.start], None)] if word.start > at else []
            pieces.append((text.word(word), number))
            at = word.end
    return pieces + ([(part[at:], None)] if at < len(part) else [])


def _places(record: Record, spans: Sequence[Span]) -> list[int]:
    return [place for place, marked in enumerate(record.word_marks(spans)) if marked]


def _words(record: Record, spans: Sequence[Span]) -> str:
    return " ".join(record.text.word(record.text.words[place]) for place in _places(record, spans))


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


def _chosen(text: Text, words: str) -> list[int]:
    parts = words.split(",") if words else []
    if not all(part.isascii() and part.isdecimal() and int(part) < len(text.words) for part in parts):
        raise InputError(f"Expected numbers of words below {len(text.words)}, with commas between; got {words[:60]!r}.")
    return sorted({int(part) for part in parts})


def _label(desk: Desk, label: str) -> str | None:
    """Return the class of a number; a name could hold characters that a form cannot carry."""
    labels = desk.explainer.classifier.labels
    if not (label.isascii() and label.isdecimal() and int(label) < len(labels)):
        raise InputError(f"Expected the number of a class below {len(labels)}, got {label[:60]!r}.")
    return labels[int(label)]


def _place(desk: Desk, number: int) -> int:
    if not 1 <= number <= len(desk.texts):
        raise RefusedError(404, f"There is no text {number}: they are numbered from 1 to {len(desk.texts)}.")
    return number - 1


def _go(place: int | None, *, saved: int = 0) -> Response:
    query = "?" + urlencode({"saved": saved}) if saved else ""
    return _redirect(f"texts{query}" if place is None else f"texts/{place + 1}{query}")


def _redirect(where: str) -> Response:
    return Response(status_code=303, headers={"location": f"/{where}"})


def _page(desk: Desk, name: str, **given: Any) -> Response:
    content = _TEMPLATES.get_template(name).render(desk=desk, progress=desk.progress(), fitting=desk.fitting, **given)
    return Response(content, media_type="text/html")


_TEMPLATES = environment(Path(__file__).parent / "templates")
_TEMPLATES.globals |= {
    "least": LEAST,
    "recommended": RECOMMENDED,
    "folds": FOLDS,
    "enough": ENOUGH_TO_TELL,
    "listed": _LISTED,
}
