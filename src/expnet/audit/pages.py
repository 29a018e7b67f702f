"""Audit records as pages for readers who know neither the model nor statistics; one file that loads nothing.

The page of a decision has no script. That of a file has one, which only chooses and orders the rows that it lists.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from expnet.audit.record import AuditRecord
from expnet.explanation import html
from expnet.explanation.templates import environment
from expnet.metrics.removal import RANDOM, Checked
from expnet.metrics.statistics import Estimate

if TYPE_CHECKING:  # importing them at run time would need pyarrow, which the page of a decision does not use
    from expnet.audit.drift import Drift
    from expnet.audit.file_record import FileRecord
    from expnet.audit.sample import Faithfulness

_CLEARLY = 0.05  # smaller differences should not be interpreted
_HERE = Path(__file__).parent
_STATED = {
    "action": "What was done",
    "threshold": "Threshold for it",
    "automation": "Role of people",
    "reviewer": "Looked at by",
    "override": "Decided instead",
    "recourse": "What can be done about it",
    "legal_ground": "Legal ground",
    "purpose": "Purpose of the model",
    "language": "Language of the text",
    "id": "Number or name",
    "external_id": "Known elsewhere as",
    "retention": "Kept",
}
_AUTOMATION = {
    "automatic": "none: it took effect before a person looked at it",
    "confirmed": "a person had to confirm it",
    "advisory": "a person decided; the model's output was one input",
}


def decision_page(record: AuditRecord) -> str:
    """Return the record of a decision as a complete document."""
    explanation = record.explanation
    content = _TEMPLATES.get_template("decision.html").render(
        record=record,
        explanation=explanation,
        best=max(explanation.outputs, key=lambda name: explanation.outputs[name]),
        reading=Markup(html.reading(explanation)),  # the renderer escapes
        verdict=verdict(record.checks) if record.checks else "",
        date=_date(record.created),
        stated=_stated(record),
        options=", ".join(f"{name} = {value}" for name, value in record.asked.options.items()),
    )
    return html.document([content], "Record of a decision", style=_STYLE)


def file_page(record: "FileRecord") -> str:
    """Return the record of a file as a complete document."""
    counts = [count for bins in record.histogram.values() for count in bins]
    content = _TEMPLATES.get_template("file.html").render(
        record=record,
        explained=sum(record.labels.values()),
        scale=max((driver.score for drivers in record.drivers.values() for driver in drivers), default=0),
        tallest=max(counts, default=0),
        date=_date(record.created),
        listed={row.row for row in record.listed},
        classes=list(record.labels),
        faithful="" if record.faithfulness is None else _faithful(record.faithfulness),
    )
    script = _SCRIPT if record.listed else ""
    return html.document([content], "Record of a file of decisions", style=_STYLE, script=script)


def verdict(checks: tuple[Checked, ...]) -> str:
    """Return a sentence on what removing the top words did, compared with removing random words."""
    named, chance = checks[0], checks[-1]
    lost, by_chance = (check.full - check.without for check in (named, chance))
    if lost >= by_chance + _CLEARLY:
        return (
            "Without these words the model is less sure, and clearly less than without as many words drawn at random: "
            "they did matter to the decision."
        )
    if lost <= by_chance - _CLEARLY:
        return (
            "Removing these words changed less than removing random words: the decision rests on something else, "
            "and the shades above should not be read as its reason."
        )
    return (
        "Removing these words changed the decision about as much as removing random words: it does not depend on "
        "these words alone. Other words may say the same, or the model may read the text as a whole."
    )


def _stated(record: AuditRecord) -> dict[str, str]:
    """Return what is stated about a decision, under names for readers; hashes have their place elsewhere."""
    told = record.context.to_dict()
    if "automation" in told:
        told["automation"] = _AUTOMATION[told["automation"]]
    if "threshold" in told:
        told["threshold"] = f"from {told['threshold']:g} on"
    return {shown: told[name] for name, shown in _STATED.items() if name in told}


def _faithful(measured: "Faithfulness") -> str:
    if not measured.rows:
        return "None of the sampled rows could be tested, as they are longer than the model reads at once."
    if measured.gain.low > 0:
        return (
            "On average the words that the explanations name matter more to the model than random words do; the "
            "interval of the difference excludes 0."
        )
    if measured.gain.high < 0:
        return "On average the words that the explanations name matter less to the model than random words do."
    return "This sample does not show whether the words that the explanations name matter more than random ones."


def _apart(drift: "Drift") -> str:
    """Return whether two files differ by more than chance, as part of a sentence."""
    if drift.p >= 0.05:
        return "no more apart than two random halves of the same rows would be"
    return f"further apart than chance would put them (p {'< 0.01' if drift.p < 0.01 else f'= {drift.p:.2f}'})"


def _date(created: str) -> str:
    return created.replace("T", ", ").replace("+00:00", " UTC")


def _interval(estimated: Estimate, digits: int = 1) -> str:
    """Write a mean difference of probabilities with its interval, in points of a hundred."""
    if math.isnan(estimated.mean):
        return "–"
    return f"{100 * estimated.mean:.{digits}f} [{100 * estimated.low:.{digits}f}, {100 * estimated.high:.{digits}f}]"


def _figure(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:z.{digits}f}"


def _count(value: int) -> str:
    return f"{value:,}"


_STYLE = (_HERE / "templates" / "audit.css").read_text(encoding="utf-8")
_SCRIPT = (_HERE / "templates" / "file.js").read_text(encoding="utf-8")
_TEMPLATES = environment(_HERE / "templates")
_TEMPLATES.filters |= {"interval": _interval, "figure": _figure, "apart": _apart, "count": _count}
_TEMPLATES.globals["RANDOM"] = RANDOM
