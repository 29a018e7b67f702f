"""Make an ExpNet at home in a classifier by texts that nobody has marked."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from torch import Tensor

from expnet.classifier import Classifier
from expnet.errors import InputError
from expnet.features import normalise_within_text
from expnet.heads import HeadFeatures, read_features
from expnet.network import ExpNet
from expnet.progress import track
from expnet.texts import Text
from expnet.training.build import new_network
from expnet.training.config import STUDENT, FitConfig
from expnet.training.examples import Example
from expnet.training.judging import platt
from expnet.training.loops import draw, one_cycle
from expnet.training.loss import imitation_loss

_BATCH = 32


def adapt(
    classifier: Classifier,
    teacher: ExpNet,
    texts: Sequence[Text],
    *,
    config: FitConfig = STUDENT,
    progress: bool = False,
) -> ExpNet:
    """Train an ExpNet of one classifier to say what another says of its texts, each of the predicted class.

    The other knows no head of this classifier by place, the new one sees each head by itself; and it may make do
    with attention where the other takes gradients. Level and threshold go over: its scores are fitted to the other's.

    Args:
        classifier: The classifier.
        teacher: A network that fits it.
        texts: Texts like those to explain, unmarked; some hundred.
        config: Of the new network; it must train by steps.
        progress: Show progress bars.

    Raises:
        InputError: If there is no text with a word, or the configuration does not suit.
        MismatchError: If the teacher does not fit the classifier.
    """
    teacher.check_fits(classifier.architecture, classifier.support)
    student = new_network(classifier, config)
    if not config.steps:
        raise InputError("Expected a configuration that trains by steps, got steps=0.")
    lessons, scores = _lessons(classifier, teacher, texts, student, progress=progress)
    if not lessons:
        raise InputError(f"None of the {len(texts)} texts has a word, so there is nothing to learn from.")

    def loss(generator: torch.Generator) -> Tensor:
        features, targets = draw(lessons, config.batch_size, generator)
        return imitation_loss(student(features), targets)

    one_cycle(student, loss, config, progress=progress)
    with torch.no_grad():
        # A batch of one at a time, as a lesson is short and this happens once.
        logits = [student(draw([each], 1, torch.Generator())[0])[0] for each in lessons]
    counts = [~each.targets.isnan() for each in lessons]
    platt(student, torch.cat([a[b] for a, b in zip(logits, counts, strict=True)]), torch.cat(scores))
    learned = {"teacher": dict(teacher.config.provenance), "texts": len(texts), "fit": asdict(config)}
    student.config = replace(student.config, threshold=teacher.config.threshold, provenance=learned)
    return student


def _lessons(
    classifier: Classifier, teacher: ExpNet, texts: Sequence[Text], student: ExpNet, *, progress: bool
) -> tuple[list[Example], list[Tensor]]:
    """Return windows with the teacher's logits, standardised within each, and the teacher's scores of their tokens."""
    lessons, scores = list[Example](), list[Tensor]()
    order = sorted(texts, key=lambda text: len(text.text) + len(text.pair or ""))
    for start in track(range(0, len(order), _BATCH), "asking the teacher", show=progress):
        encoding = classifier.encode(order[start : start + _BATCH])
        target = None
        if teacher.uses_target or student.uses_target:
            target = classifier.predict(encoding).probabilities.argmax(1)[encoding.text_of]
        _, seen = read_features(classifier, encoding, teacher.config.features, target=target)
        _, own = read_features(classifier, encoding, student.config.features, target=target)
        with torch.no_grad():
            logits = teacher(seen)
        wanted = normalise_within_text(logits[..., None], encoding.real)[..., 0].masked_fill(~encoding.real, torch.nan)
        for row, length in enumerate(encoding.mask.sum(1).tolist()):
            real = encoding.real[row]
            if real.any():
                window = own.window(row, length) if isinstance(own, HeadFeatures) else own[row, :length]
                lessons.append(
                    Example(window.half(), wanted[row, :length], encoding.word_of[row, :length], len(lessons))
                )
                scores.append(teacher.calibrate(logits[row, real]))
    return lessons, scores
