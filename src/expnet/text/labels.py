"""What a classifier's outputs are called, what they mean, and which of them is asked for."""

import operator
from collections.abc import Mapping, Sequence
from typing import Literal

from expnet.errors import InputError, ModelError, did_you_mean

# A regression head gives values in its own units; every other head gives probabilities.
OutputKind = Literal["probability", "value"]
# As a target: every class.
ALL = "all"


def class_names(id2label: object, label2id: object = None) -> tuple[str, ...]:
    """Return the class names of a model's config in the order of its logits, each as a string.

    JSON and YAML turn names into numbers, booleans and null, and keys into strings; this turns them back, once.

    Args:
        id2label: The config's names by number.
        label2id: The config's numbers by name; names that `id2label` lacks are ignored, as transformers leaves its
            defaults there.

    Raises:
        ModelError: If classes are not numbered from 0 on, a name is not valid Unicode, two classes share a name, or the
            two tables contradict each other.
    """
    if not isinstance(id2label, Mapping):
        raise ModelError(f"The config's id2label is {id2label!r}; expected the names of the classes by number.")
    try:
        named = {int(str(number)): str(name) for number, name in id2label.items()}
    except (TypeError, ValueError) as error:
        raise ModelError(f"The config's id2label numbers its classes {list(id2label)}: {error}.") from error
    if sorted(named) != list(range(len(id2label))):
        raise ModelError(f"The config numbers its classes {sorted(named)}; expected 0 to {len(id2label) - 1}.")
    names = tuple(named[number] for number in range(len(named)))
    for number, name in enumerate(names):
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ModelError(
                f"The name of class {number}, {name!r}, holds a lone surrogate, which cannot be shown or written. "
                "Correct id2label and label2id in config.json, or on model.config."
            ) from error
    refuse_twins(names)
    numbers = {str(name): number for name, number in label2id.items()} if isinstance(label2id, Mapping) else {}
    for number, name in enumerate(names):
        if name in numbers and str(numbers[name]) != str(number):
            raise ModelError(
                f"The config contradicts itself: by id2label class {number} is {name!r}, by label2id {name!r} is class "
                f"{numbers[name]}. Find out which is right, and correct the other in config.json or on model.config."
            )
    return names


def refuse_twins(names: Sequence[str]) -> None:
    """Refuse names that do not tell classes apart.

    Raises:
        ModelError: If two classes have one name.
    """
    for number, name in enumerate(names):
        if (first := names.index(name)) != number:
            raise ModelError(
                f"The classes {first} and {number} have the same name, {name!r}, so that neither can be told from the "
                "other. Give each class a name of its own: id2label and label2id in config.json, or on model.config."
            )


def output_index(labels: Sequence[str], target: str | int | None, kind: OutputKind) -> int | None:
    """Return the index of the output to explain; None for each text's most probable class.

    Raises:
        InputError: If there is no such class, or no target is given for a regression with several outputs: these have
            different units, so that none of them is the predicted one.
    """
    if target is not None:
        return class_index(labels, target)
    if kind == "probability":
        return None
    if len(labels) > 1:
        raise InputError(
            f"This model is a regression with {len(labels)} outputs, none of which is the predicted one: name the one "
            f"to explain as target. Outputs: {_names(labels)}."
        )
    return 0


def asks_for_all(labels: Sequence[str], target: object) -> bool:
    """Return whether a target asks for every class, by the word "all".

    Raises:
        InputError: If a class has that name, so that it could be meant.
    """
    if not (isinstance(target, str) and target == ALL):
        return False
    if ALL in labels:
        raise InputError(
            f"target='all' asks for every class, and class {labels.index(ALL)} of this model is called 'all': give its "
            f"index, target={labels.index(ALL)}, or rename it in id2label and label2id to ask for every class."
        )
    return True


def target_note(methods: Sequence[str], kind: OutputKind, *, alone: bool = True) -> str:
    """Return a sentence which says that the scores of these methods do not depend on the target.

    Args:
        methods: Their names.
        kind: What the classifier's outputs are.
        alone: Whether one explanation is shown, or several methods beside each other.
    """
    what = "class" if kind == "probability" else "output"
    one = len(methods) == 1
    words = "These words" if alone else f"The words of {', '.join(methods)}"
    who = methods[0] if alone else "this method" if one else "these methods"
    return f"{words} do not depend on the {what}: {who} give{'s' * one} the same scores whichever {what} is asked for."


def as_target(target: object) -> str | int:
    """Return a class given by name or index as a plain string or int; NumPy's and torch's whole numbers are indices.

    Raises:
        InputError: If it is neither; True is no index, and neither is 1.0.
    """
    if isinstance(target, str):
        return str.__str__(target)
    # Booleans of NumPy and torch may pass for whole numbers.
    if not isinstance(target, bool) and "bool" not in str(getattr(target, "dtype", "")):
        try:
            return operator.index(target)  # type: ignore[arg-type]  # what has no index raises
        except TypeError:
            pass
    raise InputError(f"Expected a class by name or index, got {type(target).__name__}: {str(target)[:60]!r}.")


def as_one_target(target: object, *, holder: str) -> str | int | None:
    """Return a class as `as_target` does, or None as it is, for what holds one explanation.

    Raises:
        InputError: Also if every class is asked for; the message begins with the `holder`.
    """
    if isinstance(target, str) and target == ALL:
        raise InputError(
            f"{holder} holds one explanation, so that its target cannot be 'all': ask for each class by itself, or "
            "call Explainer.explain(text, target='all'). A class of that name is reached by its index."
        )
    return None if target is None else as_target(target)


def class_index(labels: Sequence[str], target: str | int) -> int:
    """Return the index of a class given by name or index.

    Raises:
        InputError: If there is no such class; the message offers the nearest name.
    """
    target, hint = as_target(target), ""
    if isinstance(target, int):
        if 0 <= target < len(labels):
            return target
    elif target in labels:
        return labels.index(target)
    elif not (hint := did_you_mean(target, labels)) and target.isdecimal() and int(target) < len(labels):
        return int(target)
    raise InputError(f"There is no class {target!r}.{hint} Classes: {_names(labels)}.")


def _names(labels: Sequence[str]) -> str:
    return ", ".join(f"{index} {name!r}" for index, name in enumerate(labels))
