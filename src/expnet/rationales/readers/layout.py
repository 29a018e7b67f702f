"""Which fields of Label Studio's tasks hold the texts that people marked.

A result names the object that it is about (`to_name`), a task the fields of its data. Only the project's configuration
says which field an object shows, and exports leave it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from expnet.errors import RationaleError
from expnet.rationales.offsets import Mark, fits
from expnet.rationales.problems import RowError
from expnet.rationales.readers.options import Options


class LabelStudioResult(NamedTuple):
    """A mark, or choices, made with a control about an object; JSON-MIN does not name objects."""

    about: str | None
    control: str | None
    mark: Mark | None
    choices: tuple[str, ...]

    @property
    def on(self) -> str | None:
        """The object, or the control that marks it: a control marks one object."""
        return self.control if self.about is None else self.about


class LabelStudioTask(NamedTuple):
    """The strings that a task holds, by field, and what each person did."""

    data: dict[str, str]
    people: list[tuple[str, list[LabelStudioResult]]]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where texts stand, the same for all tasks of a file.

    A text is the field that an object's marks quote, else the field of its name, else `text`, else the only string.
    Marks on two objects make a text and its pair, in the order of the fields.

    Attributes:
        texts: Fields for the text, and for the pair if there is one; of several the first that a task has.
        fields: For each object the fields it may show, the likeliest first.
        marked: Objects with marks, in the whole file.
        options: Fields and control that the caller named.
    """

    texts: tuple[tuple[str, ...], ...]
    fields: Mapping[str | None, tuple[str, ...]]
    marked: frozenset[str | None]
    options: Options

    @property
    def part(self) -> int | None:
        """Which part of a pair people marked, None for both."""
        if len(self.texts) < 2:
            return None
        parts = {
            part
            for part, names in enumerate(self.texts)
            for on in self.marked
            if self.fields[on] and self.fields[on][0] in names
        }
        return parts.pop() if len(parts) == 1 else None

    def of(self, task: LabelStudioTask) -> list[str]:
        """Return the fields of a task that hold the text and, if there is one, the pair.

        Raises:
            RowError: If there is no such field.
        """
        columns = [next((name for name in names if name in task.data), None) for names in self.texts]
        present = list(dict.fromkeys(name for name in columns if name is not None))
        if not present and self.options.text is None:
            present = list(_by_name(None, list(task.data)))
        if not present or (self.options.text is not None and len(present) < len(self.texts)):
            wanted = [names[0] for names in self.texts if names] or ["text"]
            raise RowError(
                "field",
                f"expected the text in {' and '.join(map(repr, wanted))}, got {sorted(task.data)}; say text=FIELD",
            )
        return present

    def segment(self, on: str | None, task: LabelStudioTask) -> int | None:
        """Return whether an object shows the task's text (0) or pair (1), None if another text.

        Raises:
            RowError: If it is unclear which text it shows.
        """
        texts = self.of(task)
        shown = next((name for name in self.fields[on] if name in task.data), None)
        if shown is not None:
            return texts.index(shown) if shown in texts else None
        if self.marked == {on} and len(texts) == 1:
            return 0
        raise RowError(
            "marks", f"it is unclear which of {sorted(task.data)} the marks on {on!r} are in: none quotes it"
        )

    def is_label(self, result: LabelStudioResult, task: LabelStudioTask) -> bool:
        """Return whether choices are about the text, or made with the control that the caller named."""
        if self.options.choice is not None:
            return result.control == self.options.choice
        if result.about is None or result.about in self.marked:
            return result.about is None or self.segment(result.about, task) is not None
        shown = next((name for name in self.fields[result.about] if name in task.data), None)
        if shown is None:  # it is unclear what it shows: the text, if there is nothing else
            return not self.marked and len(self.fields) == 1
        return shown in self.of(task)


def find_layout(tasks: Sequence[LabelStudioTask], options: Options) -> Layout:
    """Find out which fields hold the texts of a file.

    Raises:
        RationaleError: If marks are in more than two texts of a task, or `options` names a pair without a text or a
            control that is not there.
    """
    if options.pair is not None and options.text is None:
        raise RationaleError(f"pair={options.pair!r} needs text=, the field that holds the first text.")
    controls = sorted({r.control for task in tasks for _, results in task.people for r in results if r.control})
    if options.choice is not None and controls and options.choice not in controls:
        raise RationaleError(f"No label was chosen with choice={options.choice!r}; controls: {', '.join(controls)}.")
    names = list(dict.fromkeys(name for task in tasks for name in task.data))
    marks: dict[str | None, list[tuple[LabelStudioTask, Mark]]] = {}
    objects: dict[str | None, None] = {}
    for task in tasks:
        for result in (item for _, results in task.people for item in results):
            objects[result.on] = None
            if result.mark is not None:
                marks.setdefault(result.on, []).append((task, result.mark))
    alone = len(marks or objects) == 1
    fields = {
        on: _fields(on, marks.get(on, []), names, options, alone=alone and (on in marks or not marks)) for on in objects
    }
    return Layout(
        _texts(fields, frozenset(marks) or frozenset(objects), names, options), fields, frozenset(marks), options
    )


def _texts(
    fields: Mapping[str | None, tuple[str, ...]], about: frozenset[str | None], names: Sequence[str], options: Options
) -> tuple[tuple[str, ...], ...]:
    if options.text is not None:
        return ((options.text,),) if options.pair is None else ((options.text,), (options.pair,))
    columns = {fields[on][0]: fields[on] for on in fields if on in about and fields[on]}
    if len(columns) > 2:
        raise RationaleError(
            f"People marked words of {len(columns)} texts in a task ({', '.join(columns)}); a record holds two at "
            "most. Say which to read: text=FIELD, pair=FIELD."
        )
    return tuple(columns[name] for name in sorted(columns, key=names.index))


def _fields(
    on: str | None,
    marks: Sequence[tuple[LabelStudioTask, Mark]],
    names: Sequence[str],
    options: Options,
    *,
    alone: bool,
) -> tuple[str, ...]:
    """Return the fields that an object may show, none if that is unclear."""
    quoting = {name: sum(fits(task.data.get(name, ""), mark) for task, mark in marks) for name in names}
    likely = [name for name in names if quoting[name]]
    if not likely:
        guess = alone and options.text is None
        return _by_name(on, names) if guess or on in names else ()

    def rank(name: str) -> tuple[int, bool, bool, bool]:
        return -quoting[name], name not in (options.text, options.pair), name != on, name != "text"

    likely.sort(key=rank)
    alike = len(likely) > 1 and rank(likely[0]) == rank(likely[1])
    return () if alike and any(task.data.keys() >= set(likely[:2]) for task, _ in marks) else tuple(likely)


def _by_name(on: str | None, names: Sequence[str]) -> tuple[str, ...]:
    named = [name for name in (on, "text") if name in names]
    return (str(named[0]),) if named else tuple(names) if len(names) == 1 else ()
