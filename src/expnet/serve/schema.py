"""What requests and answers look like: KServe's V1 protocol, with what an explainer needs beside it."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, model_validator
from pydantic_core import PydanticCustomError

from expnet.explanation.meaning import MARKED, UNCHECKED, meaning
from expnet.explanation.result import Explanation, Word
from expnet.serve.tasks import Explain, Predict, prediction
from expnet.text.labels import OutputKind
from expnet.web.limits import Item

_TEXT = "A touching, funny film."
_WORDS = (Word("touching", 2, 10, 0, 0.93), Word("funny", 12, 17, 0, 0.88))
_SHARES = {"negative": 0.02, "positive": 0.98}
_EXPLAINED = Explanation(
    _TEXT,
    None,
    _WORDS,
    "positive",
    0.98,
    _SHARES,
    "expnet",
    calibrated=True,
    threshold=0.5,
    uses_target=False,
    meaning=meaning(MARKED, signed=False, uses_target=False, kind="probability", classes=2),
    checked=UNCHECKED,
).to_json()
_PREDICTED: dict[str, Any] = prediction(_SHARES, "probability")


class StrictModel(BaseModel):
    # Unknown fields are refused rather than ignored, and 1 is neither "1" nor True.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextPair(StrictModel):
    """A text, or two that the model reads together."""

    text: str
    pair: str | None = None


def _kind(instance: Any) -> str:
    return "text" if isinstance(instance, str) else "object"


Instance = Annotated[Annotated[str, Tag("text")] | Annotated[TextPair, Tag("object")], Discriminator(_kind)]


class PredictRequest(StrictModel):
    """Texts to classify."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instances": [_TEXT, {"text": "Two men sleep.", "pair": "Nobody is awake."}]}]}
    )

    instances: Annotated[list[Instance], Field(min_length=1)]
    truncate: Annotated[
        bool, Field(description="Cut texts over the model's limit instead of reading them in overlapping windows.")
    ] = False
    signature_name: Annotated[
        Literal["serving_default"] | None, Field(description="A model has this signature alone.")
    ] = None
    parameters: Annotated[
        dict[str, Any] | None,
        Field(description="The settings, where a client sends them here and not beside the instances."),
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _take_parameters(cls, given: Any) -> Any:
        """Put the settings in `parameters` where the others are; they are checked there."""
        parameters = given.get("parameters") if isinstance(given, dict) else None
        if not isinstance(parameters, dict):
            return given
        settings = [name for name in cls.model_fields if name not in ("instances", "signature_name", "parameters")]
        for name in parameters:
            if name not in settings or name in given:
                what = "given beside the instances as well: leave one out" if name in given else "not a setting"
                about = {"name": str(name)[:40], "what": what, "settings": ", ".join(settings)}
                raise PydanticCustomError("parameters", "parameters: '{name}' is {what}; settings: {settings}", about)
        return {name: value for name, value in given.items() if name != "parameters"} | parameters

    def items(self) -> list[Item]:
        """Return each text with its pair."""
        return [
            (instance, None) if isinstance(instance, str) else (instance.text, instance.pair)
            for instance in self.instances
        ]

    def task(self) -> Predict | Explain:
        """Return what is to be done with them."""
        return Predict(self.truncate)


class ExplainRequest(PredictRequest):
    """Texts to explain."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"instances": [_TEXT]},
                {"instances": [_TEXT], "method": "lime", "options": {"samples": 100}, "seed": 1, "target": "negative"},
                {"instances": [_TEXT], "method": "deeplift", "target": "positive", "against": "negative"},
                {"instances": [_TEXT], "method": "deeplift", "target": "all", "classes": 5},
                {"instances": [_TEXT], "parameters": {"method": "saliency"}},
            ]
        }
    )

    method: Annotated[str, Field(description="Name of the attribution method.")] = "expnet"
    options: Annotated[dict[str, JsonValue], Field(description="The method's options, by name.")] = Field({})
    target: Annotated[
        str | int | None,
        Field(
            description='Class to explain, by name or index; by default the predicted one. "all" explains every class: '
            "each instance gets a list of explanations, most probable first. Where `uses_target` of the answer is "
            "false, the words do not depend on it."
        ),
    ] = None
    against: Annotated[
        str | int | None, Field(description="Class to contrast `target` with: why the one rather than the other?")
    ] = None
    classes: Annotated[
        int | None,
        Field(ge=1, description='With the target "all", explain only so many of the most probable classes.'),
    ] = None
    seed: Annotated[int, Field(ge=0, lt=2**63, description="For methods that draw random numbers.")] = 0
    tokens: Annotated[bool, Field(description="Give each token that the model reads a score, instead of words.")] = (
        False
    )

    def task(self) -> Explain:
        """Return what is to be done with them."""
        return Explain(
            self.method,
            self.options,
            self.target,
            self.seed,
            self.truncate,
            against=self.against,
            classes=self.classes,
            tokens=self.tokens,
        )


class PredictedClass(BaseModel):
    """The most probable class of a text, and the probability of every class."""

    label: str
    probability: float
    probabilities: dict[str, float]


class Values(BaseModel):
    """A regression's outputs for a text: the value of each, in its own units."""

    values: dict[str, float]


class Predictions(BaseModel):
    """A prediction for each instance, in their order."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"predictions": [_PREDICTED]}]})

    predictions: list[PredictedClass | Values]


class _ExplainedOutput(BaseModel):
    """Which words made the model decide; see `Explanation` in the documentation of the package."""

    text: str
    pair: str | None
    words: list[Word]
    label: Annotated[str, Field(description="The class explained, or the output of a regression.")]
    method: str
    signed: Annotated[bool, Field(description="Whether scores may be negative.")]
    calibrated: Annotated[bool, Field(description="Whether scores lie in [0, 1] on one scale for every text.")]
    windows: int
    threshold: float | None
    provenance: dict[str, str]
    uses_target: Annotated[
        bool,
        Field(description="Whether the words depend on the class; if false they are the same whichever is asked for."),
    ]
    against: Annotated[
        str | None, Field(description="The class that `label` is contrasted with; absent where there is none.")
    ] = None


class Explained(_ExplainedOutput):
    """Which words made a classifier decide."""

    probability: float
    probabilities: dict[str, float]


class ExplainedValue(_ExplainedOutput):
    """Which words made a regression give a value."""

    value: float
    values: dict[str, float]


class Explanations(Predictions):
    """An explanation for each instance, in their order, as `Explanation.to_dict` gives it, and the predictions.

    With the target "all" it is a list of explanations for each instance, the most probable class first.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"predictions": [_PREDICTED], "explanations": [json.loads(_EXPLAINED)]}]}
    )

    explanations: list[Explained | ExplainedValue | list[Explained]]


class ModelNames(BaseModel):
    """The models of this server."""

    models: list[str]


class Model(BaseModel):
    """A model, whether it takes requests, and what it offers."""

    name: str
    ready: bool
    classifier: str
    explainer: str
    trust: Annotated[str, Field(description="How far the explanations of its ExpNet can be trusted.")]
    labels: list[str]
    kind: Annotated[
        OutputKind, Field(description="What it says: probabilities of classes, or the value of each output.")
    ]
    multi_label: bool
    max_length: Annotated[int, Field(description="Tokens that the model reads at once.")]
    methods: list[str]


class Error(BaseModel):
    """What is wrong with a request, what was expected, and what to do about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"error": "Instance 0 has 30,000 characters, ..."}]})

    error: str


class State(BaseModel):
    """Whether the server is alive, or ready."""

    status: str
