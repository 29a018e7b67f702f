"""How well the verdict of a check without marks tells which explainers agree with people, from rows of benchmarks.

    python scripts/verdicts.py benchmarks/rows

Every cell is a classifier, a set and an ExpNet. The verdict is that of `TrustCheck` on the rows' comprehensiveness,
which needs no marks; the truth is how far the ExpNet's average precision is above that of the best of the same rules.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from expnet.benchmark.present.comparison import main_replacement
from expnet.benchmark.present.summary import HEADLINE, by_text, group, main_marks, mean, system
from expnet.benchmark.rows import EXPNETS, Row, read_rows
from expnet.checking.measure import RULES
from expnet.checking.result import OWN, TrustCheck
from expnet.metrics.removal import RANDOM
from expnet.metrics.statistics import estimate

OUTPUT = Path(__file__).parents[1] / "docs" / "verdicts.json"
TOLERATED = 0.05  # how far an explainer with a good verdict may be below the best rule


@dataclass(frozen=True, slots=True)
class Cell:
    """An ExpNet on a classifier and a set: verdict and share of a check without marks, and agreement with people.

    `lead` is how far its average precision is above that of the best rule; `texts` counts those of the check.
    """

    classifier: str
    set: str
    explainer: str
    level: str
    share: float
    lead: float
    texts: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="+", type=Path)
    parser.add_argument("--plans", nargs="*", help="only these")
    args = parser.parse_args()
    # Plans may call other classifiers alike.
    plans = group(read_rows(args.rows), lambda row: str(row.provenance["plan"]))
    measured = [cell for name in args.plans or plans for cell in cells(plans[name])]
    report = {**summary(measured), "all": [asdict(cell) for cell in measured]}
    OUTPUT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "all"}, indent=1))


def cells(rows: Sequence[Row]) -> Iterator[Cell]:
    """Yield a cell for each ExpNet whose removal and agreement were both measured, with the mean over its seeds."""
    replacement = main_replacement(rows)
    removal = [row for row in rows if row.kind == "faithfulness" and row.condition.get("replacement") == replacement]
    agreement = group(main_marks(rows), lambda row: (row.classifier, row.set))
    for place, here in group(removal, lambda row: (row.classifier, row.set)).items():
        lost = {name: by_text(same, "comprehensiveness") for name, same in group(here, system).items()}
        agreed = {
            name: mean(by_text(same, HEADLINE).values())
            for name, same in group(agreement.get(place, ()), system).items()
        }
        rules = [rule for rule in RULES if rule in lost and rule in agreed]
        ours = dict.fromkeys(system(row) for row in here if row.experiment in EXPNETS)
        for name in ours:
            if rules and "random" in lost and name in agreed:
                others = {rule: lost[rule] for rule in rules} | {RANDOM: lost["random"]}
                check = checked(name, place[0], {OWN: lost[name], **others})
                lead = agreed[name] - max(agreed[rule] for rule in rules)
                yield Cell(*place, name, check.level, check.share, lead, check.texts)


def checked(explainer: str, classifier: str, lost: dict[str, dict[int, float]]) -> TrustCheck:
    """Return the check that these losses make, on the texts that all have."""
    texts = sorted(set.intersection(*(set(of_texts) for of_texts in lost.values())))
    columns = {name: np.array([of_texts[text] for text in texts]) for name, of_texts in lost.items()}
    return TrustCheck(
        explainer=explainer,
        classifier=classifier,
        classifier_hash="",
        texts=len(texts),
        left_out=0,
        seed=0,
        versions={},
        removal={name: estimate(column) for name, column in columns.items()},
        gains={name: estimate(columns[OWN] - column) for name, column in columns.items() if name != OWN},
        normalised={},
        agreement={},
        attention={},
    )


def summary(measured: Iterable[Cell]) -> dict[str, object]:
    """Return the rank correlation of share and lead over all cells, and what cells with each verdict have in common."""
    known = [cell for cell in measured if not math.isnan(cell.share)]
    correlation = spearmanr([cell.share for cell in known], [cell.lead for cell in known])
    levels = {
        level: {
            "cells": count,
            "mean lead": float(np.mean([cell.lead for cell in known if cell.level == level])),
            "below the best rule": sum(cell.lead < 0 for cell in known if cell.level == level),
        }
        for level, count in Counter(cell.level for cell in known).items()
    }
    wrong = [cell for cell in known if cell.level == "good" and cell.lead < -TOLERATED]
    return {
        "cells": len(known),
        "rank correlation": float(correlation.statistic),
        "p": float(correlation.pvalue),
        "levels": levels,
        "tolerated": TOLERATED,
        "wrong": [f"{cell.classifier}, {cell.set}, {cell.explainer}: {cell.lead:+.3f}" for cell in wrong],
    }


if __name__ == "__main__":
    main()
