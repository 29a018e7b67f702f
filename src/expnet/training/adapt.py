"""Distil an ExpNet, or a method, into a network of one classifier's own, on unmarked texts."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from expnet.errors import InputError, NonFiniteError
from expnet.methods.method import Method
from expnet.methods.registry import find_method
from expnet.model.batches import encoded
from expnet.model.classifier import Classifier
from expnet.network.channels import Tier
from expnet.network.expnet import ExpNet
from expnet.network.features import normalise_within_text
from expnet.network.inputs import read_features
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.progress import track
from expnet.text.encoding import Encoding
from expnet.text.texts import Text, as_texts
from expnet.training.build import new_network
from expnet.training.config import STUDENT, FitConfig, with_tier
from expnet.training.evaluation import platt
from expnet.training.examples import TOGETHER, TrainingWindow, collate
from expnet.training.loops import draw, one_cycle
from expnet.training.loss import imitation_loss

_ONE_DEVIATION = torch.tensor(1.0).sigmoid().item()


@torch_defaults()
def adapt(
    classifier: Classifier,
    teacher: ExpNet | None,
    texts: Iterable[str | Text],
    *,
    target_method: str | None = None,
    method_weight: float = 0.5,
    tier: Tier = "attention",
    config: FitConfig | None = None,
    seed: int = 0,
    target: str | int | None = None,
    progress: bool = False,
) -> ExpNet:
    """Train an ExpNet of one classifier to say of its texts what another or a method does.

    The teacher sees the heads as a set; the student sees each head of this classifier separately, and may use attention
    alone where the teacher takes gradients. The calibration is copied: the student's scores are fitted to those of the
    teacher.

    With `target_method`, and no teacher, it learns from no marks to say in one pass what a method says in many, as
    FastSHAP does (Jethani et al. 2022, arXiv:2107.07436); scores then lie above 0.73, the threshold, where the
    method's lie more than a standard deviation above their mean over the text. With both, it learns the mixture.

    Args:
        classifier: The classifier.
        teacher: A network that fits it, or None.
        texts: Texts like those to explain, unmarked; some hundred.
        target_method: Name of a method to learn from, such as "leave_one_out" or "shapley_sampling".
        method_weight: Weight of the method's scores beside the teacher's, in (0, 1); both are standardised within each
            text before.
        tier: "attention" makes an explainer that comes with the prediction, "gradient" one that takes a backward pass
            as well. Not used with `config`.
        config: Of the new network, instead of what suits the tier; it must train by steps.
        seed: Of training; not used with `config`, which has its own.
        target: Class that the scores of all texts are of, by name or index; by default each text's predicted class. A
            regression with several outputs needs one, unless all that takes part sees attention alone.
        progress: Show progress bars.

    Raises:
        InputError: If there is no text with a word, nobody to learn from, or no such class, a regression with several
            outputs is given no target, or the configuration does not suit.
        MethodError: If there is no such method.
        MismatchError: If the teacher does not fit the classifier.
        NonFiniteError: If the teacher or the method returns NaN or infinity.
    """
    config = replace(with_tier(STUDENT, tier), seed=seed) if config is None else config
    if teacher is None and target_method is None:
        raise InputError(
            "There is nobody to learn from: pass a teacher, the name of a method as `target_method`, or both."
        )
    if not 0 < method_weight < 1:
        raise InputError(f"Expected a method_weight between 0 and 1, got {method_weight}.")
    if teacher is not None:
        teacher.check_fits(classifier.architecture, classifier.support)
    texts = as_texts(texts)
    ask = _Teaching(teacher, None if target_method is None else find_method(target_method), method_weight, config.seed)
    student = new_network(classifier, config)
    if not config.steps:
        raise InputError("Expected a configuration that trains by steps, got steps=0.")
    explained = None
    if target is not None or ask.uses_target or student.uses_target or classifier.hypotheses is not None:
        explained = classifier.output_index(target)
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
    if target_method is not None:
        learned |= {"target_method": target_method} | ({} if teacher is None else {"method_weight": method_weight})
    if target is not None:
        learned |= {"target": classifier.labels[classifier.target_index(target)]}
    learned |= {"classifiers": [classifier.name or classifier.architecture], "texts": len(texts), "fit": asdict(config)}
    threshold = _ONE_DEVIATION if teacher is None else teacher.config.threshold
    student.config = replace(student.config, threshold=threshold, provenance=learned)
    return student


@dataclass(frozen=True, slots=True)
class _Teaching:
    """Who says what the scores should be."""

    teacher: ExpNet | None
    method: Method | None
    method_weight: float
    seed: int

    @property
    def uses_target(self) -> bool:
        return self.method is not None or (self.teacher is not None and self.teacher.uses_target)

    def ask(self, classifier: Classifier, encoding: Encoding, target: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what to imitate, standardised within each window, and scores in [0, 1]; both [windows tokens]."""
        real, parts, scores = encoding.real, list[Tensor](), None
        if self.teacher is not None:
            _, seen = read_features(classifier, encoding, self.teacher.config.features, target=target)
            with torch.no_grad():
                logits = self.teacher(seen)
            scores = self.teacher.calibrate(logits)
            parts.append((1 - self.method_weight) * _standard(logits, real))
        if self.method is not None and target is not None:
            values = self.method.attribute(classifier, encoding, target, options={}, seed=self.seed)
            parts.append(self.method_weight * _standard(values, real))
        wanted = _standard(torch.stack(parts).sum(0), real)
        if not wanted[real].isfinite().all():  # NaN means further on that nobody could say
            raise NonFiniteError("The explainer or method to imitate returned NaN or infinity for some of the texts.")
        return wanted, wanted.sigmoid() if scores is None else scores


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
