"""What the tests of records share: records of tiny decisions, with any string wherever one can get in."""

import math
from collections.abc import Mapping
from dataclasses import replace

from expnet.audit import Asked, AuditRecord, DecisionContext, Signature
from expnet.audit.drift import Change, Drift
from expnet.audit.file_record import AuditedRow, Comparison, FileRecord
from expnet.audit.record import Part
from expnet.audit.sample import Faithfulness
from expnet.audit.words import Driver
from expnet.identity import sha256
from expnet.metrics.removal import RANDOM, Checked
from expnet.metrics.statistics import Estimate
from tests.explanation.test_render import everywhere

STATEMENTS = (
    *("id", "external_id", "action", "reviewer", "override"),
    *("purpose", "legal_ground", "recourse", "retention"),
)


def decision_of(name: str) -> AuditRecord:
    """Return the record of a decision in which every string that a user or a model chooses is this one."""
    shown = replace(everywhere(name), threshold=0.4, calibrated=True, signed=False)
    part = Part(sha256=sha256(name.encode(errors="replace")), characters=len(name), content=name)
    return AuditRecord(
        created="2026-01-01T00:00:00+00:00",
        text=part,
        pair=part,
        asked=Asked(method=name, options={name: name}, target=name),
        explanation=shown,
        checks=(Checked(name, (name,), 0.9, 0.2, 0.8), Checked(RANDOM, (), 0.9, 0.8, 0.5)),
        unchecked="",
        models=models_of(name),
        trust=name,
        versions={name: name},
        context=DecisionContext(
            automation="confirmed",
            threshold=0.8,
            language="pt-BR",
            previous="0" * 64,
            model_card_sha256="1" * 64,
            **dict.fromkeys(STATEMENTS, name[:10000] or "-"),
        ),
        signature=Signature(algorithm=name[:10_000] or "-", key=name[:10_000] or "-", value=name[:10_000] or "-"),
    )


def models_of(name: str) -> Mapping[str, object]:
    return {
        "classifier": name,
        "classifier_hash": name,
        "tokenizer_hash": name,
        "labels": [name],
        "explainer": name,
        "explainer_hash": name,
        "device": name,
        "precision": name,
    }


def file_of(name: str) -> FileRecord:
    """Return the record of a file, likewise."""
    one, drift = Estimate(0.1, 3, 0.05, 0.2), Drift(0.1, 0.1, 0.05, 0.001)
    row = AuditedRow(
        row=1,
        text=name,
        pair=name,
        label=name,
        probability=0.9,
        margin=0.8,
        concentration=0.5,
        clarity=0.4,
        top=(name,),
    )
    labels = {name: 2, f"{name}!": 1}
    other = Comparison(
        folder=name,
        sha256=name,
        rows=3,
        labels=labels,
        made={name: (name, name)},
        label_drift=drift,
        word_drift=drift,
        changed=(Change(name, 0.1, 0.2, 1, 2, 0.3, None),),
    )
    run = {**models_of(name), "input": name, "method": name, "options": {name: name}, "seed": 0}
    return FileRecord(
        created="2026-01-01T00:00:00+00:00",
        folder=name,
        sha256=name,
        shards=1,
        run={**run, "target": name, "target_column": None, "versions": {name: name}},
        rows=4,
        statuses={"ok": 3, name: 1},
        labels=labels,
        histogram={label: (0,) * 19 + (count,) for label, count in labels.items()},
        least_rows=1,
        drivers={label: [Driver(name, 2, 0.5, 1.5, 2.0, (1,))] for label in labels},
        missed=1,
        clearest=(row,),
        doubtful=(row,),
        listed=(row, replace(row, row=2, concentration=math.nan, clarity=math.nan)),
        unclear=1,
        faithfulness=Faithfulness(3, 1, 0.2, one, one, one, one, one, 0.1, 0.0),
        against=other,
    )
