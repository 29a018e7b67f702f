"""A window as a game: its tokens or words are the players, and a coalition is worth what the model says of it alone."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expnet.attention.intercept import run
from expnet.attention.targets import logit_of, probability_of
from expnet.methods.passes import generator_of, score_parts
from expnet.methods.replacement import Replacement, baseline_embedding, pad_id
from expnet.model.capacity import budget
from expnet.model.classifier import Classifier
from expnet.model.entailment import Hypotheses
from expnet.text.encoding import Encoding

Output = Literal["logit", "probability"]
Unit = Literal["token", "word"]
# What the model said of each batch of coalitions, by a hash of that batch; None outside `shared_logits`.
_LOGITS: ContextVar[dict[bytes, Tensor] | None] = ContextVar("logits", default=None)


@dataclass(frozen=True, slots=True)
class Game:
    """Windows, and what a coalition of a window's players is worth.

    A player is a token, or all tokens of a word (of several words, where a token covers several). Players are numbered
    from 0 in reading order; special tokens and padding belong to none (-1) and always stay.
    """

    classifier: Classifier
    part: Encoding
    target: Int[Tensor, " batch"]
    player_of: Int[Tensor, "batch tokens"]
    replacement: Replacement
    output: Output

    @property
    def count(self) -> Int[Tensor, " batch"]:
        """How many players each window has."""
        return self.player_of.amax(1) + 1

    @property
    def everyone(self) -> Bool[Tensor, "batch players"]:
        """The coalition of all players; as wide as the largest game, False where a window has no such player."""
        return torch.arange(int(self.count.max())) < self.count[:, None]


def play(
    classifier: Classifier,
    encoding: Encoding,
    target: Int[Tensor, " batch"],
    solve: Callable[[Game], Tensor],
    *,
    replacement: Replacement,
    output: Output,
    unit: Unit,
    repeats: int = 1,
) -> Float[Tensor, "batch tokens"]:
    """Score the players of all windows and hand the scores on to the tokens.

    Args:
        classifier: The classifier.
        encoding: Windows.
        target: A class for each window.
        solve: Scores the players of some windows, [batch, players].
        replacement: What stands for a token that is taken away; "delete" closes the gap.
        output: What a coalition is worth: the target's logit, or its probability. Of a regression both are its value.
        unit: What is taken away together; see `players`. The tokens of a word share its score equally.
        repeats: As in `score_parts`.
    """

    def score(part: Encoding, chosen: Tensor) -> Tensor:
        if not part.real.any():
            return torch.zeros(part.ids.shape)
        game = Game(classifier, part, chosen, players(part, unit), replacement, output)
        scores = solve(game)
        tokens = torch.zeros_like(scores).scatter_add_(
            1, game.player_of.clamp(min=0), (game.player_of >= 0).to(scores.dtype)
        )
        return _at_tokens(scores / tokens.clamp(min=1), game.player_of, 0.0)

    return score_parts(encoding, target, score, repeats=repeats)


@contextmanager
def shared_logits() -> Iterator[None]:
    """Run a batch of coalitions once in the block, whatever targets it is played for; one classifier in a block."""
    token = _LOGITS.set({})
    try:
        yield
    finally:
        _LOGITS.reset(token)


def values(game: Game, coalitions: Bool[Tensor, "batch coalitions players"]) -> Float[Tensor, "batch coalitions"]:
    """Return what each coalition is worth; the same coalition of a window is run once.

    With "mask", "pad" and "zero" the embedding of a missing token is replaced. With "delete" the tokens that stay move
    up; where nothing stays, not even a special token, the model reads a single padding token.
    """
    hypotheses = game.classifier.hypotheses
    if hypotheses is not None:
        label = game.target if game.part.asked is None else game.part.asked
        if game.output == "probability" and not game.classifier.multi_label:
            return _among_labels(game, label, hypotheses, coalitions)
        game = _about(game, label, hypotheses)
    window = torch.arange(len(coalitions))[:, None, None].expand(-1, coalitions.shape[1], 1)
    table = torch.cat([window.short(), coalitions.short()], dim=2).flatten(0, 1)
    # Sorted rows also bring the rows of a window together.
    table, place = table.unique(dim=0, return_inverse=True)
    window = table[:, 0].long()
    keep = _at_tokens(table[:, 1:].bool(), game.player_of[window], True) & game.part.mask[window]
    stay = keep if game.replacement == "delete" else game.part.mask[window]
    lengths, order = stay.sum(1).sort(stable=True)
    worth = torch.zeros(len(order))
    even = game.part.pad is None
    for start, stop in _spans(
        lengths.clamp(min=1).tolist(), budget(game.classifier.model.device, copies=True), even=even
    ):
        rows = order[start:stop]
        worth[rows] = _forward(game, window[rows], keep[rows], stay[rows])
    return worth[place].view(coalitions.shape[:2])


def draw(game: Game, samples: int, seed: int) -> Float[Tensor, "batch {samples} players"]:
    """Draw numbers in [0, 1) for each player, which depend on the window alone; infinity where there is no player."""
    drawn = torch.full((len(game.part), samples, game.everyone.shape[1]), torch.inf)
    for row, count in enumerate(game.count.tolist()):
        drawn[row, :, :count] = torch.rand(samples, count, generator=generator_of(game.part, row, seed))
    return drawn


def ranks(numbers: Float[Tensor, "*batch players"]) -> Int[Tensor, "*batch players"]:
    """Return how many numbers are smaller than each."""
    return numbers.argsort(-1).argsort(-1)


def players(part: Encoding, unit: Unit) -> Int[Tensor, "batch tokens"]:
    """Return the player that each token belongs to; -1 for special tokens and padding.

    With "word", the tokens of a word are one player, and so are words that a token covers together.
    """
    first = part.real
    if unit == "word":
        start, stop = part.covers.unbind(-1)
        reached = torch.zeros_like(stop)
        for segment in (0, 1):
            mine = part.segment == segment
            before = F.pad(stop.masked_fill(~mine, 0).cummax(1).values, (1, -1))
            reached = torch.where(mine, before, reached)
        first = first & ((start >= reached) | (stop == start))
    return (first.cumsum(1) - 1).masked_fill(~part.real, -1)


def _about(game: Game, label: Int[Tensor, " batch"], hypotheses: Hypotheses) -> Game:
    """Return a game with the hypotheses of zero-shot labels; it is worth their logits, or what these alone tell."""
    part = hypotheses.ask(game.part, label)
    player_of = F.pad(game.player_of, (0, part.ids.shape[1] - game.player_of.shape[1]), value=-1)
    return replace(game, part=part, player_of=player_of, target=torch.full_like(label, hypotheses.target))


def _among_labels(
    game: Game,
    label: Int[Tensor, " batch"],
    hypotheses: Hypotheses,
    coalitions: Bool[Tensor, "batch coalitions players"],
) -> Float[Tensor, "batch coalitions"]:
    """Return the probability of a zero-shot label among the others, which takes the passes of all of them."""
    of_logits = replace(game, output="logit")
    of_labels = [
        _about(of_logits, torch.full_like(label, other), hypotheses) for other in range(len(hypotheses.lengths))
    ]
    outputs = game.classifier.outputs(torch.stack([values(of_label, coalitions) for of_label in of_labels], -1))
    return outputs.gather(-1, label[:, None, None].expand(*outputs.shape[:2], 1)).squeeze(-1)


def _at_tokens(of_players: Tensor, player_of: Tensor, otherwise: bool | float) -> Tensor:
    """Give each token what its player has; special tokens and padding get `otherwise`."""
    # One more column, which -1 points at.
    widened = F.pad(of_players, (0, 1), value=otherwise)
    return widened.gather(1, player_of.remainder(widened.shape[1]))


def _spans(lengths: list[int], most: int, *, even: bool) -> list[tuple[int, int]]:
    """Cut ascending lengths into batches of at most so many tokens, of one row at least, or of equal ones only."""
    spans, start = [], 0
    for stop in range(1, len(lengths) + 1):
        full = stop == len(lengths) or lengths[stop] * (stop + 1 - start) > most
        if full or (even and lengths[stop] != lengths[start]):
            spans.append((start, stop))
            start = stop
    return spans


def _forward(game: Game, window: Tensor, keep: Tensor, stay: Tensor) -> Float[Tensor, " rows"]:
    """Run windows of which only the kept tokens can be read, and of which only those that stay have a place."""
    classifier, device = game.classifier, game.classifier.model.device
    place = (~stay).byte().argsort(dim=1, stable=True)[:, : max(1, int(stay.sum(1).max()))]
    inputs = {name: tensor[window].gather(1, place) for name, tensor in game.part.inputs().items()}
    present = stay.gather(1, place)
    if not present.all():
        inputs["input_ids"] = inputs["input_ids"].masked_fill(~present, pad_id(classifier))
    present[:, 0] = True
    inputs["attention_mask"] = present.long()
    # Padding keeps its embedding: in MobileBERT that of the next position is part of a token's.
    missing = (stay & ~keep).gather(1, place)[:, :, None].to(device)

    logits = _logits(game, {name: tensor.to(device) for name, tensor in inputs.items()}, missing)
    with torch.inference_mode():
        target = game.target[window].to(logits.device)
        if game.output == "probability":
            return probability_of(classifier.outputs(logits), logits, target).cpu()
        return logit_of(logits, target).cpu()


def _logits(game: Game, inputs: dict[str, Tensor], missing: Tensor) -> Float[Tensor, "rows classes"]:
    """Return what the model says of rows of which some embeddings are replaced, from `shared_logits` if it is there."""
    shared, key = _LOGITS.get(), b""
    if shared is not None:
        told = (repr(missing.shape).encode(), *(t.cpu().numpy().tobytes() for t in (*inputs.values(), missing)))
        key = hashlib.blake2b(b"".join(told)).digest()
        if key in shared:
            return shared[key]

    def embed(raw: Tensor) -> Tensor:
        return torch.where(missing, base, raw)

    with torch.inference_mode():
        if game.replacement == "delete":
            logits = run(game.classifier.model, inputs).logits.float()
        else:
            base = baseline_embedding(game.classifier, game.replacement)
            logits = run(game.classifier.model, inputs, embed=embed).logits.float()
    if shared is not None:
        shared[key] = logits
    return logits
