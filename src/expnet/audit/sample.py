"""Test on a sample of a file's rows whether the words that the explanations name matter to the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from numpy import ndarray

from expnet.methods.replacement import replacement_for_words
from expnet.metrics.faithfulness import perturbation_curves, random_draws
from expnet.metrics.stability import rank_correlation
from expnet.metrics.statistics import Estimate, estimate
from expnet.model.batches import Batch, in_batches
from expnet.model.classifier import Classifier
from expnet.runtime.progress import track
from expnet.text.encoding import Encoding
from expnet.text.texts import Text

SHARE = 0.2  # of the words, as in the middle of ERASER's fractions
_DRAWS = 3


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How much the model's probability falls on sampled rows; means with 95 % bootstrap intervals.

    Attributes:
        rows: Rows that were tested.
        left_out: Rows that were not, because they are longer than the model reads at once.
        share: Share of the words that were removed, or left alone.
        without: Loss without the top words; more means that they mattered.
        without_random: Loss without as many random words.
        gain: How much more the top words cost than random ones.
        alone: Loss with the top words alone; less means that they suffice.
        alone_random: Loss with as many random words alone.
        clarity: Rank correlation of clarity with `gain`, row by row; near 0, clarity says nothing of faithfulness here.
        moved: The largest difference between a probability in the file and now.
    """

    rows: int
    left_out: int
    share: float
    without: Estimate
    without_random: Estimate
    gain: Estimate
    alone: Estimate
    alone_random: Estimate
    clarity: float
    moved: float


def faithfulness(
    classifier: Classifier, rows: pa.Table, clarity: Float[ndarray, " rows"], *, seed: int = 0, progress: bool = False
) -> Faithfulness:
    """Remove the top words of each row, and everything but them; likewise as many random words.

    Args:
        classifier: The one that the rows were explained with.
        rows: As `Folder.rows` gives them.
        clarity: Of each row.
        seed: Of the random words and of the intervals.
        progress: Show a progress bar.
    """
    explained = rows.to_pylist()
    every = np.full((len(explained), 5), np.nan)
    batches = in_batches(classifier, [Text.of(row["text"], row["pair"]) for row in explained])
    for batch in track(batches, "checking", show=progress, total=len(explained), size=len):
        every[batch.places] = _losses(classifier, batch, [explained[place] for place in batch.places], seed)
    tried = ~np.isnan(every[:, 0])
    without, without_random, alone, alone_random, moved = every[tried].T
    gain = without - without_random
    return Faithfulness(
        rows=int(tried.sum()),
        left_out=int((~tried).sum()),
        share=SHARE,
        without=estimate(without, seed=seed),
        without_random=estimate(without_random, seed=seed),
        gain=estimate(gain, seed=seed),
        alone=estimate(alone, seed=seed),
        alone_random=estimate(alone_random, seed=seed),
        clarity=_correlation(clarity[tried], gain),
        moved=float(moved.max(initial=0.0)),
    )


def _losses(
    classifier: Classifier, batch: Batch, rows: Sequence[dict[str, Any]], seed: int
) -> Float[ndarray, "rows figures"]:
    """Return loss without the top and without random words, with these and those alone, and how far the file is off."""
    every = np.full((len(rows), 5), np.nan)
    fits = [at for at, reading in enumerate(batch.readings) if len(reading.windows) == 1]
    if not fits:
        return every
    encoding = classifier.pack([batch.texts[at] for at in fits], [batch.readings[at] for at in fits])
    curves = _curves(classifier, encoding, [rows[at] for at in fits], seed)
    top, draws = curves["top"], [curves[name] for name in curves if name != "top"]
    every[fits] = np.stack(
        [
            top.full - top.removed[:, 0],
            top.full - np.mean([draw.removed[:, 0] for draw in draws], 0),
            top.full - top.kept[:, 0],
            top.full - np.mean([draw.kept[:, 0] for draw in draws], 0),
            np.abs(top.full - [rows[at]["probability"] for at in fits]),
        ],
        1,
    )
    return every


def _curves(classifier: Classifier, encoding: Encoding, rows: Sequence[dict[str, Any]], seed: int) -> dict[str, Any]:
    scores = {"top": [np.array(row["scores"], dtype=float) for row in rows]}
    draws = random_draws(encoding, seed=seed, draws=_DRAWS)
    return perturbation_curves(
        classifier,
        encoding,
        torch.tensor([classifier.target_index(row["label"]) for row in rows]),
        scores | draws,
        replacement=replacement_for_words(classifier),
        fractions=[SHARE],
    )


def _correlation(clarity: ndarray, gain: ndarray) -> float:
    known = ~np.isnan(clarity)
    return rank_correlation(clarity[known], gain[known])
