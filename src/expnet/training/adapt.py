"""Distil an ExpNet, or a method, into a network of one classifier's own, on unmarked texts."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from expnet.errors import InputError, NonFiniteError
from expnet.methods.method import Method, at_least
from expnet.methods.registry import find_method
from expnet.model.batches import encoded
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.features import normalise_within_text
from expnet.network.inputs import read_features
from expnet.network.scorer import Scorer
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.progress import track
from expnet.text.encoding import Encoding
from expnet.text.texts import Text, as_texts
from expnet.training.build import new_network, with_used
from expnet.training.config import STUDENT, FitConfig, with_tier
from expnet.training.evaluation import platt
from expnet.training.examples import TOGETHER, TrainingWindow, collate
from expnet.training.loops import draw, one_cycle
from expnet.training.loss import imitation_loss
from expnet.training.removals import learn_removals

_ONE_DEVIATION = torch.tensor(1.0).sigmoid().item()


@torch_defaults()
def adapt(
    classifier: Classifier,
    teacher: ExpNet | None,
    texts: Iterable[str | Text],
    *,
    removals: int = 16,
    target_method: str | None = None,
    method_weight: float = 0.5,
    tier: Tier = "attention",
    config: FitConfig | None = None,
    seed: int = 0,
    target: str | int | None = None,
    progress: bool = False,
) -> ExpNet:
    """Train an ExpNet of one classifier to say of its texts what another says and what the classifier depends on.

    The teacher sees the heads as a set; the student sees each head of this classifier separately, and may use attention
    alone where the teacher takes gradients. The calibration is copied: the student's scores are fitted to those of the
    teacher.

    Half of what it learns is what this classifier does: from its answers to the texts with words removed at random, a
    network is trained first (`learn_removals`), and the student imitates the mixture of the two, both standardised
    within each text. Without a teacher it learns from no marks at all; scores then lie above 0.73, the threshold, where
    what is imitated lies more than a standard deviation above its mean over the text. With `target_method` the scores
    of a method, of as many passes as it takes, stand in place of the removals.

    With gradients and removals, what was learned from these is also the student's second output (`ExpNet.effects`).

    Args:
        classifier: The classifier.
        teacher: A network that fits it, or None.
        texts: Texts like those to explain, unmarked; some hundred.
        removals: Random removals of words of each text, 2 at least, each a forward pass; 0 to learn from the teacher
            alone. Not used with `target_method`.
        target_method: Name of a method to learn from, such as "leave_one_out" or "shapley_sampling".
        method_weight: Weight of removals or method beside the teacher's, in (0, 1).
        tier: "attention" makes an explainer that comes with the prediction, "gradient" one that takes a backward pass
            as well, "difference" one that compares with an empty text, at twice that. Not used with `config`.
        config: Of the new network, instead of what suits the tier; it must train by steps.
        seed: Of training; not used with `config`, which has its own.
        target: Class that the scores of all texts are of, by name or index; by default each text's predicted class. A
            regression with several outputs needs one, unless all that takes part sees attention alone.
        progress: Show progress bars.

    Raises:
        InputError: If there is no text with a word (two words, for removals), nobody to learn from, or no such class, a
            regression with several outputs is given no target, or the configuration does not suit.
        OptionError: If there is one removal, or fewer than none.
        MethodError: If there is no such method.
        MismatchError: If the teacher does not fit the classifier.
        NonFiniteError: If the teacher or the method returns NaN or infinity.
    """
    config = replace(with_tier(STUDENT, tier), seed=seed) if config is None else config
    if removals:
        at_least(2, removals=removals)
    if teacher is None and target_method is None and not removals:
        raise InputError(
            "There is nobody to learn from: pass a teacher, the name of a method as `target_method`, or `removals`."
        )
    if not 0 < method_weight < 1:
        raise InputError(f"Expected a method_weight between 0 and 1, got {method_weight}.")
    if teacher is not None:
        teacher.check_fits(classifier.architecture, classifier.support)
    texts = as_texts(texts)
    method = None if target_method is None else find_method(target_method)
    student = new_network(classifier, config)
    if not config.steps:
        raise InputError("Expected a configuration that trains by steps, got steps=0.")
    effects, explained = bool(removals) and method is None, None
    by_class = effects or method is not None or student.uses_target or (teacher is not None and teacher.uses_target)
    if target is not None or by_class or classifier.hypotheses is not None:
        explained = classifier.output_index(target)
    removed = None
    if effects:
        removed = learn_removals(
            [(classifier, texts)], config=config, removals=removals, target=explained, progress=progress
        )
    ask = _Teaching(teacher, removed or method, method_weight, config.seed)
    windows, scores = _distillation_windows(classifier, ask, texts, student, explained, progress=progress)
    if not windows:
        raise InputError(f"None of the {len(texts)} texts has a word, so there is nothing to learn from.")
    features = student.config.features

    def loss(generator: torch.Generator) -> Tensor:
        batch, targets = draw(windows, features, config.batch_size, generator)
        return imitation_loss(student(batch), targets)

    one_cycle(student, loss, config, progress=progress)
    with torch.no_grad():
        # One window at a time: they are short, and this happens once.
        logits = [student(collate([window], features)[0])[0] for window in windows]
    counts = [~window.targets.isnan() for window in windows]
    platt(student, torch.cat([a[b] for a, b in zip(logits, counts, strict=True)]), torch.cat(scores))
    learned: dict[str, Any] = {} if teacher is None else {"teacher": dict(teacher.config.provenance)}
    if ask.method is not None:
        learned |= {"removals": removals} if effects else {"target_method": target_method}
        learned |= {} if teacher is None else {"method_weight": method_weight}
    if target is not None:
        learned |= {"target": classifier.labels[classifier.target_index(target)]}
    learned |= {"classifiers": [classifier.name or classifier.architecture], "texts": len(texts), "fit": asdict(config)}
    threshold = _ONE_DEVIATION if teacher is None else teacher.config.threshold
    student.config = replace(student.config, threshold=threshold, provenance=learned)
    return student if removed is None or not removed.uses_target else with_used(student, removed)


@dataclass(frozen=True, slots=True)
class _Teaching:
    """Who says what the scores should be."""

    teacher: ExpNet | None
    method: Method | Scorer | None
    method_weight: float
    seed: int

    @property
    def uses_target(self) -> bool:
        """Whether somebody asks which class: a method always does."""
        takers = [who for who in (self.teacher, self.method) if isinstance(who, Scorer)]
        return isinstance(self.method, Method) or any(who.uses_target for who in takers)

    def ask(self, classifier: Classifier, encoding: Encoding, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what to imitate, standardised within each window, and scores in [0, 1]; both [windows tokens]."""
        real, parts, scores = encoding.real, list[Tensor](), None
        if self.teacher is not None:
            logits = _logits(self.teacher, classifier, encoding, target)
            scores = self.teacher.calibrate(logits)
            parts.append((1 - self.method_weight) * _standard(logits, real))
        if isinstance(self.method, Scorer):
            parts.append(self.method_weight * _standard(_logits(self.method, classifier, encoding, target), real))
        elif self.method is not None and target is not None:
            values = self.method.attribute(classifier, encoding, target, options={}, seed=self.seed)
            parts.append(self.method_weight * _standard(values, real))
        wanted = _standard(torch.stack(parts).sum(0), real)
        if not wanted[real].isfinite().all():  # NaN means further on that nobody could say
            raise NonFiniteError("The explainer or method to imitate returned NaN or infinity for some of the texts.")
        return wanted, wanted.sigmoid() if scores is None else scores


def _logits(network: Scorer, classifier: Classifier, encoding: Encoding, target: Tensor | None) -> Tensor:
    _, features = read_features(classifier, encoding, network.config.features, target=target)
    with torch.no_grad():
        logits: Tensor = network(features)
    return logits


def _standard(values: Tensor, real: Tensor) -> Tensor:
    return normalise_within_text(values[..., None], real)[..., 0]


def _distillation_windows(
    classifier: Classifier,
    teaching: _Teaching,
    texts: Sequence[Text],
    student: ExpNet,
    explained: int | None,
    *,
    progress: bool,
) -> tuple[list[TrainingWindow], list[Tensor]]:
    """Return windows with what to imitate, and the scores of their tokens, of one class or of the predicted ones."""
    windows, scores = list[TrainingWindow](), list[Tensor]()
    batches = encoded(classifier, texts, size=TOGETHER)
    for _, encoding in track(
        batches, "asking the teacher", show=progress, total=len(texts), size=lambda batch: len(batch[0])
    ):
        target = None
        if teaching.uses_target or student.uses_target or classifier.hypotheses is not None:
            if explained is None:
                target = classifier.predict(encoding).chosen[encoding.text_of]
            else:
                target = torch.full_like(encoding.text_of, explained)
            encoding, target = classifier.about(encoding, target)
        _, features = read_features(classifier, encoding, student.config.features, target=target)
        wanted, level = teaching.ask(classifier, encoding, target)
        wanted = wanted.masked_fill(~encoding.real, torch.nan)
        for row, length in enumerate(encoding.mask.sum(1).tolist()):
            real = encoding.real[row]
            if real.any():
                window = student.config.features.window(features, row, length).half()
                windows.append(
                    TrainingWindow(window, wanted[row, :length], encoding.covers[row, :length], len(windows))
                )
                scores.append(level[row, real])
    return windows, scores
