"""Train an ExpNet on what people marked in texts of one classifier or several."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from expnet.errors import InputError, RationaleError
from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet
from expnet.rationales import Record
from expnet.runtime.ambient import torch_defaults
from expnet.runtime.versions import versions
from expnet.training.build import continued, new_network
from expnet.training.config import FitConfig
from expnet.training.evaluation import AnnotatedText, annotated_texts, calibrate, evaluate
from expnet.training.examples import TrainingWindow, extract
from expnet.training.loops import in_epochs, in_one_cycle

_ENOUGH_TO_SPLIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A classifier and the annotated texts it is explained on; `name` goes into the provenance.

    Sources of one `family` (of tasks that are much alike) share its part of each step of a one-cycle training; a
    source without one is a family of its own.

    Without `dev`, a tenth of `train` is held out if it has 100 annotated texts or more; below that nothing is,
    training runs all its epochs, and the calibration is that of the training texts.
    """

    classifier: Classifier
    train: Sequence[Record]
    dev: Sequence[Record] | None = None
    name: str = ""
    family: str = ""


@torch_defaults()
def fit_mixture(
    sources: Sequence[Source],
    *,
    config: FitConfig | None = None,
    warm_start: ExpNet | None = None,
    cache: Path | None = None,
    progress: bool = False,
) -> ExpNet:
    """Train one ExpNet on any mixture of classifiers and their annotated texts.

    Records without a rationale are left out. The epoch with the best average precision on the development texts
    wins; they also calibrate the scores and choose the threshold with the best F1 over all words.

    Args:
        sources: Classifiers, each with its texts; of one architecture, layers and heads unless the features are those
            of sets of heads.
        config: Hyper-parameters.
        warm_start: Start from this network's weights; its features, context and hidden layers are kept, how much is
            dropped in training is `config`'s.
        cache: Folder in which extracted features are kept, so that a second or resumed run is quick.
        progress: Show progress bars.

    Raises:
        MismatchError: If the classifiers, or the warm start, do not fit each other.
        RationaleError: If there is nothing to learn from, or a label is unknown to its classifier.
    """
    if not sources:
        raise InputError("Expected at least one source to train on, got none.")
    config = config or FitConfig()
    network = new_network(sources[0].classifier, config) if warm_start is None else continued(warm_start, config)
    for source in sources:
        network.check_fits(source.classifier.architecture, source.classifier.support)
    features = network.config.features
    train: list[AnnotatedText] = []
    dev: list[AnnotatedText] = []
    families: dict[str, list[list[TrainingWindow]]] = {}
    for number, source in enumerate(sources):
        learn, held = _split(source, config.seed)
        title = f"reading attention {source.name}".strip()
        for records, texts, part in ((learn, train, ""), (held, dev, " (dev)")):
            windows = extract(
                source.classifier,
                records,
                features,
                explain=config.explain,
                cache=cache,
                title=title + part,
                progress=progress,
            )
            texts += annotated_texts(windows, records)
            if texts is train:
                families.setdefault(source.family or f"source {number}", []).append(windows)
    for name, texts in (("training", train), ("development", dev)):
        if texts and not any(text.marks.any() for text in texts):
            raise RationaleError(f"No word of the {len(texts)} {name} texts is marked, so there is nothing to go by.")
    if config.steps:
        in_one_cycle(network, list(families.values()), config, progress=progress)
    else:
        in_epochs(network, [example for text in train for example in text.examples], dev, config, progress=progress)
    calibrate(network, dev or train)
    return _sign(network, sources, config, train, dev, warm=warm_start is not None)


def _split(source: Source, seed: int) -> tuple[list[Record], list[Record]]:
    annotated = [_known(record, source.classifier) for record in source.train if record.rationale is not None]
    if not annotated:
        raise RationaleError(f"None of the {len(source.train)} records has a rationale, so there is nothing to learn.")
    if source.dev is not None:
        held = [_known(record, source.classifier) for record in source.dev if record.rationale is not None]
        if not held:
            raise RationaleError(f"None of the {len(source.dev)} development records has a rationale.")
        return annotated, held
    if len(annotated) < _ENOUGH_TO_SPLIT:
        return annotated, []
    order = np.random.default_rng(seed).permutation(len(annotated))
    tenth = len(annotated) // 10
    return [annotated[i] for i in order[tenth:]], [annotated[i] for i in order[:tenth]]


def _known(record: Record, classifier: Classifier) -> Record:
    if record.label is not None:
        try:
            classifier.target_index(record.label)
        except InputError as error:
            raise RationaleError(f"Record {record.id!r}: {error}") from error
    return record


def _sign(
    network: ExpNet,
    sources: Sequence[Source],
    config: FitConfig,
    train: list[AnnotatedText],
    dev: list[AnnotatedText],
    warm: bool,
) -> ExpNet:
    """Write into the configuration where the network comes from."""
    reached = evaluate(network, dev) if dev else {}
    figures = {f"dev {name}": round(value, 4) for name, value in reached.items() if not np.isnan(value)}
    provenance = {
        "sources": [source.name or source.classifier.name for source in sources],
        "classifiers": list(
            dict.fromkeys(source.classifier.name or source.classifier.architecture for source in sources)
        ),
        "texts": len(train),
        "dev texts": len(dev),
        **figures,
        "warm start": warm,
        "fit": asdict(config),
        "versions": versions(),
    }
    if network.config.used and "used" in network.config.provenance:
        provenance["used"] = network.config.provenance["used"]  # marks taught the first output alone
    network.config = replace(network.config, provenance=provenance)
    return network
