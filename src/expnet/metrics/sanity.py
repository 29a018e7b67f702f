"""Does an explanation depend on what the model has learned?

Scores of the trained model and of its `randomised` copy should differ; `rank_correlation` of the two, layer by layer,
says whether they do. A method whose scores survive shows the text, not the model. For the dependence on the target
compare the scores of two targets likewise.
"""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel

from expnet.attention.borrow import borrow
from expnet.errors import InputError
from expnet.methods.layers import layer_stack
from expnet.model.classifier import Classifier
from expnet.runtime.ambient import torch_defaults


@torch_defaults()
def randomised(classifier: Classifier, *, layers: int, seed: int) -> Classifier:
    """Return a copy whose head and top layers are as before training (cascading randomisation).

    The head is what stands outside the base model, and the base model's pooler. The new weights are those of a model
    of the same class and config that was just made, so the architecture itself says how. See Adebayo et al. 2018,
    arXiv:1810.03292.

    Args:
        classifier: Stays as it is; nothing is shared but the tokenizer.
        layers: How many of the top layers, beside the head; 0 for the head alone.
        seed: Of the new weights. With the same seed a layer gets the same weights, however many are replaced.

    Raises:
        InputError: If the model has fewer layers, or the number is negative.
        UnsupportedModelError: If the model keeps no list of its layers.
    """
    count = len(layer_stack(classifier.model))
    if not 0 <= layers <= count:
        raise InputError(f"Expected 0 to {count} layers to randomise, got {layers}.")
    with borrow(classifier.model):
        model = copy.deepcopy(classifier.model)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        fresh = type(model)(copy.deepcopy(model.config))
    for trained, new in zip(_parts(model, layers), _parts(fresh, layers), strict=True):
        trained.load_state_dict(new.state_dict())
    limit, prompt = classifier.max_length, classifier.prompt
    return Classifier(model, classifier.tokenizer, name=classifier.name, max_length=limit, prompt=prompt)


def _parts(model: PreTrainedModel, layers: int) -> list[nn.Module]:
    stack, pooler = layer_stack(model), getattr(model.base_model, "pooler", None)
    head = [child for child in model.children() if child is not model.base_model]
    return [*head, *([] if pooler is None else [pooler]), *stack[len(stack) - layers :]]
