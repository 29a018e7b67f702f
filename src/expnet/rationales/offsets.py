"""Where marks stand, whatever the tool that wrote them counts: characters, UTF-16 units or bytes of UTF-8."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, TypeVar, get_args

from expnet.errors import RationaleError
from expnet.rationales.problems import RowError
from expnet.text.texts import Text
from expnet.text.words import Span

Unit = Literal["characters", "utf-16", "utf-8"]
Offsets = Literal["auto", "characters", "utf-16", "utf-8"]
UNITS: tuple[Unit, ...] = ("characters", "utf-16", "utf-8")
_WIDTHS = {"utf-16": ("utf-16-le", 2), "utf-8": ("utf-8", 1)}  # codec, and bytes of a unit

T = TypeVar("T")


class Mark(NamedTuple):
    """A mark as a file gives it: offsets in some unit, end exclusive, and the marked text if the file quotes it."""

    start: int
    end: int
    segment: int = 0
    quote: str | None = None


Place = Callable[[Text, Mark], Span]


def placed(parse: Callable[[Place], Iterable[T]], offsets: Offsets, *, by_characters: bool) -> Iterator[T]:
    """Yield what `parse` makes of a file, given the function that says where marks stand.

    With "auto" the file is parsed twice. The unit is the first in which every mark stands where the text is what the
    mark quotes; if rows differ, each quoted mark is placed by its own quote. Where quotes decide nothing, marks count
    characters, or are refused if that matters.

    Args:
        parse: Reads the file. It calls the function for each mark, which raises RowError if the mark does not fit.
        offsets: What the file counts.
        by_characters: Whether the format itself says that it counts characters.
    """
    if offsets != "auto":
        return iter(parse(lambda text, mark: at_mark(text, mark, offsets)))
    possible = set(UNITS)

    def survey(text: Text, mark: Mark) -> Span:
        if mark.quote is not None and (spans := _spans(text, mark, UNITS)):
            possible.intersection_update(spans)
        return Span(mark.start, mark.end, mark.segment)

    for _ in parse(survey):
        pass
    undecided = not possible or {"characters", "utf-16"} <= possible
    unit = None if undecided else next(candidate for candidate in UNITS if candidate in possible)
    return iter(parse(lambda text, mark: _place(text, mark, unit, by_characters=by_characters)))


def fits(part: str, mark: Mark) -> bool:
    """Return whether a text has, in some unit, at the mark what the mark quotes; False if it quotes nothing."""
    return mark.quote is not None and bool(_spans(Text(part, None, ()), mark._replace(segment=0), UNITS))


def unit_of(offsets: str) -> Unit:
    """Return the unit of a format that counts characters unless the caller says otherwise.

    Raises:
        RationaleError: If there is no such unit.
    """
    check_offsets(offsets)
    return next((unit for unit in UNITS if unit == offsets), "characters")


def check_offsets(offsets: str) -> None:
    """Raise RationaleError unless offsets are "auto" or a unit."""
    if offsets not in get_args(Offsets):
        raise RationaleError(f"Expected offsets to be one of {', '.join(get_args(Offsets))}, got {offsets!r}.")


def at_mark(text: Text, mark: Mark, unit: Unit) -> Span:
    """Return the span of a mark whose unit is known.

    Raises:
        RowError: If it lies outside the text, inside a character, or not where the text is what it quotes.
    """
    return _place(text, mark, unit, by_characters=True)


def _place(text: Text, mark: Mark, unit: Unit | None, *, by_characters: bool) -> Span:
    if unit is None and mark.quote is None:
        units: tuple[Unit, ...] = (
            UNITS[:1] if by_characters else UNITS[:2]
        )  # with bytes, every text beyond ASCII would be ambiguous
    else:
        units = UNITS if unit is None else (unit,)
    spans = _spans(text, mark, units)
    if not spans:
        raise RowError("marks", _misfit(text, mark, unit or "characters"))
    likely = {span for candidate, span in spans.items() if candidate != "utf-8"}
    if len(likely) > 1 and not by_characters:
        words = " or ".join(repr(text.word(span)[:40]) for span in sorted(likely))
        raise RowError(
            "marks",
            f"the mark {mark.start}:{mark.end} is {words}, as offsets count UTF-16 units or characters, and nothing "
            "tells which; say offsets='utf-16' or offsets='characters'",
        )
    return next(iter(spans.values()))


def _spans(text: Text, mark: Mark, units: Iterable[Unit]) -> dict[Unit, Span]:
    """Return the mark's span for each unit in which it fits the text and what it quotes."""
    spans: dict[Unit, Span] = {}
    for unit in units:
        span = _converted(text.part(mark.segment), mark, unit)
        if span is not None and mark.quote in (None, text.word(span)):
            spans[unit] = span
    return spans


def _converted(part: str, mark: Mark, unit: Unit) -> Span | None:
    start, end = _character(part, mark.start, unit), _character(part, mark.end, unit)
    return None if start is None or end is None or start >= end else Span(start, end, mark.segment)


def _character(part: str, at: int, unit: Unit) -> int | None:
    """Return which character begins at an offset, None if none does."""
    if unit == "characters" or part.isascii():
        return at if 0 <= at <= len(part) else None
    codec, width = _WIDTHS[unit]
    written = part.encode(codec, "surrogatepass")  # a text that is not valid Unicode is refused elsewhere
    if not 0 <= at * width <= len(written):
        return None
    try:
        return len(written[: at * width].decode(codec))
    except UnicodeDecodeError:  # inside a character
        return None


def _misfit(text: Text, mark: Mark, unit: Unit) -> str:
    part = text.part(mark.segment)
    if mark.start >= mark.end:
        return f"the mark {mark.start}:{mark.end} marks nothing: its end, which is exclusive, must come after its start"
    if (span := _converted(part, mark, unit)) is None:
        counted = "" if unit == "characters" or part.isascii() else f", counted in {unit}"
        where = f"{'the pair' if mark.segment else 'the text'} of {len(part)} characters"
        return f"the mark {mark.start}:{mark.end} lies outside {where}{counted}; the end is exclusive"
    other = next((f"; offsets={candidate!r} would fit" for candidate in _spans(text, mark, UNITS)), "")
    return (
        f"the mark {mark.start}:{mark.end} should be {str(mark.quote)[:40]!r}, but the text has "
        f"{text.word(span)[:40]!r} there{other}"
    )
