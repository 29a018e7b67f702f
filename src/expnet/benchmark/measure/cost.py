"""What a method costs beside the bare prediction: time, passes, memory."""

import time
from collections.abc import Callable, Sequence

import torch

from expnet.benchmark.measure.measures import Values
from expnet.benchmark.measure.scores import ScoringJob
from expnet.model.classifier import Classifier
from expnet.runtime.memory import peak
from expnet.text.texts import Text

_REPEATS, _SECONDS = 5, 20.0


def cost(classifier: Classifier, texts: Sequence[Text], job: ScoringJob) -> Values:
    """Measure a method on a batch, each run between two runs of the prediction.

    Returns:
        `ratio`, for each repeat, the processor time (on a GPU: time) of the method over that of the prediction;
        `megabytes`, once, by how much more the peak of memory grows than in the prediction; NaN where the operating
        system does not say.
    """
    encoding = classifier.encode(list(texts))
    target = torch.zeros(len(encoding), dtype=torch.long)

    def explain() -> None:
        job.method.attribute(classifier, encoding, target, options=job.options, seed=job.seed, network=job.network)

    def predict() -> None:
        classifier.predict(encoding)

    predict()
    explain()  # warm
    device = classifier.model.device
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    ratios: list[float] = []
    start, before = time.perf_counter(), _seconds(predict, clock)
    while len(ratios) < _REPEATS and (not ratios or time.perf_counter() - start < _SECONDS):
        took, after = _seconds(explain, clock), _seconds(predict, clock)
        ratios.append(2 * took / (before + after))
        before = after
    grown = peak(explain, device) - peak(predict, device)
    return {"ratio": ratios, "megabytes": [grown] + [float("nan")] * (len(ratios) - 1)}


def _seconds(run: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start
