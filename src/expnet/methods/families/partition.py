"""Owen values on a tree of neighbouring tokens, by the `shap` package."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import require_extra
from expnet.methods.coalitions import Game, Output, play, values
from expnet.methods.method import Method, at_least
from expnet.methods.replacement import Replacement
from expnet.model.capacity import MOST
from expnet.model.classifier import Classifier
from expnet.runtime.locks import Lock
from expnet.text.encoding import Encoding

_LOCK = Lock()
# Coalitions in one pass. The next ones are chosen by what these are worth.
_BATCH = 32


def partition_shap(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    *,
    samples: int = 500,
    replacement: Replacement = "mask",
    output: Output = "logit",
) -> Float[Tensor, "batch tokens"]:
    """Split the worth of the text between its halves, their halves and so on down to tokens; signed, complete.

    The tree joins neighbours into words, phrases and sentences by punctuation, as `shap` does for texts. The parts
    that matter most are split first; what is not split when the samples are used up is shared equally.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        samples: Remainders of each text at most, the whole and the empty text among them.
        replacement: What stands for the tokens; "delete" closes the gap.
        output: Whether logits or probabilities are explained.

    Raises:
        MissingExtraError: If `shap` is not installed.
        OptionError: If there are fewer than 2 samples, or the tokenizer has no mask token and `replacement` is "mask".
    """
    require_extra("shap", "methods")
    at_least(2, samples=samples)

    def solve(game: Game) -> Tensor:
        with _shap() as shap:
            return torch.from_numpy(_owen_values(shap, game, samples))[None]

    return play(
        classifier,
        encoding,
        target,
        solve,
        replacement=replacement,
        output=output,
        unit="token",
        repeats=MOST,  # windows one by one
    )


PARTITION_SHAP = Method(
    name="partition_shap",
    family="surrogate",
    measures="How much the word adds to the output, averaged over which phrases of the text are there",
    function=partition_shap,
    paper="Lundberg and Lee 2017, arXiv:1705.07874",
    forward="samples",
    signed=True,
    uses_target=True,
    complete=True,
    extra="methods",
)


def _owen_values(shap: Any, game: Game, samples: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    players = int(game.count)

    def worth(kept: "np.ndarray[Any, np.dtype[np.bool_]]") -> "np.ndarray[Any, np.dtype[np.float64]]":
        return values(game, torch.from_numpy(kept)[None])[0].double().numpy()

    if players == 1:  # no tree
        nothing, all_of_it = worth(np.array([[False], [True]]))
        return np.array([all_of_it - nothing])
    explainer = shap.PartitionExplainer(worth, _Masker(_tree(shap, game)))
    text = np.ones((1, players), dtype=bool)
    owen_values = explainer(text, max_evals=samples, batch_size=_BATCH, silent=True).values[0]
    return np.asarray(owen_values, dtype=np.float64)


class _Masker:
    """Hands the masks of tokens on as they are, where `shap` would write texts."""

    def __init__(self, tree: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
        self.clustering = tree
        self.shape = (1, len(tree) + 1)

    def __call__(self, mask: Any, _text: Any) -> Any:
        return (np.array(mask, dtype=bool)[None],)


def _tree(shap: Any, game: Game) -> "np.ndarray[Any, np.dtype[np.float64]]":
    part, real = game.part, game.part.real[0]
    text = part.texts[int(part.text_of[0])]
    shift = part.segment[0][real] * (len(text.text) + 1)
    spans = (part.offsets[0][real] + shift[:, None]).tolist()

    def tokens(string: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": list(range(len(spans))), "offset_mapping": spans} if string else {"input_ids": []}

    merges = shap.maskers.Text(tokens, mask_token=0).clustering(f"{text.text}\n{text.pair or ''}")
    return np.asarray(merges, dtype=np.float64)


@contextmanager
def _shap() -> Iterator[Any]:
    """Import the package and put numpy's global source of randomness back, by which it breaks ties."""
    with _LOCK, warnings.catch_warnings():
        # Importing it sets off warnings of matplotlib.
        warnings.simplefilter("ignore")
        import shap

        state = np.random.get_state()
        np.random.seed(0)
        try:
            yield shap
        finally:
            np.random.set_state(state)
