"""What an ExpNet of one task was trained on and what was held out, in plain words."""

from collections.abc import Mapping
from typing import Any

from expnet.explanation.meaning import MARKED, USED

CHECK = "check"  # where the provenance of a network holds what `Explainer.check` measured
_ELSEWHERE = (
    "On other kinds of text, or for another classifier, it may agree less with people than `universal/gradient` or a "
    "fixed rule: `expnet trust` checks it on your own texts (docs/limits.md has an example)."
)


def trust_in(provenance: Mapping[str, Any]) -> str:
    """Return sentences on how far an ExpNet can be trusted, from the provenance that is saved with it.

    Args:
        provenance: `ExpNetConfig.provenance`, as `expnet.fit` and `expnet.adapt` write it. Written by other programs it
            may lack any field; the sentences then say that it is not recorded.
    """
    texts = f"{provenance['texts']:,} texts" if isinstance(provenance.get("texts"), int) else "texts"
    classifier = f"for {_names(provenance, 'classifiers') or 'a classifier that is not recorded'}"
    method = provenance.get("target_method", provenance.get("toward"))  # "toward" in networks from before 0.1.0
    if method is not None or provenance.keys() & {"teacher", "removals"}:
        teachers = [] if method is None else [f"the method “{method}”"]
        teachers += ["what the classifier does without random words"] if "removals" in provenance else []
        teachers += ["another explainer"] if "teacher" in provenance else []
        trained = f"imitate {' and '.join(teachers)} on {texts} without human marks, {classifier}"
        return f"The explainer was trained to {trained}. Its agreement with people was not measured. {_ELSEWHERE}"
    sources = _names(provenance, "sources")
    of = f" of {sources}" if sources else ""
    trained = f"The explainer was trained on {texts}{of} in which people marked words, {classifier}."
    held_out, figure = provenance.get("dev texts"), provenance.get("dev average_precision")
    if not held_out or not isinstance(figure, int | float):
        return f"{trained} No text was held out, so its agreement with people was not measured. {_ELSEWHERE}"
    return (
        f"{trained} On {held_out:,} other texts, which were also used to select it, its average precision was "
        f"{figure:.2f}; 1 would be perfect agreement with the people who marked them. {_ELSEWHERE}"
    )


def measured_by(provenance: Mapping[str, Any]) -> str:
    """Return what the scores of an ExpNet measure, as `Method.measures`, from the provenance that is saved with it."""
    method = provenance.get("target_method", provenance.get("toward"))
    if "removals" in provenance:
        if "teacher" in provenance:
            return f"{MARKED}, mixed with how much the classifier depends on it, as learned from both"
        return USED
    if method is None:
        return MARKED
    if "teacher" in provenance:
        return f"{MARKED}, mixed with how high the method {method} would score it, as learned from both"
    return f"How high the method {method} would score the word, as learned from it"


def _names(provenance: Mapping[str, Any], field: str) -> str:
    names = provenance.get(field)
    return ", ".join(str(name) for name in names if name) if isinstance(names, list | tuple) else ""
