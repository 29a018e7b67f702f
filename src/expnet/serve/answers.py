"""What a filled form of the page asks for, and the answer: explanations, checks of their top words, heads."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from expnet.errors import ExpnetError, InputError, RefusedError
from expnet.explainer.heads import LISTENING
from expnet.explanation.colour import shorten
from expnet.explanation.escape import printable
from expnet.explanation.result import Explanation
from expnet.methods.replacement import without_mask
from expnet.metrics.removal import Checked
from expnet.serve.models import Models, Served, find
from expnet.serve.tasks import Check, Compare, Explain, Heads
from expnet.text.labels import ALL
from expnet.web.forms import last
from expnet.web.limits import Item

COUNT, MOST = "3", 50  # top words to remove
_TOKENS = "tokens"
RANKED = 10  # classes at most, where every class is asked for


@dataclass(frozen=True, slots=True)
class Form:
    """A filled form, as it was typed: a text, how to explain it, top words to remove, a word to show the heads of.

    `beside` is the name of another model that explains the same text, `unit` what gets a score: "tokens" or "", words.
    """

    text: str = ""
    pair: str = ""
    target: str = ""
    against: str = ""
    methods: tuple[str, ...] = ()
    count: str = COUNT
    word: str = ""
    beside: str = ""
    unit: str = ""

    @property
    def tokens(self) -> bool:
        """Whether tokens get scores, and not words."""
        return self.unit == _TOKENS


@dataclass(frozen=True, slots=True)
class Removal:
    """What removing the top words of one model's explanations did, or why it is not known."""

    label: str
    checks: tuple[Checked, ...]
    unchecked: str = ""


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """Explanations of one class or rankings of all, the methods left out, and what removing their top words did.

    `models` has the name of the model of each explanation, if there are two. `listened` are the methods whose heads
    can be shown, and `grids` those of the word that was picked, as HTML.
    """

    explanations: list[Explanation]
    rankings: list[list[Explanation]]
    left_out: dict[str, str]
    removals: dict[str, Removal]
    models: list[str]
    listened: tuple[str, ...] = ()
    grids: str = ""


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What the methods said of one model, and those that could not."""

    outcomes: list[Any]
    left_out: dict[str, str]


def form_of(fields: Mapping[str, list[str]]) -> Form:
    """Return what a form holds; what is missing is as in an empty one."""
    return Form(
        text=last(fields, "example", "") or last(fields, "text", ""),
        pair=last(fields, "pair", ""),
        target=last(fields, "target", ""),
        against=last(fields, "against", ""),
        methods=tuple(dict.fromkeys(fields.get("method", []))),
        count=last(fields, "count", COUNT),
        word=last(fields, "word", ""),
        beside=last(fields, "beside", ""),
        unit=last(fields, "unit", ""),
    )


async def answer(models: Models, served: Served, form: Form) -> PageAnswer:
    """Explain by each method; errors of some methods are shown beside the explanations by the others.

    Raises:
        ExpnetError: If no method was chosen, none could run, or there is something else wrong with the form.
    """
    if not (form.count.isdecimal() and len(form.count) < 4 and 1 <= int(form.count) <= MOST):
        raise InputError(f"Expected 1 to {MOST} words to remove, got {shorten(form.count)!r}.")
    if not form.methods:
        raise InputError("Choose a method.")
    if form.unit not in ("", _TOKENS):
        raise InputError(f"Expected scores of tokens, or of words where nothing is said, got {shorten(form.unit)!r}.")
    if form.tokens and form.beside:
        raise InputError("Two models may read other tokens: choose words, or no model beside it.")
    every = form.target == ALL
    if every and form.beside:
        raise InputError("Every class, ranked, is shown of one model: choose one class, or no model beside it.")
    both = [served, find(models, form.beside)] if form.beside else [served]
    explained = await asyncio.gather(*(_explained(one, _by_name(form, served, one)) for one in both))
    left_out = {
        f"{method}, {one.name}" if form.beside else method: why
        for one, said in zip(both, explained, strict=True)
        for method, why in said.left_out.items()
    }
    rankings = explained[0].outcomes if every else []
    by_model = [[ranking[0] for ranking in rankings]] if every else [said.outcomes for said in explained]
    listened = tuple(name for name in form.methods if name in LISTENING and name not in explained[0].left_out)
    item = (form.text, form.pair or None)
    removals = {
        one.name if form.beside else "": await _removal(one, form, tuple(of_model), item)
        for one, of_model in zip(both, by_model, strict=True)
    }
    return PageAnswer(
        [explanation for of_model in by_model for explanation in of_model],
        rankings,
        left_out,
        removals,
        [one.name for one, of_model in zip(both, by_model, strict=True) for _ in of_model] if form.beside else [],
        listened,
        await _grids(served, form, listened, item) if form.word else "",
    )


def _by_name(form: Form, asked: Served, other: Served) -> Form:
    """Return the form as another model understands it: classes by name, where it has them, else its predicted one."""
    if asked is other:
        return form
    theirs = other.explainer.classifier.labels

    def there(typed: str) -> str:
        place = _class(typed)
        labels = asked.explainer.classifier.labels
        name = labels[place] if isinstance(place, int) and place < len(labels) else None
        return str(theirs.index(name)) if name in theirs else ""

    target, against = there(form.target), there(form.against)
    return replace(form, target=target, against=against if target else "")


def _options(served: Served, methods: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the options of each method: what stands for tokens where the model has no mask token, as the page says."""
    known = {method.name: method.options for method in served.methods}
    return {name: without_mask(served.explainer.classifier, known.get(name, ())) for name in methods}


async def _explained(served: Served, form: Form) -> _Outcomes:
    item = (form.text, form.pair or None)
    target, against = _class(form.target), _class(form.against)
    classes = min(RANKED, served.limits.texts) if target == ALL else None
    asked = {
        method: Explain(method, options, target, against=against, classes=classes, tokens=form.tokens)
        for method, options in _options(served, form.methods).items()
    }
    explained, left_out, failure = list[Any](), dict[str, str](), None
    for method, outcome in (await _outcomes(served, asked, item)).items():
        if isinstance(outcome, ExpnetError):
            left_out[method], failure = str(outcome), failure or outcome
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            explained.append(outcome)
    if not explained and failure is not None:
        raise failure
    return _Outcomes(explained, left_out)


async def _removal(served: Served, form: Form, explanations: tuple[Explanation, ...], item: Item) -> Removal:
    label = explanations[0].label
    try:
        (checks,) = await served.do(Check(explanations, int(form.count), form.tokens), [item])
    except ExpnetError as error:
        return Removal(label, (), str(error))
    return Removal(label, checks)


async def _grids(served: Served, form: Form, methods: Sequence[str], item: Item) -> str:
    """Return the heads of the word that was picked, by each method, or why they cannot be shown."""
    target, against = (None if form.target == ALL else _class(form.target)), _class(form.against)
    parts = []
    for method in methods:
        try:
            heads = Heads(method, target=target, against=against, tokens=form.tokens)
            (effects,) = await served.do(heads, [item])
            parts.append(effects.to_html(_class(form.word) or 0))
        except ExpnetError as error:
            parts.append(str(Markup('<p class="alert">{}</p>').format(printable(str(error)))))
    return "".join(parts)


async def _outcomes(
    served: Served, asked: Mapping[str, Explain], item: Item
) -> dict[str, Explanation | list[Explanation] | BaseException]:
    """Return the explanation by each method, or its error; light methods run together, unless one of them fails."""
    outcomes: dict[str, Any] = {}
    light = {method.name for method in served.methods if method.worth_sharing}
    together = [each for method, each in asked.items() if method in light]
    if len(together) > 1:
        try:
            (by_method,) = await served.do(Compare(tuple(together)), [item])
        except ExpnetError as error:
            if isinstance(error, RefusedError) and error.status != 422:  # the server takes nothing now
                raise
            # Otherwise one of the methods cannot run: below it fails alone.
        else:
            for each, of_classes in zip(together, by_method, strict=True):
                outcomes[each.method] = of_classes if each.target == ALL else of_classes[0]
    rest = [method for method in asked if method not in outcomes]
    answers = await asyncio.gather(*(served.do(asked[method], [item]) for method in rest), return_exceptions=True)
    for method, answer in zip(rest, answers, strict=True):
        outcomes[method] = answer if isinstance(answer, BaseException) else answer[0]
    return {method: outcomes[method] for method in asked}


def _class(typed: str) -> str | int | None:
    return int(typed) if typed.isdecimal() and len(typed) < 9 else typed or None
