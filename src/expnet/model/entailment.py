"""A model of natural language inference as a classifier of labels: which hypothesis a window holds, and its logit."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expnet.attention.targets import contrast, logit_of
from expnet.errors import ModelError, UnsupportedModelError
from expnet.text.encoding import Encoding
from expnet.text.hypotheses import HypothesisTokenizer
from expnet.text.labels import class_names
from expnet.text.zero_shot import ZeroShot


@dataclass(frozen=True, slots=True)
class Hypotheses:
    """Puts the hypothesis of any label behind a premise, and names the label's logit among those of the model.

    Attributes:
        target: The model's output that is a label's logit, as methods take it: entailment, or entailment against
            contradiction where each label is judged by itself.
        ids: What follows the premise, for each label, padded.
        type_ids: Likewise.
        lengths: Tokens of each.
        longest: Number of the label whose hypothesis an encoding holds that is about no label yet.
    """

    target: int
    ids: Int[Tensor, "labels tokens"]
    type_ids: Int[Tensor, "labels tokens"]
    lengths: Int[Tensor, " labels"]
    longest: int

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, zero_shot: ZeroShot
    ) -> tuple["Hypotheses", HypothesisTokenizer]:
        """Return the hypotheses of labels, and what tokenizes premises for them.

        Raises:
            InputError: If the tokenizer cannot tell two labels apart.
            ModelError: If no class of the model is entailment, or only one class is there.
        """
        reader = HypothesisTokenizer.of(tokenizer, zero_shot)
        target = _target(model, independent=zero_shot.independent)
        ids, type_ids = (
            pad_sequence([torch.tensor(getattr(tail, name)) for tail in reader.tails], batch_first=True)
            for name in ("ids", "type_ids")
        )
        lengths = torch.tensor([len(tail.ids) for tail in reader.tails])
        return cls(target, ids, type_ids, lengths, reader.longest), reader

    def ask(self, encoding: Encoding, label: Int[Tensor, " batch"]) -> Encoding:
        """Return the windows with the hypotheses of these labels behind their premises.

        Tokens of the premise keep their places. The result is as wide as its longest window.

        Raises:
            UnsupportedModelError: If a label is a contrast of two: each is read in a pass of its own.
        """
        if bool((label >= len(self.lengths)).any()):
            raise UnsupportedModelError(
                "Each zero-shot label is read in a pass of its own, so that no pass holds the contrast of two. Explain "
                "the one label and the other."
            )
        held = torch.full_like(label, self.longest) if encoding.asked is None else encoding.asked
        start = encoding.mask.sum(1) - self.lengths[held]
        stop = start + self.lengths[label]
        more = int(stop.max()) - encoding.ids.shape[1]  # below 0 where the widest hypothesis went
        place = torch.arange(int(stop.max()))
        mask = place < stop[:, None]
        behind = mask & (place >= start[:, None])
        column = (place - start[:, None]).clamp(0, self.ids.shape[1] - 1)

        def tail(values: Tensor, premise: Tensor, padding: int) -> Tensor:
            wide = F.pad(premise, (0, more)).masked_fill(~mask, padding)
            return torch.where(behind, values[label[:, None], column], wide)

        types = encoding.type_ids
        return replace(
            encoding,
            ids=tail(self.ids, encoding.ids, encoding.pad or 0),
            mask=mask,
            special=behind | (F.pad(encoding.special, (0, more)) & mask),
            offsets=F.pad(encoding.offsets, (0, 0, 0, more)),
            segment=F.pad(encoding.segment, (0, more), value=-1),
            covers=F.pad(encoding.covers, (0, 0, 0, more)),
            token_of=F.pad(encoding.token_of, (0, more), value=-1),
            type_ids=None if types is None else tail(self.type_ids, types, 0),
            asked=label,
        )

    def logits(
        self, encoding: Encoding, run: Callable[[Encoding], Float[Tensor, "rows classes"]]
    ) -> Float[Tensor, "rows labels"]:
        """Return the logits of all labels; `run`, called once a label, gives those of the model."""
        columns = []
        for label in range(len(self.lengths)):
            of_model = run(self.ask(encoding, torch.full_like(encoding.text_of, label))).float()
            target = torch.full((len(of_model),), self.target, device=of_model.device)
            columns.append(logit_of(of_model, target))
        return torch.stack(columns, 1)


def _target(model: PreTrainedModel, *, independent: bool) -> int:
    """Return entailment, or its contrast with contradiction, which is the class of that name, or else an outer one."""
    names = class_names(model.config.id2label, model.config.label2id)
    kinds = [name.lower() for name in names]
    entailment = next((number for number, name in enumerate(kinds) if name.startswith("entail")), None)
    if entailment is None or len(names) < 2 or model.config.problem_type == "regression":
        raise ModelError(
            f"The classes of {type(model).__name__} are {', '.join(map(repr, names[:10]))}; zero-shot labels need a "
            "model of natural language inference, one of whose classes is called entailment."
        )
    if not independent:
        return entailment
    named = next((number for number, name in enumerate(kinds) if name.startswith("contra")), None)
    outer = 0 if entailment else len(names) - 1  # transformers' choice
    return contrast(entailment, outer if named is None else named, len(names))
