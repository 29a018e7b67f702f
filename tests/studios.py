"""A desk with a tiny model and a few texts."""

from pathlib import Path

from expnet.explainer import Explainer
from expnet.rationales import Record
from expnet.studio import Desk, Marks
from expnet.text.texts import Text
from tests.classifiers import tiny_classifier, tiny_explainer

TEXTS = (
    "the good film, another bad one",
    "one bad film",
    "the first text was good",
    "another short film!",
    "long, long and bad",
    "a good one?",
)


def records(texts=TEXTS) -> list[Record]:
    return [Record(f"t{place}", Text.of(text)) for place, text in enumerate(texts, start=1)]


def desk(folder: Path, texts=TEXTS, *, explainer: Explainer | None = None, annotator: str = "ann", **settings) -> Desk:
    explainer = explainer or tiny_explainer(tiny_classifier())
    marks = Marks(folder / "marks.jsonl")
    return Desk(explainer, records(texts), marks, annotator=annotator, output=folder / "explainer", **settings)
