"""A classifier, the capture of its attention and its ExpNet as one torch module, made to be traced."""

from dataclasses import replace

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from expnet.model.classifier import Classifier
from expnet.network.expnet import ExpNet


class ExplainingGraph(nn.Module):
    """Gives in one pass what `Explainer` computes of a batch of windows: logits, and a score for each token.

    Attention is computed in the open, by the eager backend: the kernels of the fused one, which return their
    log-sum-exp, have no counterpart in ONNX. So each layer builds its tokens × tokens matrix and drops it again.
    """

    def __init__(self, classifier: Classifier, network: ExpNet) -> None:
        super().__init__()
        self.model = classifier.model
        self.network = network
        self.support = replace(classifier.support, backend="eager")

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"],
        token_type_ids: Int[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Float[Tensor, "batch classes"], Float[Tensor, "batch tokens"]]:
        """Return logits, and the importance of each token in [0, 1], which means nothing where `real` is False.

        Args:
            input_ids: Tokens, padded on the right.
            attention_mask: 1 for tokens to read.
            real: True for tokens that stand for text.
            token_type_ids: For models that read them.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        features = self.network.config.features
        logits, seen = features.compute(self.model, inputs, real, support=self.support)
        return logits, self.network.calibrate(self.network(seen))
