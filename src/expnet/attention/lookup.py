"""Where a model looks its tokens up in its table of embeddings, and how what is found there is replaced."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.errors import UnsupportedModelError


class Lookup:
    """Replaces the embeddings of the tokens in one pass, however the model lays them out.

    Most models look up the ids as they are given. XLNet turns them, so that texts are the second axis; Longformer fills
    them up with padding; the decoder of an encoder-decoder reads them again, one place later, and then gets what
    replaced them before.

    Attributes:
        used: Whether anything was looked up.
    """

    def __init__(
        self, name: str, ids: Int[Tensor, "batch tokens"], embed: Callable[[Tensor], Tensor], *, again: bool
    ) -> None:
        """Prepare for a pass.

        Args:
            name: Of the model, for messages.
            ids: What it is given.
            embed: From the embeddings of these ids to what replaces them, both [batch, tokens, width].
            again: Whether a decoder reads the tokens again.
        """
        self._name, self._ids, self._embed, self._again = name, ids, embed, again
        self._edited: Tensor | None = None

    @property
    def used(self) -> bool:
        """Whether anything was looked up."""
        return self._edited is not None

    def __call__(self, ids: Int[Tensor, "..."], raw: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return what replaces the raw embeddings of these ids.

        Raises:
            UnsupportedModelError: If the ids are none of the layouts above.
        """
        given, tokens = self._ids, self._ids.shape[1]
        if self._again and self._edited is not None:
            if ids.shape != given.shape or not torch.equal(ids[:, 1:], given[:, :-1]):
                raise UnsupportedModelError(
                    f"The decoder of {self._name} does not read the encoder's tokens one place later, so that what "
                    "replaces a token for one would not replace it for the other."
                )
            return torch.cat([raw[:, :1], self._edited[:, :-1]], dim=1)
        if ids.shape == given.T.shape and not torch.equal(ids, given) and torch.equal(ids, given.T):
            self._edited = self._embed(raw.transpose(0, 1))
            return self._edited.transpose(0, 1)
        if ids.shape == given.shape:
            self._edited = self._embed(raw)
            return self._edited
        if ids.ndim == 2 and torch.equal(ids[:, :tokens], given):
            self._edited = self._embed(raw[:, :tokens])
            return torch.cat([self._edited, raw[:, tokens:]], dim=1)
        raise UnsupportedModelError(
            f"{self._name} looks up ids of shape {tuple(ids.shape)}, given {tuple(given.shape)}: which embedding "
            "belongs to which token is unknown."
        )
