"""What `expnet adapt` and `expnet fit` do with a trained network: check it where they can, and save it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from expnet.cli.outputs import say, say_saved
from expnet.errors import InputError

if TYPE_CHECKING:
    from expnet.model.classifier import Classifier
    from expnet.network.expnet import ExpNet
    from expnet.rationales import Record
    from expnet.text.texts import Text

CHECKED = 50  # texts: about half a minute
_FEWEST = 100  # texts of which a fifth can be spared


def hold_out(texts: "Iterable[Text]") -> "tuple[list[Text], list[Text]]":
    """Return the texts to learn from, and those to check on: the last fifth, 50 at most, none of fewer than 100."""
    items = list(texts)
    learn = len(items) - (min(CHECKED, len(items) // 5) if len(items) >= _FEWEST else 0)
    return items[:learn], items[learn:]


def save_explainer(
    classifier: "Classifier",
    network: "ExpNet",
    model: str,
    output: Path,
    texts: "Sequence[Text | Record]",
    *,
    seed: int,
) -> None:
    """Check an ExpNet on texts, if there are any, print the verdict, and save the two together.

    A regression is not checked, as it has no probability to lose, nor is it on texts of which none can be read whole.
    Whatever happens to the check, the network is saved.
    """
    from expnet.explainer import Explainer
    from expnet.text.prompts import save_prompt

    try:
        if texts and classifier.kind == "probability":
            print(Explainer(classifier, network, name=str(output)).check(texts, seed=seed, progress=True).verdict)
        else:
            say(f"expnet: not checked; see what to expect with: expnet trust {model} TEXTS --explainer {output}")
    except InputError as error:
        say(f"expnet: not checked: {error}")
    finally:
        network.save_pretrained(output)
        save_prompt(classifier.prompt, output)
    say_saved(output, f"--model {model} --explainer {output}")
