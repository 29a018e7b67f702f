"""Run several methods on the same texts, together where that saves passes, and go on without those that cannot run."""

from collections.abc import Callable, Iterator, Sequence

from expnet.errors import ExpnetError, InputError, MissingExtraError, OptionError, UnsupportedModelError
from expnet.explainer.asking import Call
from expnet.explanation.result import Explanation
from expnet.runtime.progress import track

# What a method says that does not suit a model, or cannot run with its options.
_UNSUITABLE = (InputError, MissingExtraError, OptionError, UnsupportedModelError)
# Of each text the classes asked for.
Explained = list[list[Explanation]]


def run_methods(
    names: Sequence[str],
    call: Callable[[str], Call],
    run: Callable[[Sequence[Call]], list[Explained]],
    left_out: Callable[[str, ExpnetError], None] | None,
    stopped: Callable[[int], None] | None,
    *,
    texts: int,
    progress: bool,
) -> dict[str, Explained]:
    """Return the explanations by each method, in the order of the names.

    Args:
        names: Of the methods.
        call: Checks what is asked of a method.
        run: Explains by some methods together.
        left_out: As for `Explainer.compare`.
        stopped: As for `Explainer.compare`.
        texts: How many there are.
        progress: Show a bar over all methods.
    """
    calls: dict[str, Call] = {}
    for name in names:
        try:
            calls[name] = call(name)
        except _UNSUITABLE as error:
            _leave_out(name, error, left_out)
    together = [name for name, of_name in calls.items() if of_name.method.worth_sharing]
    groups = [together] if together else []
    groups += [[name] for name in calls if name not in together]
    done: dict[str, Explained] = {}
    bar = track(
        _popped(groups), ", ".join, show=progress, total=texts * len(calls), size=lambda group: texts * len(group)
    )
    try:
        for group in bar:
            try:
                done.update(zip(group, run([calls[name] for name in group]), strict=True))
            except _UNSUITABLE as error:
                if left_out is None or len(group) == 1:
                    _leave_out(group[0], error, left_out)
                else:  # which of them is it?
                    groups[:0] = [[name] for name in group]
    except KeyboardInterrupt:
        if stopped is None or not done:
            raise
        stopped(len(done))
    return {name: done[name] for name in names if name in done}


def _popped(groups: list[list[str]]) -> Iterator[list[str]]:
    while groups:
        yield groups.pop(0)


def _leave_out(
    name: str,
    error: InputError | MissingExtraError | OptionError | UnsupportedModelError,
    left_out: Callable[[str, ExpnetError], None] | None,
) -> None:
    if left_out is None:
        raise error
    left_out(name, error)
