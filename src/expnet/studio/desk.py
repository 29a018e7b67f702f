"""One person's session: texts, the file of marks, the model, and a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.network.channels import Tier
from expnet.rationales import Record
from expnet.studio.comparing import usable
from expnet.studio.fitting import LEAST, Fitting, Wanted, from_universal
from expnet.studio.marks import Entry, Marks
from expnet.studio.outcome import TrainingResult, read_outcome
from expnet.studio.texts import key_of
from expnet.studio.together import SOURCES, PeopleAgreement, Source, chosen_by, from_all, people_agreement
from expnet.training.fit import ENOUGH_TO_ADAPT

_MOST_READ = 300  # unmarked texts for a training to read


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the texts are marked by anybody, by this person, and skipped by this person."""

    texts: int
    marked: int
    mine: int
    skipped: int
    usable: int


class Desk:
    """Everything that a page of the studio shows or changes."""

    def __init__(
        self,
        explainer: Explainer,
        texts: Sequence[Record],
        marks: Marks,
        *,
        annotator: str,
        output: Path,
        tier: Tier | None = None,
        others: Sequence[Marks] = (),
    ) -> None:
        """Open a session on texts to mark, followed by those that only the file of marks holds.

        Args:
            explainer: What explains before the first training.
            texts: As `read_texts` gives them.
            marks: The file.
            annotator: Who marks.
            output: Folder of the network to be trained.
            tier: What it will read, "attention" or "gradient"; by default the same as the explainer's own network.
            others: Files of other annotators' marks. They are compared and, if asked for, learned from; nothing else of
                them is shown, and nothing is written to them.

        Raises:
            InputError: If one of the others is the file of marks itself; if the model is a regression with several
                outputs; if a tier is given, but the training will start from a network that has its own; or if what
                the last training left beside the marks is damaged.
        """
        if tier is not None and not from_universal(explainer):
            raise InputError(
                f"The training starts from {explainer.name!r}, and its network has the same tier: leave the tier out, "
                "or start from --explainer universal."
            )
        if explainer.classifier.kind == "value" and len(explainer.classifier.labels) > 1:
            raise InputError(
                f"This model is a regression with {len(explainer.classifier.labels)} outputs, none of which is the "
                "predicted one: the studio asks for the reasons of one prediction for each text."
            )
        paths = [one.path.resolve() for one in (marks, *others)]
        if len(set(paths)) < len(paths):
            raise InputError(f"The files of marks are to be different ones; got {', '.join(map(str, paths))}.")
        self.explainer, self.marks, self.annotator, self.output = explainer, marks, annotator, output
        self.others = tuple(others)
        known = {key_of(record) for record in texts}
        kept = [entry.record for key, entry in marks.entries().items() if key not in known]
        self.texts = (*texts, *kept)
        self.tier: Tier = tier or ("attention" if explainer.network is None else explainer.network.config.features.tier)
        self.fitting: Fitting | None = None
        self._left = marks.path.with_name(f"{marks.path.stem}-fit.json")
        self._saved = read_outcome(self._left)

    @property
    def outcome(self) -> TrainingResult | None:
        """What the last training of this model brought, in this session or before; None while one is learning."""
        if self.fitting is not None and (self.fitting.outcome is not None or self.fitting.running):
            return self.fitting.outcome
        classifier = self.explainer.classifier
        here = ((classifier.name or ""), tuple(classifier.labels))
        return self._saved if self._saved is not None and (self._saved.model, self._saved.labels) == here else None

    @property
    def newest(self) -> Explainer:
        """The explainer that was trained here last, else the one there was."""
        return self.fitting.after if self.fitting is not None and self.fitting.after is not None else self.explainer

    def entry(self, place: int) -> Entry:
        """Return the entry of a text in the file of marks, by its place from 0."""
        record = self.texts[place]
        return self.marks.entries().get(key_of(record)) or Entry(record)

    def entries(self) -> list[Entry]:
        """Return the entry of each text in the file of marks."""
        stored = self.marks.entries()
        return [stored.get(key_of(record)) or Entry(record) for record in self.texts]

    def progress(self) -> Progress:
        """Return how many texts are marked, marked by this person and skipped by this person, among all."""
        entries = self.entries()
        return Progress(
            texts=len(entries),
            marked=sum(bool(entry.record.annotations) for entry in entries),
            mine=sum(entry.annotation(self.annotator) is not None for entry in entries),
            skipped=sum(self._open(entry) and bool(entry.doing(self.annotator).skipped_at) for entry in entries),
            usable=len(usable([entry.record for entry in entries])),
        )

    def next(self, place: int = -1) -> int | None:
        """Return the first text after a place, else from the start, that nobody marked and this person did not skip."""
        entries = self.entries()
        order: list[int] = [*range(place + 1, len(entries)), *range(place + 1)]
        for at in order:
            if self._open(entries[at]) and not entries[at].doing(self.annotator).skipped_at:
                return at
        return None

    def unmarked(self) -> list[Record]:
        """Return the texts that nobody marked, the last first: they are the last to be marked."""
        return [entry.record for entry in reversed(self.entries()) if self._open(entry)]

    def could_read(self) -> int:
        """Return how many unmarked texts a training could read; 0 if too few for that to help."""
        enough = from_universal(self.explainer) and len(self.texts) >= ENOUGH_TO_ADAPT
        return min(_MOST_READ, len(self.unmarked())) if enough else 0

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from, in one's own file or in all of them."""
        sources: Sequence[Source] = SOURCES if self.others else ("own",)
        return any(len(usable(self.marked(source))) >= LEAST for source in sources)

    def marked(self, source: Source = "own") -> list[Record]:
        """Return the records that a training from these marks learns from."""
        return chosen_by(source, [entry.record for entry in self.entries()], self.together())

    def together(self) -> list[Record]:
        """Return each text with the marks of all files."""
        return from_all(self.entries(), self.others)

    def fit(self, *, read: bool, source: Source = "own") -> None:
        """Start a training, unless one is running; with `read`, on unmarked texts first.

        Raises:
            InputError: If too few texts are marked.
        """
        if self.fitting is not None and self.fitting.running:
            return
        unmarked = self.unmarked()
        wanted = Wanted(
            explainer=self.explainer,
            tier=self.tier,
            marked=self.marked(source),
            source=source,
            read=unmarked[: self.could_read()] if read else (),
            shown=unmarked,
            note=lambda shown: self.marks.shown(shown, self.annotator),
            output=self.output,
            annotator=self.annotator,
            save=self._save,
        )
        self.fitting = Fitting(wanted)

    def _save(self, outcome: TrainingResult) -> None:
        outcome.save(self._left)
        self._saved = outcome

    def people(self) -> PeopleAgreement:
        """Return how far the annotators of all files agree."""
        return people_agreement(self.together())

    @staticmethod
    def _open(entry: Entry) -> bool:
        return not entry.record.annotations
