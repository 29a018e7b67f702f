"""One forward pass that gives the prediction, and what methods read of it."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from expnet.attention.anchor import AnchorReading, PooledTokens
from expnet.attention.capture import Trace, each_layer
from expnet.attention.fused_layer import FusedLayer
from expnet.attention.intercept import Layer, run
from expnet.attention.signals import GradientPass, Signals, Slopes, signals_of
from expnet.attention.stack import Stack
from expnet.methods.layers import between_layers
from expnet.model.classifier import Classifier
from expnet.text.encoding import Encoding

# A pass that a method runs in its own way: logits, and what it recorded.
OwnPass = Callable[[Classifier, Encoding], tuple[Tensor, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassNeeds:
    """What methods read of one forward pass and, with `slopes`, of one backward pass; `a | b` is what both read.

    Attributes:
        rows: The anchor's rows and columns of attention.
        received: With `rows`, also what each token receives from all.
        layers: Every attention layer, once the pass is over; on fused attention, these hold no matrices.
        projections: The layers' output projections, too.
        matrices: Layers with their attention matrices in the open.
        hidden: The input of each layer.
        embeddings: Slopes at the tokens' embeddings.
        slopes: A backward pass from the target's logit, to matrices, hidden states and embeddings that are asked for.
        own: A pass of the method's own; only methods that name the same share it, and nothing else is read then.
        copies: How many windows the memory that the method takes for one stands for.
    """

    rows: bool = False
    received: bool = False
    layers: bool = False
    projections: bool = False
    matrices: bool = False
    hidden: bool = False
    embeddings: bool = False
    slopes: bool = False
    own: OwnPass | None = None
    copies: int = 1

    def __or__(self, other: "PassNeeds") -> "PassNeeds":
        """Return what both read; passes of their own must be the same."""
        mine = {field.name: getattr(self, field.name) for field in fields(self)}
        both = {name: value or getattr(other, name) for name, value in mine.items()}
        return PassNeeds(**both | {"copies": max(self.copies, other.copies)})

    @property
    def opens(self) -> bool:
        """Whether attention runs in the open: with a graph, nothing else shows it."""
        return self.matrices or (self.slopes and (self.rows or self.layers))


@dataclass(frozen=True, slots=True, kw_only=True)
class PassTrace:
    """What a method gets of a pass: what it needs, and perhaps what others need.

    Attributes:
        logits: As the model gives them.
        layers: What each attention of the model computed, from the first on, out of the graph.
        hidden: The input of each layer, out of the graph.
        keep: Whether the pass is read for another target after this one, so that a graph of the method's own must stay.
        own: What the method's own pass recorded.
    """

    logits: Float[Tensor, "batch classes"]
    layers: Sequence[FusedLayer | Layer]
    hidden: Sequence[Tensor]
    keep: bool
    own: Any
    read_anchor: Callable[[], Trace]
    read_signals: Callable[[], Signals]
    taken: Slopes | None

    @property
    def anchor(self) -> Trace:
        """The anchor's rows and columns."""
        return self.read_anchor()

    @property
    def matrices(self) -> list[Float[Tensor, "batch heads tokens tokens"]]:
        """The attention matrices of the layers, out of the graph."""
        return [layer.probabilities for layer in self.layers if isinstance(layer, Layer)]

    @property
    def slopes(self) -> Slopes:
        """The gradient of the target's logit."""
        assert self.taken is not None
        return self.taken

    @property
    def signals(self) -> Signals:
        """All that heads say of each token; with slopes at matrices and embeddings, also their evidence."""
        return self.read_signals()


class SharedPass:
    """One forward pass over windows that fit together, to be read for one target or several."""

    def __init__(self, classifier: Classifier, part: Encoding, needs: PassNeeds) -> None:
        """Run the forward pass.

        Raises:
            UnsupportedModelError: If the model does not show what is needed.
            NoGradientError: If its code keeps no gradients.
        """
        self._classifier, self._part, self._needs = classifier, part, needs
        self._graph: GradientPass | None = None
        self._anchor: Trace | None = None
        self._layers: Sequence[FusedLayer | Layer] = ()
        self._hidden: list[Tensor] = []
        self._own: Any = None
        self._inputs = part.inputs(classifier.model.device)
        if needs.own is not None:
            logits, self._own = needs.own(classifier, part)
        elif needs.slopes or needs.hidden:
            logits = self._run_with_graph()
        elif needs.matrices:
            with torch.no_grad():
                done = run(classifier.model, self._inputs, attend=lambda _, layer: layer)
            logits, self._layers = done.logits, done.layers
        else:
            logits = self._run_without_graph()
        self.logits: Float[Tensor, "batch classes"] = logits.detach()

    def toward(self, target: Int[Tensor, " batch"], *, keep: bool = False) -> PassTrace:
        """Return what was read; with slopes, run the backward pass from each window's target.

        Args:
            target: A class, or a contrast of two, for each window.
            keep: Whether the pass is read for another target, too.
        """
        taken, needs = None, self._needs
        if self._graph is not None and needs.slopes:
            at = target.clone().to(self.logits.device)
            taken = self._graph.slopes(at, embeddings=needs.embeddings, others=self._hidden, keep=keep)

        def signals() -> Signals:
            anchor = self._classifier.support.anchor
            if self._graph is not None and taken is not None:
                return self._graph.signals(taken, anchor)
            return signals_of(self.logits, self._reading(), self._pooled())

        return PassTrace(
            logits=self.logits,
            layers=self._layers,
            hidden=[state.detach() for state in self._hidden],
            keep=keep,
            own=self._own,
            read_anchor=self._read_anchor,
            read_signals=signals,
            taken=taken,
        )

    def _run_with_graph(self) -> Tensor:
        model = self._classifier.model

        def keep(_index: int, state: Tensor) -> Tensor:
            self._hidden.append(state)
            return state

        with between_layers(model, enter=keep) if self._needs.hidden else nullcontext():
            self._graph = GradientPass(model, self._inputs, matrices=self._needs.opens)
        self._layers = self._graph.layers
        return self._graph.logits

    def _run_without_graph(self) -> Tensor:
        needs, support, stack = self._needs, self._classifier.support, Stack.of(self._classifier.model)
        reading = AnchorReading(self._pooled(), received=needs.received)
        layers, place = list[FusedLayer | Layer](), 0

        def see(layer: FusedLayer | Layer) -> None:
            nonlocal place
            if needs.rows and (not needs.layers or stack.reads(place)):
                reading.add(layer)
            if needs.layers:
                layers.append(layer)
            place += 1

        logits = each_layer(
            self._classifier.model,
            self._inputs,
            see,
            backend=support.backend,
            project=needs.projections,
            every=needs.layers,
            inference=not needs.layers,  # a method may want a graph on layers
        )
        self._layers = layers
        if needs.rows:
            self._anchor = self._trace(logits, reading)
        return logits

    def _read_anchor(self) -> Trace:
        if self._anchor is None:
            with torch.no_grad():
                reading = AnchorReading(self._pooled(), received=self._needs.received)
                for layer in self._reading():
                    reading.add(layer)
                self._anchor = self._trace(self.logits, reading)
        return self._anchor

    def _trace(self, logits: Tensor, reading: AnchorReading) -> Trace:
        return Trace.of_anchor(logits, reading.attention(), reading.pooled.real)

    def _reading(self) -> tuple[FusedLayer | Layer, ...]:
        return Stack.of(self._classifier.model).reading(self._layers)

    def _pooled(self) -> PooledTokens:
        return PooledTokens.of(self._classifier.model, self._inputs, self._classifier.support.anchor)
