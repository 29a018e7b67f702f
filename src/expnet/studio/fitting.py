"""A training in the background, started by Fit: it reports progress, can be cancelled, and is then evaluated."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from expnet.errors import ExpnetError, InputError
from expnet.explainer import Explainer
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.universal import UNIVERSAL, teacher_of
from expnet.rationales import Record
from expnet.runtime.progress import watched
from expnet.studio.comparing import FOLDS, Agreement, agreement, cross_validated, usable, word_scores
from expnet.studio.outcome import BeforeAndAfter, TrainingResult
from expnet.studio.together import Source
from expnet.text.prompts import save_prompt
from expnet.training.adapt import adapt
from expnet.training.config import STUDENT, with_tier
from expnet.training.fit import ENOUGH_TO_ADAPT, fit
from expnet.web.failures import logger, where

LEAST = 4  # marked texts, so that each fold has one
RECOMMENDED = 16
_SHOWN = 3

Stage = Literal["learning", "checking", "done", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What Fit is asked for.

    Attributes:
        explainer: What explains before. If it is one of the universal ones the new network begins as `expnet.fit`
            does, else with this explainer's network.
        tier: What the new network reads, if it begins as `expnet.fit` does.
        marked: What people marked.
        read: Texts without marks for `expnet.fit` to read.
        shown: Texts without marks to show before and after on.
        note: Called with those that will be shown, before anybody can see them.
        source: Whose marks these are.
        output: Folder of the new network.
        annotator: Who will see the explanations.
        save: Called with what the training brought, when there is a network and again when it is evaluated.
    """

    explainer: Explainer
    tier: Tier
    marked: Sequence[Record]
    source: Source
    read: Sequence[Record]
    shown: Sequence[Record]
    note: Callable[[Sequence[Record]], None]
    output: Path
    annotator: str
    save: Callable[[TrainingResult], None]


class _CancelledError(Exception):
    """The user pressed Cancel."""


class Fitting:
    """One training, in a thread of its own; its state can be read at any time."""

    def __init__(self, wanted: Wanted) -> None:
        """Start the training.

        Raises:
            InputError: If too few texts are marked.
        """
        self._marked = [_known(record, wanted.explainer) for record in wanted.marked]
        if (count := len(usable(self._marked))) < LEAST:
            raise InputError(
                f"Fit needs {LEAST} texts with both marked and unmarked words; there are {count}. {RECOMMENDED} are a "
                "good beginning."
            )
        self.wanted = wanted
        self.stage: Stage = "learning"
        self.doing, self.done, self.total = "", 0, 1
        self.seconds = 0.0  # until there was a new explainer
        self.error = ""
        self.after: Explainer | None = None
        self.outcome: TrainingResult | None = None
        self._round = ""
        self._known: ExpNet | Literal["universal"] = "universal"
        self._start = time.perf_counter()
        self._stop = Event()
        self._thread = Thread(target=self._run, name="expnet-fit", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it is still running."""
        return self.stage in ("learning", "checking")

    @property
    def elapsed(self) -> float:
        """Seconds since the start while it trains; afterwards the seconds that training took."""
        return self.seconds or time.perf_counter() - self._start

    @property
    def marked(self) -> int:
        """How many marked texts it is trained on."""
        return len(self._marked)

    @property
    def pairs(self) -> tuple[BeforeAndAfter, ...]:
        """Texts without marks before and after; none while there is no new explainer."""
        return self.outcome.pairs if self.outcome else ()

    @property
    def agreement(self) -> Agreement | None:
        """How both explainers agree with the marks; None until that is evaluated."""
        return self.outcome.agreement if self.outcome else None

    def cancel(self) -> None:
        """Stop at the next step; a network that is there already stays."""
        self._stop.set()

    def join(self, seconds: int | float | None = None) -> None:
        """Wait until it is over."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            with watched(self._told):
                self._learn()
                self._check()
            self.stage = "done"
        except _CancelledError:
            self.stage = "cancelled"
        except ExpnetError as error:
            self._fail(str(error))
        except Exception as error:  # the last line of this thread: it is logged, and the page says so
            logger.error(where(error))
            self._fail(f"It failed: {type(error).__name__}. The log says where.")

    def _fail(self, message: str) -> None:
        self.error, self.stage = message, "failed"

    def _told(self, title: str, done: int, total: int) -> None:
        if self._stop.is_set():
            raise _CancelledError
        self.doing, self.done, self.total = f"{self._round}{title}", done, total

    def _learn(self) -> None:
        self._known = self._begin()
        network = self._fit(self._marked)
        try:
            network.save_pretrained(self.wanted.output)
            save_prompt(self.wanted.explainer.classifier.prompt, self.wanted.output)
        except OSError as error:
            raise InputError(f"{self.wanted.output} cannot be written: {error.strerror or error}.") from error
        classifier, name = self.wanted.explainer.classifier, self.wanted.output.name
        after = Explainer(classifier, network, name=name)
        shown = self.wanted.shown[:_SHOWN]
        texts = [record.text for record in shown]
        self.seconds = time.perf_counter() - self._start
        pairs = tuple(map(BeforeAndAfter, self.wanted.explainer.explain(texts), after.explain(texts)))
        self.wanted.note(shown)
        outcome = TrainingResult(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            annotator=self.wanted.annotator,
            model=classifier.name or "",
            output=str(self.wanted.output),
            labels=tuple(classifier.labels),
            marked=self.marked,
            seconds=self.seconds,
            pairs=pairs,
            source=self.wanted.source,
        )
        self._keep(outcome)
        self.after, self.stage = after, "checking"

    def _check(self) -> None:
        classifier, records = self.wanted.explainer.classifier, usable(self._marked)
        rounds = iter(range(1, FOLDS + 1))

        def fold(train: list[Record]) -> ExpNet:
            self._round = f"{next(rounds)} of {min(FOLDS, len(records))}: "
            return self._fit(train)

        after = cross_validated(classifier, records, fold)
        agreed = agreement(records, word_scores(self.wanted.explainer, records), after)
        if self.outcome is not None:
            self._keep(replace(self.outcome, agreement=agreed))

    def _keep(self, outcome: TrainingResult) -> None:
        self.wanted.save(outcome)
        self.outcome = outcome

    def _begin(self) -> ExpNet | Literal["universal"]:
        """Return the network that all trainings start from; it does not depend on marks."""
        explainer = self.wanted.explainer
        if explainer.network is not None and not from_universal(explainer):
            return explainer.network
        texts = [record.text for record in (*self._marked, *self.wanted.read)]
        if len(texts) < ENOUGH_TO_ADAPT:
            return "universal"
        # As `fit` does, but once for all folds.
        config = with_tier(STUDENT, self.wanted.tier)
        return adapt(explainer.classifier, teacher_of(self.wanted.tier), texts, removals=0, config=config)

    def _fit(self, train: list[Record]) -> ExpNet:
        return fit(self.wanted.explainer.classifier, train, start=self._known, tier=self.wanted.tier, name="studio")


def from_universal(explainer: Explainer) -> bool:
    """Return whether a training begins as `expnet.fit` does, and not with the explainer's own network."""
    return explainer.network is None or explainer.name in UNIVERSAL


def _known(record: Record, explainer: Explainer) -> Record:
    """Return a record whose label is one of the classifier's, or none: then the prediction stands for it."""
    return record if record.label in explainer.classifier.labels else replace(record, label=None)
