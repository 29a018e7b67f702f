"""Make the audit record of a decision: predict, explain and check a text."""

import json
import platform
from dataclasses import replace
from datetime import UTC, datetime

from expnet.audit.blanked import blanked
from expnet.audit.context import DecisionContext
from expnet.audit.record import Asked, AuditRecord, Part
from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.explanation.result import Explanation
from expnet.identity import models, sha256
from expnet.metrics.removal import Checked, check
from expnet.runtime.versions import versions
from expnet.text.texts import Text, as_text


def record_decision(
    explainer: Explainer,
    text: str | Text,
    *,
    asked: Asked | None = None,
    keep_text: bool = True,
    context: DecisionContext | None = None,
) -> AuditRecord:
    """Predict, explain and check one text, and record what was used for it.

    Args:
        explainer: As from `expnet.load`.
        text: The text, or a pair.
        asked: How to explain it.
        keep_text: If False, the record holds hashes of the texts and the positions of their words, but no character.
            The hash of a short text can be guessed by trying texts. `context` stays as it is.
        context: What you state about the decision.

    Raises:
        ExpnetError: As `Explainer.explain`.
    """
    asked, item = asked or Asked(), as_text(text)
    explanation = explainer.explain(
        item,
        method=asked.method,
        options=asked.options,
        seed=asked.seed,
        target=asked.target,
        against=asked.against,
        truncate=asked.truncate,
    )
    checks, unchecked = _checks(explainer, item, explanation, asked.count)
    whole = AuditRecord(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        text=_part(item.text),
        pair=None if item.pair is None else _part(item.pair),
        asked=asked,
        explanation=explanation,
        checks=checks,
        unchecked=unchecked,
        models=models(explainer),
        trust=trust(explainer, explanation),
        versions={**versions(), "python": platform.python_version(), "platform": platform.platform()},
        context=context or DecisionContext(),
    )
    return whole if keep_text else _without_text(whole)


def trust(explainer: Explainer, explanation: Explanation) -> str:
    """Return a sentence on how far explanations by this method are known to agree with people."""
    if explanation.threshold is None or explainer.network is None:
        return (
            f"The method “{explanation.method}” was not learned from people: nothing is known here of how often people "
            "would mark the words it names."
        )
    return explainer.trust


def _checks(explainer: Explainer, text: Text, explanation: Explanation, count: int) -> tuple[tuple[Checked, ...], str]:
    try:
        return check(explainer.classifier, text, [explanation], count=count), ""
    except InputError as error:
        return (), str(error)


def _part(content: str) -> Part:
    return Part(sha256=sha256(content), characters=len(content), content=content)


def _without_text(record: AuditRecord) -> AuditRecord:
    """Leave out the texts and whatever repeats parts of them: words, and options that are lists of strings."""
    options = {
        name: {"sha256": sha256(json.dumps(value))} if isinstance(value, list | tuple) else value
        for name, value in record.asked.options.items()
    }
    pair = record.pair and replace(record.pair, content=None)
    lengths = [part.characters for part in (record.text, pair) if part]
    return replace(
        record,
        text=replace(record.text, content=None),
        pair=pair,
        asked=replace(record.asked, options=options),
        explanation=blanked(record.explanation, lengths),
        checks=tuple(replace(check, words=()) for check in record.checks),
    )
