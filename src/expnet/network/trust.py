"""What an ExpNet of one task has learned from and what was held out, in plain words."""

from collections.abc import Mapping
from typing import Any

CHECK = "check"  # where the provenance of a network holds what `Explainer.check` measured
_ELSEWHERE = (
    "On texts of another kind or on another classifier it may agree less with people than `universal/gradient` or a "
    "fixed rule does: compare them on texts of your own (docs/limits.md has a case)."
)


def trust_in(provenance: Mapping[str, Any]) -> str:
    """Say how far an ExpNet can be trusted, by what it carries along.

    Args:
        provenance: `ExpNetConfig.provenance`, as `expnet.fit` and `expnet.adapt` write it. Of other origin it may lack
            any field; what is lacking is said not to be known.
    """
    texts = f"{provenance['texts']:,} texts" if isinstance(provenance.get("texts"), int) else "texts"
    where = f"on {_names(provenance, 'classifiers') or 'a classifier that is not recorded'}"
    if "toward" in provenance or "teacher" in provenance:
        teachers = [f"the method “{provenance['toward']}”"] if "toward" in provenance else []
        teachers += ["another explainer"] if "teacher" in provenance else []
        learned = f"imitate {' and '.join(teachers)} on {texts} that nobody had marked, {where}"
        return f"The explainer has learned to {learned}. Agreement with people was not measured. {_ELSEWHERE}"
    sources = _names(provenance, "sources")
    of = f" of {sources}" if sources else ""
    learned = f"The explainer has learned from {texts}{of} whose words people marked, {where}."
    held_out, figure = provenance.get("dev texts"), provenance.get("dev average_precision")
    if not held_out or not isinstance(figure, int | float):
        return f"{learned} No text was held out: agreement with people was not measured. {_ELSEWHERE}"
    return (
        f"{learned} On {held_out:,} others, which also served to choose it, its average precision was {figure:.2f}; 1 "
        f"would be perfect agreement with the people who marked them. {_ELSEWHERE}"
    )


def _names(provenance: Mapping[str, Any], field: str) -> str:
    names = provenance.get(field)
    return ", ".join(str(name) for name in names if name) if isinstance(names, list | tuple) else ""
