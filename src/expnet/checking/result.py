"""What a check of an explainer on a classifier measured, and what follows from it in plain words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from expnet.errors import MismatchError
from expnet.files.parsing import ANYTHING, TEXT, check_fields, number, table, whole
from expnet.metrics.removal import RANDOM
from expnet.metrics.statistics import Estimate
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.network.trust import CHECK

Level = Literal["good", "weak", "unusable", "unclear"]
OWN, SECOND = "explainer", "expnet_used"  # an explainer's two outputs; not all have the second
# Of what the best rule gains over random words, the share from which on an explainer is as good as it.
_AS_GOOD = 0.75
_ATTENTION = "raw_attention"
_TABLES = ("removal", "gains", "over_random", "normalised", "agreement", "attention", "people")
_FIELDS = {
    "explainer": TEXT,
    "classifier": TEXT,
    "classifier_hash": TEXT,
    "texts": whole(1, 2**31),
    "left_out": whole(0, 2**31),
    "seed": whole(-(2**63), 2**63),
    "versions": table(TEXT),
    "skipped": table(TEXT),
    **dict.fromkeys(_TABLES, table(ANYTHING)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustCheck:
    """An explainer on one classifier, beside cheap fixed rules and random words; all means are over texts.

    Attributes:
        explainer: Its name.
        classifier: The classifier's name.
        classifier_hash: As `Classifier.fingerprint` gives it.
        texts: Texts that were checked.
        left_out: Texts without a word, or longer than one window of the classifier.
        seed: Of the random words, the dropout and the intervals.
        versions: Of expnet, torch and transformers.
        removal: For the explainer, its second output if it has one ("expnet_used"), each rule and random words: the
            probability lost when the words that it ranks first are taken away (comprehensiveness, mean over 1 to 5
            tenths of the words), in [-1, 1]; more is better.
        gains: For each rule and random words: what the explainer loses more than it, text by text.
        over_random: For each rule: what it loses more than random words, text by text.
        normalised: As `removal`, between the worst (0) and the best (1) ranking that a search met on the shorter texts.
        agreement: Rank correlation of the explainer's scores with each rule's, and with its own when random halves of
            its inputs and hidden units are left out ("itself"), in [-1, 1].
        attention: Shares of the attention that the classifier's pooled token pays to special tokens ("special tokens")
            and to punctuation ("punctuation"), in [0, 1], over all layers and heads.
        people: Average precision against the marks, for the explainer, each rule and random words; empty without marks.
        skipped: Rules that do not suit the classifier, and why.
    """

    explainer: str
    classifier: str
    classifier_hash: str
    texts: int
    left_out: int
    seed: int
    versions: Mapping[str, str]
    removal: Mapping[str, Estimate]
    gains: Mapping[str, Estimate]
    normalised: Mapping[str, Estimate]
    agreement: Mapping[str, Estimate]
    attention: Mapping[str, Estimate]
    over_random: Mapping[str, Estimate] = field(default_factory=dict)
    people: Mapping[str, Estimate] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def best_rule(self) -> str | None:
        """The rule whose words the classifier depends on most; None if no rule suits it."""
        rules = [name for name in self.gains if name not in (RANDOM, SECOND)]
        return max(rules, key=lambda name: self.removal[name].mean, default=None)

    @property
    def share(self) -> float:
        """What the explainer gains over random words, as a share of what the best rule does.

        NaN if no rule gains anything, for then there is nothing to compare with.
        """
        floor = self.removal[RANDOM].mean
        best = floor if self.best_rule is None else self.removal[self.best_rule].mean
        return (self.removal[OWN].mean - floor) / (best - floor) if best > floor else float("nan")

    @property
    def level(self) -> Level:
        """How far it can be trusted to name words that the classifier depends on.

        "good": surely better than random words, and not surely behind the best rule or at least three quarters as far
        ahead of random words. "weak": surely better than random words only. "unusable": surely behind the best rule and
        not surely better than random words, or surely worse than they. "unclear": anything else, as with too few texts.
        """
        over_random = self.gains[RANDOM]
        behind = self.best_rule is not None and self.gains[self.best_rule].high < 0
        if over_random.low > 0:
            return "weak" if behind and not self.share >= _AS_GOOD else "good"
        return "unusable" if behind or over_random.high < 0 else "unclear"

    @property
    def verdict(self) -> str:
        """The level in one sentence, with the figures that it stands on."""
        over = f"{_signed(self.gains[RANDOM])} against random words"
        rule = self.best_rule
        beside = (
            "no fixed rule suits this classifier" if rule is None else f"{_signed(self.gains[rule])} against `{rule}`"
        )
        measured = f"removing its top words changes the probability by {self.removal[OWN].mean:.2f} ({over}; {beside})"
        said = {
            "good": f"The classifier depends on the words this explainer names: {measured}.",
            "weak": f"Use with care: it is better than random words, but `{rule}` names words that the classifier "
            f"depends on more: {measured}.",
            "unusable": "Do not use this explainer on this classifier: the words it names matter no more than random "
            f"ones: {measured}." + (f" Use `--method {rule}` instead." if rule else ""),
            "unclear": f"Not shown to be better than random words on {self.texts} texts: {measured}. Check more texts.",
        }[self.level]
        return f"{said}{self._of_limits}{self._of_second}"

    @property
    def of_attention(self) -> str:
        """Whether attention itself says something on this classifier, in one sentence; "" if that was not measured."""
        gain = self.over_random.get(_ATTENTION)
        if gain is None:
            return ""
        measured = f"Removing the words with the most attention changes the probability by {_signed(gain)} "
        if gain.low > 0:
            return f"{measured}against random words: attention says something here."
        if gain.high < 0:
            return f"{measured}against random words: attention misleads here."
        return f"{measured}against random words: it is not shown that attention says anything here."

    @property
    def _of_limits(self) -> str:
        """What the search for the limits says where it contradicts a verdict in favour of the explainer."""
        own, floor = self.normalised.get(OWN), self.normalised.get(RANDOM)
        if own is None or floor is None or self.gains[RANDOM].low <= 0 or own.mean > floor.mean:
            return ""
        return (
            f" But on the {own.n} shorter texts whose worst and best rankings were searched for, it is no better than "
            f"random words ({own.mean:.2f} and {floor.mean:.2f} of the way from worst to best)."
        )

    @property
    def _of_second(self) -> str:
        if SECOND not in self.removal:
            return ""
        changed = self.removal[SECOND].mean
        return f" The words that its second output names (`--method {SECOND}`) change it by {changed:.2f}."

    def to_dict(self) -> dict[str, Any]:
        """Return everything, the verdict included, as numbers, strings, lists and tables for JSON."""
        return {"level": self.level, "verdict": self.verdict, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "TrustCheck":
        """Read what `to_dict` gave; level and verdict are computed again.

        Raises:
            MismatchError: If a field is missing, unknown or of another form.
        """
        plain = {name: value for name, value in data.items() if name not in ("level", "verdict")}
        plain = {"over_random": {}, **plain}  # checks made before it was measured lack it
        try:
            check_fields(plain, _FIELDS)
            tables = {name: {key: _estimate(figures) for key, figures in plain[name].items()} for name in _TABLES}
            if not {OWN, *tables["gains"]} <= tables["removal"].keys() or RANDOM not in tables["gains"]:
                raise MismatchError("it lacks the figures of the explainer or of random words")
            return cls(**{**plain, **tables})
        except (AttributeError, KeyError, TypeError, ValueError, MismatchError) as error:
            raise MismatchError(f"Expected a check as `TrustCheck.to_dict` gives it: {error}.") from error


def with_check(network: ExpNet, check: TrustCheck) -> None:
    """Let a network carry a check along in its provenance: it is saved with it, and shown wherever it explains."""
    network.config = replace(network.config, provenance={**network.config.provenance, CHECK: check.to_dict()})


def check_of(network: ExpNet) -> TrustCheck | None:
    """Return the check that a network carries along, on whatever classifier it was made; None if there is none.

    Raises:
        MismatchError: If it is no check of this version.
    """
    data = network.config.provenance.get(CHECK)
    return None if data is None else TrustCheck.from_dict(data)


def verdict_on(network: ExpNet, classifier: Classifier) -> str:
    """Return what the check that a network carries along says of a classifier, in a sentence; "" without a check."""
    check = check_of(network)
    if check is None:
        return ""
    if check.classifier_hash != classifier.fingerprint():
        return f"It was checked on another classifier ({check.classifier}), not on this one: run `expnet trust`."
    return f"Checked on this classifier with {check.texts} texts: {check.verdict}"


def _estimate(figures: Mapping[str, Any]) -> Estimate:
    check_fields(figures, {"mean": number(), "n": whole(1, 2**31), "low": number(), "high": number()})
    return Estimate(**figures)


def _signed(figure: Estimate) -> str:
    return f"{figure.mean:+.2f} [{figure.low:+.2f}, {figure.high:+.2f}]"
