"""Prompts that make a language model a classifier: a template around the text, and a word for each label.

Their file may hold zero-shot labels of a model of natural language inference instead.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from expnet.errors import InputError, did_you_mean
from expnet.files.parsing import FLAG, TEXT, check_fields, listed, optional, table
from expnet.files.tables import SUFFIXES, parse_table, read_content
from expnet.text.zero_shot import ZeroShot

FILE = "expnet_prompt.json"  # beside a saved model or ExpNet
FIELDS = ("text", "pair")
FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")
_KINDS = {"template": TEXT, "labels": table(TEXT), "chat": FLAG, "reply": optional(TEXT)}
_ZERO_SHOT_KINDS = {"hypothesis": TEXT, "labels": listed(TEXT), "multi_label": FLAG}
_GUARDS = Path(__file__).parent / "guards.toml"
_LONGEST = 1_000_000  # characters of a template
_WHAT = "a prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a language model reads around a text, and the words by which it answers.

    Attributes:
        template: Holds `{text}` once, and `{pair}` once if texts are pairs. Special tokens that it names, such as
            "<|im_start|>", are special; those that a text names are not.
        labels: The word that stands for each label, exactly as it would continue the prompt: with its space.
        chat: Whether the template is a user's message, to be put into the tokenizer's chat template.
        reply: In a chat, a template of the assistant's message after it, such as "{pair}".
    """

    template: str
    labels: Mapping[str, str]
    chat: bool = False
    reply: str | None = None

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InputError(f"Not a valid prompt: {'; '.join(problems)}.")

    @property
    def messages(self) -> list[dict[str, str]]:
        """The chat that the tokenizer's template gets."""
        reply = [] if self.reply is None else [{"role": "assistant", "content": self.reply}]
        return [{"role": "user", "content": self.template}, *reply]

    @property
    def pairs(self) -> bool:
        """Whether a second text belongs to each text."""
        return "pair" in self._fields()

    def to_json(self) -> str:
        """Return the prompt as `read_prompt` reads it."""
        data = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(data, ensure_ascii=False, indent=1) + "\n"

    def _fields(self) -> list[str]:
        return FIELD.findall(self.template + (self.reply or ""))

    def _problems(self) -> Iterator[str]:
        given = self._fields()
        for name in dict.fromkeys(given):
            if name not in FIELDS:
                yield f"the template has the unknown field {{{name}}}.{did_you_mean(name, FIELDS)} Fields: text, pair"
            elif given.count(name) > 1:
                yield f"the template holds {{{name}}} {given.count(name)} times, expected once"
        if "text" not in given:
            yield "the template lacks {text}, where the text goes"
        if len(self.template) > _LONGEST:
            yield f"the template has {len(self.template):,} characters, expected {_LONGEST:,} at most"
        if self.reply is not None and not self.chat:
            yield "reply is a message of a chat: set chat as well"
        if len(self.labels) < 2:
            yield f"expected two labels or more, each with its word, got {dict(self.labels)}"
        words = list(self.labels.values())
        for label, word in self.labels.items():
            if not word:
                yield f"the label {label!r} has no word"
            elif (first := list(self.labels)[words.index(word)]) != label:
                yield f"the labels {first!r} and {label!r} have the same word, {word!r}"


def read_prompt(path: Path, labels: Mapping[str, str] | None = None) -> Prompt | ZeroShot:
    """Read a prompt from a .toml or .json file with its fields, or a template from any other text file.

    A .toml or .json file with the field `hypothesis` holds zero-shot labels.

    Args:
        path: The file, UTF-8.
        labels: The words of the labels, for a file that lacks them.

    Raises:
        InputError: If the file cannot be read, has fields that are unknown or of another type, or labels are given
            both ways or neither.
    """
    content = _content(path)
    tabular = path.suffix in SUFFIXES
    data: dict[str, Any] = parse_table(path, content, kind=_WHAT) if tabular else {"template": content}
    if labels:
        if "labels" in data:
            raise InputError(f"{path} has labels already: leave them out there, or in the call.")
        data |= {"labels": dict(labels)}
    zero_shot = "hypothesis" in data
    defaults: dict[str, Any] = {"multi_label": False} if zero_shot else {"chat": False, "reply": None, "labels": {}}
    given = defaults | data
    try:
        check_fields(given, _ZERO_SHOT_KINDS if zero_shot else _KINDS)
    except ValueError as error:
        raise InputError(f"{path} is not a prompt: {error}.") from error
    try:
        return ZeroShot(**given) if zero_shot else Prompt(**given)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def as_prompt(
    prompt: "Prompt | ZeroShot | Path | str | None",
    labels: Mapping[str, str] | None = None,
    zero_shot: ZeroShot | None = None,
) -> Prompt | ZeroShot | None:
    """Return a prompt as it is, one read from a file, or one made of a template; None if there is none.

    Args:
        prompt: The prompt, its file, the template as a string, or the name of one of `guards`.
        labels: The words of the labels, unless the prompt has them.
        zero_shot: Zero-shot labels, instead of a prompt.

    Raises:
        InputError: If there are labels without a prompt or twice, zero-shot labels beside a prompt, or as `read_prompt`
            and `Prompt` do.
    """
    if zero_shot is not None:
        if prompt is not None or labels:
            raise InputError("Zero-shot labels are for a model of natural language inference: leave out the prompt.")
        return zero_shot
    if str(prompt) in guards():
        prompt = guards()[str(prompt)]  # its labels are checked below
    elif isinstance(prompt, str):
        return Prompt(template=prompt, labels=labels or {})
    elif isinstance(prompt, Path):
        return read_prompt(prompt, labels)
    if labels:
        raise InputError(
            "The labels' words need a prompt: the template that they answer."
            if prompt is None
            else "The prompt has labels already: leave out the others."
        )
    return prompt


@cache
def guards() -> dict[str, Prompt]:
    """Return prompts of well-known guard models by name: for a user's message and, with "/reply", for the answer to it.

    They use the chat template of the model's tokenizer, which holds its policy, or a template for each policy, named
    behind the model, as in "shieldgemma-hate". A reply is the second text of a pair.
    """
    return dict(_guards(tomllib.loads(_GUARDS.read_text(encoding="utf-8"))))


def _guards(table: Mapping[str, Any]) -> Iterator[tuple[str, Prompt]]:
    for name, guard in table.items():
        labels = guard["labels"]
        if "policies" not in guard:
            yield name, Prompt(template="{text}", labels=labels, chat=True)
            yield f"{name}/reply", Prompt(template="{text}", labels=labels, chat=True, reply="{pair}")
        for policy, (title, rule) in guard.get("policies", {}).items():
            for suffix in ("message", "reply"):
                template = guard[suffix].replace("POLICY", title).replace("RULE", rule)
                of_reply = "/reply" if suffix == "reply" else ""
                yield f"{name}-{policy}{of_reply}", Prompt(template=template, labels=labels)


def saved_prompt(folder: str | Path | None) -> Prompt | ZeroShot | None:
    """Return the prompt saved beside a model or an ExpNet; None if there is none, or the name is no folder.

    Raises:
        InputError: As `read_prompt` does.
    """
    file = None if folder is None else Path(folder) / FILE
    return read_prompt(file) if file is not None and file.is_file() else None


def save_prompt(prompt: Prompt | ZeroShot | None, folder: str | Path) -> None:
    """Write a prompt, if there is one, beside a saved model or ExpNet."""
    if prompt is not None:
        (Path(folder) / FILE).write_text(prompt.to_json(), encoding="utf-8")


def _content(path: Path) -> str:
    try:
        return read_content(path, kind=_WHAT)
    except OSError as error:
        raise InputError(
            f"The prompt {path} cannot be read: {error.strerror or error}.{did_you_mean(str(path), guards())} "
            f"Expected a file, or one of {', '.join(guards())}; write a template in a file."
        ) from error
