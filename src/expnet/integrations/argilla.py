"""An explanation as a record of Argilla, in which people see it as a suggestion. It does not need Argilla."""

from typing import Any

from expnet.errors import InputError
from expnet.explanation.result import Explanation, Word


def argilla_record(explanation: Explanation, *, id: str | None = None, count: int | None = None) -> dict[str, Any]:
    """Return what `argilla.Record.from_dict` takes: the text, with top words and label as suggestions.

    The words are suggested for a span question `words` on the field `text`, with the label "reason"; the class that is
    explained for a question `label`, unless the model is a regression. Scores come along where they lie in [0, 1], as
    Argilla asks. Words of a pair's second text are left out: a span question is about one field.

    Args:
        explanation: Of one text.
        id: Of the record; by default Argilla makes one.
        count: Suggest so many words, those with the largest scores above 0. By default those from the explanation's
            threshold on or, without one, three.

    Raises:
        InputError: If `count` is below 1.
    """
    if count is not None and count < 1:
        raise InputError(f"Expected a count of words of at least 1, got {count}.")
    words = sorted(_suggested(explanation, count), key=lambda word: word.start)
    spans = [{"start": word.start, "end": word.end, "label": "reason"} for word in words]
    if explanation.calibrated:
        spans = [span | {"score": word.score} for span, word in zip(spans, words, strict=True)]
    suggestions: dict[str, Any] = {"words": {"value": spans, "agent": explanation.method}} if spans else {}
    if explanation.kind == "probability":
        suggestions["label"] = {"value": explanation.label, "score": explanation.output, "agent": explanation.method}
    fields = {"text": explanation.text} | ({} if explanation.pair is None else {"pair": explanation.pair})
    return {"id": id, "fields": fields, "metadata": {}, "suggestions": suggestions, "responses": {}, "vectors": {}}


def _suggested(explanation: Explanation, count: int | None) -> list[Word]:
    words = [word for word in explanation.top(len(explanation.words)) if word.segment == 0 and word.score > 0]
    if count is None and explanation.threshold is not None:
        return [word for word in words if word.score >= explanation.threshold]
    return words[: count or 3]
