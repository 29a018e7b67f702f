"""Texts and answers as tensors: what the Open Inference Protocol (KServe's V2) asks for, in JSON."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, ValidationError

from expnet.errors import RefusedError, did_you_mean
from expnet.explanation.result import Explanation
from expnet.serve.schema import ExplainRequest, StrictModel
from expnet.serve.tasks import Explain, Predict
from expnet.text.labels import OutputKind
from expnet.web.limits import Item

Parameters = dict[str, str | int | float | bool]
_EXPLAINED = ("method", "target", "against", "classes", "seed", "truncate", "tokens")
_OPTION = "option."  # what stands before the name of a method's option: parameters hold no objects
EXPLAINED = ("label", "words", "scores", "instances", "starts", "ends", "segments", "explanations")
# Some clients say that strings are strings, or that answers may be binary.
_IGNORED = ("content_type", "binary_data_output")
_EXAMPLE: dict[str, JsonValue] = {
    "name": "text",
    "datatype": "BYTES",
    "shape": [1],
    "data": ["A touching, funny film."],
}


def _kind(element: Any) -> str:
    return "row" if isinstance(element, list) else "string"


Element = Annotated[Annotated[str, Tag("string")] | Annotated[list[str], Tag("row")], Discriminator(_kind)]


class InputTensor(StrictModel):
    """Texts, or second texts: strings, one for each text."""

    name: Annotated[str, Field(description='"text", or "pair" for second texts.')]
    datatype: Literal["BYTES"]
    shape: Annotated[list[int], Field(min_length=1, max_length=2, description="[n], or [n, 1].")]
    data: Annotated[list[Element], Field(description="Strings, flat or in rows of one.")]
    parameters: Parameters = Field({})


class WantedOutput(StrictModel):
    """An output to be returned."""

    name: str
    parameters: Parameters = Field({})


class InferRequest(StrictModel):
    """Texts as tensors; an identifier that comes back; parameters; and which outputs to return, by default all."""

    model_config = ConfigDict(
        protected_namespaces=(),
        json_schema_extra={"examples": [{"id": "42", "inputs": [_EXAMPLE], "outputs": [{"name": "label"}]}]},
    )

    id: str | None = None
    model_name: Annotated[str | None, Field(description="That of the path, if it is given.")] = None
    parameters: Parameters = Field({})
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=2)]
    outputs: list[WantedOutput] | None = None

    def check_model(self, name: str) -> None:
        """Refuse a request for another model than its path names.

        Raises:
            RefusedError: If it is.
        """
        if self.model_name is not None and self.model_name != name:
            raise _refusal(f"model_name: Expected {name!r} as in the path, or nothing, got {self.model_name[:40]!r}")

    def items(self) -> list[Item]:
        """Return each text with its pair.

        Raises:
            RefusedError: If the tensors are not "text" and perhaps "pair", or shapes and data do not fit together.
        """
        names = [tensor.name for tensor in self.inputs]
        if names not in (["text"], ["text", "pair"], ["pair", "text"]):
            raise _refusal(f'inputs: Expected the tensor "text", and perhaps "pair", got {_shown(names)}')
        columns = {tensor.name: _strings(tensor, place) for place, tensor in enumerate(self.inputs)}
        pairs = columns.get("pair", [None] * len(columns["text"]))
        if len(pairs) != len(columns["text"]):
            raise _refusal(f"inputs: There are {len(columns['text'])} texts, but {len(pairs)} second texts")
        return list(zip(columns["text"], pairs, strict=True))

    def task(self) -> Predict | Explain:
        """Return what is to be done with them.

        Raises:
            RefusedError: If a parameter is not known.
        """
        _known(self.parameters, ("truncate",), "parameters")
        truncate = self.parameters.get("truncate", False)
        if not isinstance(truncate, bool):
            raise _refusal("parameters.truncate: Input should be a valid boolean")
        return Predict(truncate)

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Return the names of the outputs asked for; without any, all of these.

        Raises:
            RefusedError: If one was asked for that there is not.
        """
        for place, output in enumerate(self.outputs or ()):
            if output.name not in names:
                raise _refusal(
                    f"outputs.{place}.name: There is no output {output.name[:40]!r}."
                    f"{did_you_mean(output.name, names)} Outputs: {', '.join(names)}"
                )
            asked = {
                name: value for name, value in output.parameters.items() if (name, value) != ("binary_data", False)
            }
            _known(asked, (), f"outputs.{place}.parameters")
        return list(names) if self.outputs is None else [output.name for output in self.outputs]

    def answer(self, model: str, wanted: Sequence[str], outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return some of the tensors, in the order of their names in `wanted`."""
        by_name = {output["name"]: output for output in outputs}
        named = {} if self.id is None else {"id": self.id}
        return {"model_name": model, **named, "outputs": [by_name[name] for name in wanted]}


class ExplainTensors(InferRequest):
    """Texts to explain: parameters are method, target, against, classes, seed, truncate, tokens, option.NAME."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [_EXAMPLE]},
                {"inputs": [_EXAMPLE], "parameters": {"method": "lime", "option.samples": 100, "seed": 1}},
            ]
        }
    )

    def task(self) -> Explain:
        """Return what is to be done with them, as `ExplainRequest.task`.

        Raises:
            RefusedError: If a parameter is not known.
            RequestValidationError: If one is of another type or range.
        """
        options = {name: value for name, value in self.parameters.items() if name.startswith(_OPTION)}
        given = {name: value for name, value in self.parameters.items() if name not in (*options, *_IGNORED)}
        _known(given, _EXPLAINED, "parameters")
        named = {name.removeprefix(_OPTION): value for name, value in options.items()}
        try:
            asked = ExplainRequest.model_validate({"instances": [""], "options": named, **given})
        except ValidationError as error:
            places = [{**problem, "loc": ("body", "parameters", *problem["loc"])} for problem in error.errors()]
            raise RequestValidationError(places) from error
        return asked.task()


class OutputTensor(BaseModel):
    """A tensor of an answer: its elements in one list, the last dimension fastest."""

    name: str
    datatype: str
    shape: list[int]
    data: list[str] | list[float] | list[int]


class InferResponse(BaseModel):
    """Tensors, and the identifier of the request if it had one."""

    model_name: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorKind(BaseModel):
    """Name, type and shape of a tensor; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


def inputs() -> list[TensorKind]:
    """Return what a model reads; "pair" may be left out."""
    return [TensorKind(name=name, datatype="BYTES", shape=[-1]) for name in ("text", "pair")]


def outputs(labels: Sequence[str], kind: OutputKind) -> list[TensorKind]:
    """Return what a model answers, as `predicted` does."""
    what, count = ("probabilities", "classes") if kind == "probability" else ("values", "names"), len(labels)
    numbers = TensorKind(name=what[0], datatype="FP32", shape=[-1, count])
    names = TensorKind(name=what[1], datatype="BYTES", shape=[count])
    label = TensorKind(name="label", datatype="BYTES", shape=[-1])
    return [label, numbers, names] if kind == "probability" else [numbers, names]


def predicted(labels: Sequence[str], kind: OutputKind, predictions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return predictions as tensors: a label for each text, a row of numbers, and what its columns are."""
    columns = "probabilities" if kind == "probability" else "values"
    rows = [[prediction[columns][label] for label in labels] for prediction in predictions]
    numbers = _tensor(columns, "FP32", list(chain.from_iterable(rows)), [len(rows), len(labels)])
    if kind == "value":
        return [numbers, _tensor("names", "BYTES", list(labels))]
    label = _tensor("label", "BYTES", [prediction["label"] for prediction in predictions])
    return [label, numbers, _tensor("classes", "BYTES", list(labels))]


def explained(explanations: Sequence[Explanation] | Sequence[Sequence[Explanation]]) -> list[dict[str, Any]]:
    """Return explanations as tensors, named as in `EXPLAINED`; "instances" says whose each of all texts' words is.

    Where there are several explanations of each text, of its classes, "label", "explanations" and "scores" have a
    column for each.
    """
    texts = [[one] if isinstance(one, Explanation) else list(one) for one in explanations]
    several = [] if isinstance(explanations[0], Explanation) else [len(texts[0])]
    words = [(place, word) for place, ranked in enumerate(texts) for word in ranked[0].words]
    scores = [
        word.score for ranked in texts for same in zip(*(one.words for one in ranked), strict=True) for word in same
    ]
    ranks = list(chain.from_iterable(texts))
    return [
        _tensor("label", "BYTES", [one.label for one in ranks], [len(texts), *several]),
        _tensor("words", "BYTES", [word.text for _, word in words]),
        _tensor("scores", "FP32", scores, [len(words), *several]),
        _tensor("instances", "INT32", [place for place, _ in words]),
        _tensor("starts", "INT32", [word.start for _, word in words]),
        _tensor("ends", "INT32", [word.end for _, word in words]),
        _tensor("segments", "INT32", [word.segment for _, word in words]),
        _tensor("explanations", "BYTES", [one.to_json() for one in ranks], [len(texts), *several]),
    ]


def _tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(data)] if shape is None else shape, "data": data}


def _strings(tensor: InputTensor, place: int) -> list[str]:
    """Return the strings of a tensor of one column, given flat or in rows."""
    where, shape = f"inputs.{place}", tensor.shape
    _known(tensor.parameters, (), f"{where}.parameters")
    if any(size < 0 for size in shape) or shape[1:] not in ([], [1]):
        raise _refusal(f"{where}.shape: Expected [n] or [n, 1], got {shape}")
    rows = [row for row in tensor.data if isinstance(row, list)]
    if rows and (len(shape) == 1 or any(len(row) != 1 for row in rows)):
        raise _refusal(f"{where}.data: Expected one string for each text, got rows of others than 1")
    strings = [row if isinstance(row, str) else row[0] for row in tensor.data]
    if len(strings) != math.prod(shape):
        raise _refusal(f"{where}.data: The shape {shape} holds {math.prod(shape)} strings, got {len(strings)}")
    if not strings:
        raise _refusal(f"{where}.data: Expected a text at least, got none")
    return strings


def _known(parameters: Parameters, names: Sequence[str], where: str) -> None:
    unknown = [name for name in parameters if name not in (*names, *_IGNORED)]
    if unknown:
        offered = ", ".join(names) or "none"
        raise _refusal(f"{where}: {_shown(unknown)} is not known; there are {offered}")


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:3])


def _refusal(message: str) -> RefusedError:
    return RefusedError(422, f"{message}.")
