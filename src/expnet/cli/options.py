"""Arguments and options that more than one command takes, each declared once."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

_MODEL = "The classifier: demo/sentiment, demo/acceptability, demo/hate-speech, a folder or a hub id."
_model = partial(typer.Option, rich_help_panel="Model")  # listed under a heading of their own by `--help`
_reading = partial(typer.Option, rich_help_panel="Annotated files")


class OffsetsName(StrEnum):
    """The unit in which the offsets of marks count."""

    auto = "auto"
    characters = "characters"
    utf_16 = "utf-16"
    utf_8 = "utf-8"


class TierName(StrEnum):
    """What an ExpNet reads from the classifier."""

    attention = "attention"
    gradient = "gradient"
    difference = "difference"


# Loading a classifier and its ExpNet

ModelArgument = Annotated[str, typer.Argument(help=_MODEL)]
OptionalModelArgument = Annotated[str | None, typer.Argument(help=_MODEL)]
ModelOption = Annotated[str, _model("--model", help=_MODEL)]
ModelsOption = Annotated[
    list[str] | None,
    _model("--model", help=f"{_MODEL} Repeat it to see models side by side. By default demo/sentiment."),
]
_EXPLAINER = (
    "The ExpNet: a folder, a hub id, universal/gradient, universal/difference or universal/attention. "
    "By default a demo's own, and a universal one for any other model."
)
ExplainerOption = Annotated[str | None, _model("--explainer", help=_EXPLAINER)]
ExplainersOption = Annotated[
    list[str] | None,
    _model("--explainer", help=f"{_EXPLAINER} Repeat it for several of one model, or once for each --model."),
]
PromptOption = Annotated[
    Path | None,
    _model(
        "--prompt",
        help="Makes a causal language model a classifier: a .toml or .json file with template and labels, or a text "
        "file with the template alone. It holds {text}, and {pair} for pairs. Or the name of a guard model: "
        "llama-guard-3, granite-guardian, qwen3guard, shieldgemma-hate; with /reply for pairs of message and answer.",
    ),
]
ZeroShotOption = Annotated[
    list[str] | None,
    _model(
        "--zero-shot",
        help="A label, which makes a model of natural language inference a classifier of such labels; repeat it for "
        "each.",
    ),
]
HypothesisOption = Annotated[
    str | None,
    _model(
        "--hypothesis",
        help="Template with {} where the label goes; by default 'This example is {}.', as in transformers.",
    ),
]
LabelOption = Annotated[
    list[str] | None,
    _model(
        "--label",
        help="NAME=WORD: the word that stands for a label, as it continues the prompt, such as 'unsafe= yes'; repeat "
        "it for each label, unless the file of the prompt has them.",
    ),
]
RevisionOption = Annotated[str | None, _model("--revision", help="Commit, tag or branch of the model on the hub.")]
DeviceOption = Annotated[
    str | None, _model("--device", help="Such as cpu or cuda. By default an accelerator if there is one, else the CPU.")
]
DtypeOption = Annotated[
    str | None,
    _model(
        "--dtype",
        help="Type of the weights, such as bfloat16. By default float32 on the CPU, elsewhere as they are stored.",
    ),
]
ThreadsOption = Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0 leaves the number to torch.")]

# Explaining

MethodOption = Annotated[str, typer.Option("--method", help="Attribution method; `expnet methods` lists them.")]
MethodsOption = Annotated[
    list[str] | None,
    typer.Option("--method", help="Attribution method; repeat it for several. `expnet methods` lists them."),
]
MethodSettingsOption = Annotated[
    list[str] | None, typer.Option("--option", help="Option of the method, as NAME=VALUE; repeat it for several.")
]
TargetOption = Annotated[
    str | None,
    typer.Option("--target", help="Class to explain, by name or index. By default each text's predicted class."),
]
AllTargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Class to explain, by name or index; all explains every class. By default each text's predicted class.",
    ),
]
AgainstOption = Annotated[
    str | None, typer.Option("--against", help="Class to contrast --target with: why the one rather than the other?")
]
ClassesOption = Annotated[
    int | None,
    typer.Option("--classes", min=1, help="With --target all, explain only so many of the most probable classes."),
]
TruncateOption = Annotated[
    bool, typer.Option("--truncate", help="Cut long texts instead of reading them in overlapping windows.")
]
TokensOption = Annotated[
    bool, typer.Option("--tokens", help="Show the score of each token that the model reads, instead of words.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the random numbers.")]

# Audit records

SecondTextOption = Annotated[str | None, typer.Option("--pair", help="Second text of a pair.")]
RecordOutputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--output", help="Write to this .json or .html file; repeat it for both. By default JSON goes to the screen."
    ),
]
ContextOption = Annotated[
    Path | None,
    typer.Option(
        "--context",
        help="What you state about the decision, as a .toml or .json file: id, action, reviewer, recourse and others; "
        "docs/audit.md lists them.",
    ),
]
PreviousOption = Annotated[
    Path | None,
    typer.Option("--previous", help="The JSON record of the decision before; its hash makes the records a chain."),
]
WithoutTextOption = Annotated[bool, typer.Option("--without-text", help="Record hashes and numbers, but no text.")]

# Reading annotated files

AnnotatedPaths = Annotated[list[Path], typer.Argument(help="Files or folders. Each file counts as one split.")]
FormatOption = Annotated[str, _reading("--format", help="Format of the files; `expnet data list` lists them.")]
RationaleOption = Annotated[
    str | None,
    _reading(
        "--rationale",
        help="Shared format: field with the marks. Other formats: how to combine annotators, union or majority.",
    ),
]
OffsetsOption = Annotated[
    OffsetsName,
    _reading(
        "--offsets", help="Unit of the offsets of marks. auto compares them with the marked words that a file quotes."
    ),
]
TextFieldOption = Annotated[
    str | None, _reading("--text", help="Label Studio, doccano, Prodigy, Argilla: field with the text.")
]
PairFieldOption = Annotated[str | None, _reading("--pair", help="Label Studio, Argilla: field with the second text.")]
ChoiceOption = Annotated[
    str | None,
    _reading("--choice", help="Label Studio: control whose choice is the label; Argilla: question whose answer is."),
]
SplitOption = Annotated[str | None, _reading("--split", help="HateXplain: read only this split.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Training

ExpNetFolder = Annotated[Path, typer.Option("--output", help="Folder to write the ExpNet to.")]
TierOption = Annotated[
    TierName,
    typer.Option(
        "--tier",
        help="What the ExpNet reads: attention needs only the forward pass, gradient a backward pass as well, "
        "difference compares with an empty text, at twice that.",
    ),
]

CheckOption = Annotated[
    bool,
    typer.Option(help="Check the explainer on up to 50 other texts, as `expnet trust` does; save the verdict with it."),
]

# Servers

HostOption = Annotated[
    str, typer.Option("--host", help="Address to listen on; 0.0.0.0 listens on every address of this machine.")
]
PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes any that is free.")
]
AllowedHosts = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        help="Host name by which clients may address this server, besides localhost and IP addresses; repeat it for "
        "several.",
    ),
]


def set_threads(threads: int) -> None:
    """Let torch use this many CPU threads; 0 leaves its own default."""
    if threads:
        import torch  # here, so that commands that need no torch start without it

        torch.set_num_threads(threads)
