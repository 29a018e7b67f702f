"""An explanation as HTML: no script, nothing from outside, every string escaped."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from expnet.explanation import bars, colour, comparison, shaded
from expnet.explanation.bars import MUTED
from expnet.explanation.escape import escape

if TYPE_CHECKING:
    from expnet.explanation.result import Explanation

_TOP = 8
_CLASSES = _REASONS = 5
_SAID = 4  # lines on shared words that are not folded

# Styles are inline, ink is inherited and shades are translucent: so a fragment looks right in a light or dark
# notebook, and behind a sanitiser that drops style sheets.
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif"
_CARD = (
    f"{_FONT};font-size:15px;line-height:1.5;margin:1rem 0;padding:1.1rem 1.4rem;"
    "border:1px solid #80808066;border-radius:10px;print-color-adjust:exact;-webkit-print-color-adjust:exact"
)
_TEXT = "margin:.8rem 0;font-size:17px;line-height:1.9;white-space:pre-wrap;overflow-wrap:anywhere"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_PAGE = (
    ":root{color-scheme:light dark}"
    "body{max-width:50rem;margin:0 auto;padding:2rem 1rem;color:#1f2328;background:#fff;"
    f"{_FONT}}}"
    "h1{font-size:1.3rem;font-weight:600;overflow-wrap:anywhere}"
    "section{break-inside:avoid-page}"
    "@media screen and (prefers-color-scheme:dark){body{color:#dfe2e7;background:#17191d}}"
)


def fragment(explanation: "Explanation") -> str:
    """Return one explanation as a piece of HTML that stands alone."""
    parts = (
        _head(explanation, explanation.method),
        reading(explanation),
        _provenance(explanation),
    )
    return _card(explanation, parts, "max-width:46rem")


def reading(explanation: "Explanation") -> str:
    """Return the shaded text, its top words and classes, its scale and notes, for a page that shows the rest itself."""
    parts = (
        _texts(explanation),
        _tables(explanation),
        _legend(explanation) if explanation.words else "",
        shaded.every_score([explanation]),
        *(f'<div style="{MUTED}">{escape(note)}</div>' for note in colour.notes(explanation, mark="underlined")),
    )
    return "".join(parts)


def side_by_side(explanations: "Sequence[Explanation]", models: Sequence[str] = ()) -> str:
    """Return explanations of one text by several methods or models as a table, a row each, in the order given.

    Args:
        explanations: Of one text.
        models: As for `comparison.comparable`; then each row has its own prediction.

    Raises:
        InputError: As `comparison.comparable`.
    """
    rows = comparison.comparable(explanations, models)
    below = _differences(rows) + shaded.every_score(rows) + _told(rows, models)
    table = shaded.table(rows, predicted=bool(models))
    if not models:
        return _card(rows[0], (_head(rows[0], ""), table, below), "max-width:none")
    title = comparison.several(models)
    return _section(title, rows[0], (_heading(title, "", ""), table, below), "max-width:none")


def ranked(explanations: "Sequence[Explanation]") -> str:
    """Return explanations of one text for several classes: its shades for the first, and a row for each class.

    Raises:
        InputError: As `comparison.ranked`.
    """
    first, *_ = rows = comparison.ranked(explanations)
    title, told = comparison.heading(rows), comparison.ranked_notes(rows, shaded=True)
    classes = bars.table("Classes", [_class_row(row) for row in rows])
    reasons = "" if first.uses_target else f'<div style="margin:.6rem 0">{_reasons(first)}</div>'
    notes = "".join(f'<div style="{MUTED}">{escape(note)}</div>' for note in told)
    parts = (_heading(title, "", first.method), _texts(first), classes, reasons, notes, _provenance(first))
    return _section(title, first, parts, "max-width:46rem")


def headless(explanations: "Sequence[Explanation]") -> str:
    """Return the table and notes of `side_by_side` alone, for explanations whose prediction is not known.

    Raises:
        InputError: As `side_by_side`.
    """
    rows = comparison.comparable(explanations)
    return shaded.table(rows) + _told(rows)


def table(explanations: "Sequence[Explanation]") -> str:
    """Return the table of `side_by_side` alone, for a page that says once what the shades mean.

    Raises:
        InputError: As `side_by_side`.
    """
    return shaded.table(comparison.comparable(explanations))


def page(explanations: "Sequence[Explanation]", title: str = "expnet") -> str:
    """Return a complete document with one explanation below the other."""
    return document((fragment(explanation) for explanation in explanations), title)


def document(fragments: Iterable[str], title: str = "expnet", *, style: str = "", script: str = "") -> str:
    """Return fragments as a complete document that opens offline and may run no script, whatever the texts hold.

    Args:
        fragments: HTML.
        title: Of the document.
        style: More CSS, for what has classes of its own.
        script: The one script that may run, allowed by its hash: a constant of ours, never made of texts.
    """
    policy, end = _POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, end = f"{_POLICY}; script-src 'sha256-{digest}'", f"<script>{script}</script>"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_PAGE}{style}</style></head>\n"
        f'<body><main><h1 dir="auto">{escape(title)}</h1>\n' + "\n".join(fragments) + f"\n</main>{end}</body></html>\n"
    )


def _card(explanation: "Explanation", parts: Iterable[str], width: str) -> str:
    return _section(
        f"{explanation.question}, {colour.amount(explanation.output, explanation.kind)}", explanation, parts, width
    )


def _section(name: str, explanation: "Explanation", parts: Iterable[str], width: str) -> str:
    # A screen reader lists the sections of a page by these names.
    name = f"{name}: {colour.shorten(explanation.text)}"
    return f'<section class="expnet" aria-label="{escape(name)}" style="{_CARD};{width}">{"".join(parts)}</section>'


def _head(explanation: "Explanation", method: str) -> str:
    return _heading(explanation.question, colour.amount(explanation.output, explanation.kind), method)


def _heading(title: str, amount: str, method: str) -> str:
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:0 .8rem;align-items:baseline;overflow-wrap:anywhere">'
        f'<strong dir="auto" style="font-size:20px;font-weight:600">{escape(title)}</strong>'
        f'<span style="font-size:17px;white-space:nowrap">{amount}</span>'
        f'<span dir="auto" style="{MUTED};margin-inline-start:auto">{escape(method)}</span>'
        "</div>"
    )


def _texts(explanation: "Explanation") -> str:
    text = shaded.text(explanation, 0, _TEXT)
    if explanation.pair is None:
        return text
    return f'{text}<div style="{MUTED};margin-bottom:-.6rem">pair</div>{shaded.text(explanation, 1, _TEXT)}'


def _told(rows: "Sequence[Explanation]", models: Sequence[str] = ()) -> str:
    """Return what the shades and the scores of each row mean."""
    notes = comparison.notes(rows, comparison.caption(rows, models))
    said = [line for line in (comparison.predictions(rows, models),) if line]
    told = "".join(f'<div style="{MUTED}">{escape(note)}</div>' for note in said + notes)
    means = [(escape(name), escape(meaning)) for name, meaning in comparison.meanings(rows)]
    return told + _folded(f"What the scores of each {'row' if models else 'method'} mean", means)


def _differences(rows: "Sequence[Explanation]") -> str:
    """Return which top words rows share, folded if there are many of them."""
    lines = comparison.differences(rows) if rows[0].words else []
    if len(lines) <= _SAID:
        return "".join(f'<div style="{MUTED}">{escape(line)}</div>' for line in lines)
    names = [escape(row.method) for row in rows[1:]]
    return _folded("Which top words do they share?", list(zip(names, map(escape, lines), strict=True)))


def _tables(explanation: "Explanation") -> str:
    scale = colour.scale_of(explanation)
    words = [
        bars.BarRow(
            word.text,
            abs(colour.strength(word.score, scale)),
            colour.number(word.score, scale),
            colour.hue(word.score, scale),
        )
        for word in colour.strongest(explanation, _TOP)
    ]
    return (
        '<div style="display:flex;flex-wrap:wrap;align-items:flex-start;gap:.8rem 2.5rem;margin:.8rem 0">'
        f"{bars.table('Top words', words)}{_outputs(explanation)}</div>"
    )


def _class_row(explanation: "Explanation") -> bars.BarRow:
    cell = f'<td style="{bars.CELL}">{_reasons(explanation)}</td>' if explanation.uses_target else ""
    return bars.BarRow(explanation.label, explanation.output, colour.percent(explanation.output), "#808080", after=cell)


def _reasons(explanation: "Explanation") -> str:
    scale = colour.scale_of(explanation)
    return " ".join(
        '<span style="white-space:nowrap;margin-inline-end:.6rem">'
        f"{shaded.word(colour.shorten(word.text, 20), word, scale, False)} {colour.number(word.score, scale)}</span>"
        for word in colour.strongest(explanation, _REASONS)
    )


def _outputs(explanation: "Explanation") -> str:
    """Return the classes with their bars, the most probable first; or outputs of a regression, the explained first."""
    rated = explanation.kind == "probability"
    ranked = sorted(explanation.outputs.items(), key=lambda item: -item[1] if rated else item[0] != explanation.label)
    rows = [
        bars.BarRow(
            name,
            output if rated else None,  # values have units of their own, which no bar could show
            colour.amount(output, explanation.kind),
            "#808080",
            strong=name == explanation.label,
        )
        for name, output in ranked[:_CLASSES]
    ]
    of_all = f", {_CLASSES} of {len(ranked)}" if len(ranked) > _CLASSES else ""
    return bars.table(("Classes" if rated else "Outputs") + of_all, rows)


def _legend(explanation: "Explanation") -> str:
    scale = colour.scale_of(explanation)
    told = "".join(
        f'<div style="{MUTED};margin-top:.3rem">{escape(line)}</div>' for line in colour.legend(explanation, scale)
    )
    return swatches(scale) + told


def swatches(scale: colour.Scale) -> str:
    """Return five scores with their shades, lowest first."""
    stops = ((colour.number(stop, scale), colour.veil(stop, scale)) for stop in colour.stops(scale))
    shades = "".join(
        f'<span style="padding:.1rem .6rem;background:{veil or "none"}">{value}</span>' for value, veil in stops
    )
    return (
        '<div style="display:inline-flex;font-size:13px;font-variant-numeric:tabular-nums;'
        f'border:1px solid #80808066;border-radius:3px">{shades}</div>'
    )


def _provenance(explanation: "Explanation") -> str:
    facts = [(escape(str(key)), escape(str(value))) for key, value in explanation.provenance.items()]
    return _folded("Provenance", facts)


def _folded(summary: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return names with what is said of them, both escaped, folded below a summary; "" without any."""
    if not facts:
        return ""
    rows = "".join(
        f'<dt style="font-weight:600;overflow-wrap:anywhere">{name}</dt>'
        f'<dd style="margin:0;overflow-wrap:anywhere">{told}</dd>'
        for name, told in facts
    )
    return (
        f'<details style="margin-top:.6rem"><summary style="{MUTED};cursor:pointer">{summary}</summary>'
        f'<dl style="{MUTED};display:grid;grid-template-columns:fit-content(40%) 1fr;gap:.1rem 1rem;'
        f'margin:.4rem 0 0">{rows}</dl></details>'
    )
