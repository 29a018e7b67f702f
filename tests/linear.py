"""A classifier whose logits are a sum over its tokens, so that what each token contributes is known."""

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from expnet.model.classifier import Classifier
from tests.models import VOCABULARY, tokenizer


class LinearConfig(PretrainedConfig):
    model_type = "linear"

    def __init__(self, **settings):
        super().__init__(**{"num_labels": 3, "pad_token_id": 0, "num_hidden_layers": 0, **settings})


class LinearForSequenceClassification(PreTrainedModel):
    """logits = bias + the sum of `head` times embedding over the tokens that are not padding."""

    config_class = LinearConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(len(VOCABULARY), 8)
        self.head = nn.Linear(8, config.num_labels)

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_):
        summed = (self.words(input_ids) * attention_mask[..., None]).sum(1)
        return SequenceClassifierOutput(logits=self.head(summed))


def linear_classifier(*, seed: int = 0) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LinearForSequenceClassification(LinearConfig()).eval()
    return Classifier(model, tokenizer(model_max_length=128), name="linear")


def contributions(classifier: Classifier, ids: Tensor, target: Tensor) -> Tensor:
    """Return head · embedding of each token, [batch, tokens]: what it adds to the target's logit."""
    model = classifier.model
    words, head = model.get_parameter("words.weight"), model.get_parameter("head.weight")
    with torch.no_grad():
        return torch.einsum("btd,bd->bt", words[ids], head[target])
