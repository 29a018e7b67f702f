"""`expnet doctor`: what is installed, and whether a model can be explained."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of
from expnet.errors import InputError
from expnet.explanation.escape import printable

if TYPE_CHECKING:
    from expnet.cli.diagnosis import Diagnosis

_WIDTH = 100  # characters on a line
_MOST = 32  # characters of a name that stands in a column


class DoctorFormat(StrEnum):
    """How the diagnosis is shown."""

    terminal = "terminal"
    json = "json"


def doctor(
    model: options.OptionalModelArgument = None,
    explainer: options.ExplainerOption = None,
    format: Annotated[DoctorFormat, typer.Option(help="json prints one object.")] = DoctorFormat.terminal,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Say what is installed and, of a model, whether and how it can be explained. Exit status 1 if something is broken.

    Broken are packages that expnet cannot do without, a model or an explainer that cannot be loaded, attention that
    cannot be captured, and an explainer that does not fit. Extras that are not installed, methods that refuse a model,
    and the verdict of a check are reported only.
    """
    if explainer is not None and model is None:
        raise InputError("--explainer needs a model: it explains that classifier.")
    from expnet.cli import diagnosis

    seen = diagnosis.of_environment()
    if model is not None:
        seen = diagnosis.with_model(
            seen,
            model,
            explainer=explainer,
            progress=sys.stderr.isatty(),
            revision=revision,
            device=device,
            dtype=dtype,
            prompt=prompt_of(prompt, label, zero_shot, hypothesis),
        )
    if format is DoctorFormat.json:
        print(json.dumps(asdict(seen), indent=1, ensure_ascii=False))
    else:
        print(printable("\n".join(_lines(seen))))
    if seen.problems:
        raise typer.Exit(1)


def _lines(seen: "Diagnosis") -> Iterator[str]:
    yield from _part("Installed", seen.versions)
    yield from _part("Devices", {"": seen.devices})
    yield from _part("Extras", {name: _extra(name, lacking) for name, lacking in seen.extras.items()})
    if seen.model is not None:
        refused = seen.model["methods_refused"]
        yield from _part("Model", {name: value for name, value in seen.model.items() if value is not refused})
        yield from _part("Methods that refuse it, and why", refused)
    if seen.explainer is not None:
        yield from _part("Explainer", seen.explainer)
    yield from _part("Broken", {"": seen.problems}) if seen.problems else ["Nothing is broken."]


def _extra(name: str, lacking: Sequence[str]) -> str:
    return f"lacks {', '.join(lacking)}: pip install 'expnet[{name}]'" if lacking else "installed"


def _part(title: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield a part of the diagnosis, names in a column; a part without facts yields nothing."""
    if not facts:
        return
    width = min(_MOST, max(map(len, facts)))
    yield title
    for name, value in facts.items():
        if value not in (None, "", [], {}):
            told = "; ".join(map(_told, value)) if isinstance(value, list | tuple) else _told(value)
            head = f"  {name.replace('_', ' ').ljust(width)}  " if name else "  "
            indent = " " * (4 + width if name else 4)
            yield from wrap(told, _WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)
    yield ""


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} ({', '.join(needs)})" for name, needs in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
