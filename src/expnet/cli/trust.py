"""`expnet trust`: check an explainer on a classifier with one's own texts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expnet.cli import options
from expnet.cli.inputs import prompt_of, records_of
from expnet.cli.outputs import print_table, say_saved

if TYPE_CHECKING:
    from expnet.checking import TrustCheck
    from expnet.metrics.statistics import Estimate

_COLUMNS = ("removal", "gains", "normalised", "agreement", "people")
_HEADER = ("", "words removed", "explainer ahead by", "worst 0, best 1", "same ranking", "precision")


def trust(
    model: options.ModelArgument,
    texts: Annotated[
        Path,
        typer.Argument(
            help="A hundred texts of the kind to explain: .txt, or any format of annotated files, whose marks add the "
            "agreement with people."
        ),
    ],
    explainer: options.ExplainerOption = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write the ExpNet to, together with the check, for --explainer.")
    ] = None,
    json_: options.JsonOption = False,
    offsets: options.OffsetsOption = options.OffsetsName.auto,
    text: options.TextFieldOption = None,
    seed: options.SeedOption = 0,
    prompt: options.PromptOption = None,
    label: options.LabelOption = None,
    zero_shot: options.ZeroShotOption = None,
    hypothesis: options.HypothesisOption = None,
    revision: options.RevisionOption = None,
    device: options.DeviceOption = None,
    dtype: options.DtypeOption = None,
) -> None:
    """Measure on your own texts whether a classifier depends on the words that an explainer names."""
    from expnet.explainer import load
    from expnet.text.prompts import save_prompt

    loaded = load(
        model,
        explainer=explainer,
        revision=revision,
        device=device,
        dtype=dtype,
        prompt=prompt_of(prompt, label, zero_shot, hypothesis),
    )
    check = loaded.check(records_of(texts, offsets=offsets.value, text=text), seed=seed, progress=True)
    if json_:
        print(json.dumps(check.to_dict(), indent=1, ensure_ascii=False))
    else:
        _print(check)
    if output is not None and loaded.network is not None:
        loaded.network.save_pretrained(output)
        save_prompt(loaded.classifier.prompt, output)
        if not json_:
            say_saved(output, f"--model {model} --explainer {output}")


def _print(check: "TrustCheck") -> None:
    left_out = f" ({check.left_out} left out: without words, or too long)" if check.left_out else ""
    print(f"{check.verdict}\n\nMeans over {check.texts} texts{left_out}, with 95 % intervals:\n")
    shown = [place for place, column in enumerate(_COLUMNS) if getattr(check, column)]
    header = ["", *(_HEADER[1 + place] for place in shown)]
    tables: list[Mapping[str, Estimate]] = [getattr(check, _COLUMNS[place]) for place in shown]
    rows = dict.fromkeys(name for table in tables for name in table)
    print_table(header, [[name, *(_cell(table.get(name)) for table in tables)] for name in rows])
    shares = ", ".join(f"{100 * share.mean:.0f} % to {name}" for name, share in check.attention.items())
    print(f"\nAttention of the pooled token, all layers and heads: {shares}. {check.of_attention}".rstrip())
    for rule, reason in check.skipped.items():
        print(f"{rule} does not suit this classifier: {reason}")


def _cell(figure: "Estimate | None") -> str:
    return "" if figure is None else f"{figure.mean:.2f} [{figure.low:.2f}, {figure.high:.2f}]"
