"""Signals of no model, for tests of what is made of them."""

import torch

from expnet.attention.signals import Evidence, Signals


def random_signals(layers, heads, lengths, seed=0):
    """Signals of no model: rows that sum to 1, the rest in a like range; and masks with special tokens at the ends."""
    generator = torch.Generator().manual_seed(seed)
    size = (len(lengths), layers, heads, max(lengths))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    real = mask & (torch.arange(max(lengths)) > 0) & (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None] - 1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    def attention():
        return (3 * draw(*size)).masked_fill(~mask[:, None, None], -torch.inf).log_softmax(-1)

    evidence = Evidence(
        gradients=draw(*size),
        products=draw(*size) / 5,
        received=draw(*size).abs() / 5,
        relevance=draw(len(lengths), max(lengths)).abs(),
        slopes=draw(len(lengths), max(lengths)).abs(),
        differences=draw(len(lengths), max(lengths)),
    )
    signals = Signals(
        logits=draw(len(lengths), 3),
        rows=attention(),
        columns=attention(),
        received=attention(),
        own=attention(),
        norms=draw(*size),
        carried=draw(len(lengths), layers, max(lengths)),
        evidence=evidence,
    )
    return signals, mask, real
