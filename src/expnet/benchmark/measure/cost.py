"""The cost of a method compared with the bare prediction: time and memory."""

from collections.abc import Sequence

import torch

from expnet.benchmark.measure.measures import Values
from expnet.benchmark.measure.scores import ScoringJob
from expnet.model.classifier import Classifier
from expnet.runtime.memory import peak
from expnet.text.texts import Text
from expnet.timing.clock import interleave

_REPEATS, _SECONDS = 5, 20.0


def cost(classifier: Classifier, texts: Sequence[Text], job: ScoringJob) -> Values:
    """Measure a method on a batch, in turns with the prediction.

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

    device = classifier.model.device
    runs = {"prediction": predict, "method": explain}
    times = interleave(runs, reference="prediction", rounds=_REPEATS, seconds=_SECONDS, device=device)["method"]
    ratios = times.ratios("seconds" if device.type == "cuda" else "processor")
    grown = peak(explain, device) - peak(predict, device)
    return {"ratio": ratios, "megabytes": [grown] + [float("nan")] * (len(ratios) - 1)}
