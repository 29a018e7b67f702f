"""What is saved with an ExpNet so that it can be built again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expnet.errors import MismatchError
from expnet.files.parsing import ANYTHING, FLAG, TEXT, Kind, check_config, listed, number, one_of, table, whole
from expnet.network import checkpoint
from expnet.network.features import FeatureConfig
from expnet.network.inputs import KINDS, NetworkInput, kind_of

SCHEMA = 1
_FIELDS = {
    "architecture": TEXT,
    "layers": whole(0, 1000),
    "heads": whole(0, 1000),
    "features": Kind("the features of tokens or of heads", lambda value: isinstance(value, tuple(KINDS.values()))),
    "context": whole(0, 256),
    "hidden": listed(whole(1, 65_536), 1, 32),
    "dropout": number(0, 1),
    "feature_dropout": number(0, 1),
    "threshold": number(0, 1),
    "provenance": table(ANYTHING),
    "used": FLAG,
    "schema": one_of(SCHEMA),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpNetConfig:
    """Everything needed to build an ExpNet again, and to know where it comes from.

    Attributes:
        architecture: Type of the classifiers it explains, in transformers' terms, such as "bert"; "any" for a network
            over sets of heads.
        layers: Their attention layers; 0 for any number.
        heads: Attention heads in each layer; 0 for any number.
        features: What it sees of each token: a vector, or a set of heads.
        context: Neighbouring tokens on each side whose features it sees as well.
        hidden: Widths of the hidden layers.
        dropout: Share of hidden units dropped in training.
        feature_dropout: Share of features dropped in training, whole features at a time.
        threshold: Score from which on a word counts as part of the rationale, chosen on development data.
        provenance: Training data, seeds, versions.
        used: Whether it also says how much the classifier depends on each token; see `ExpNet.effects`. False in files
            from before there was such an output.
        schema: Version of this format.
    """

    architecture: str
    layers: int
    heads: int
    features: NetworkInput[Any] = field(default_factory=FeatureConfig)
    context: int = 1
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.3
    feature_dropout: float = 0.3
    threshold: float = 0.5
    provenance: Mapping[str, Any] = field(default_factory=dict)
    used: bool = False
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        """Raise a `MismatchError` that names every field of another type or range than it may have."""
        check_config(self, _FIELDS)

    @property
    def width(self) -> int:
        """How many numbers of each token the first layer reads."""
        return self.features.width(self.layers, self.heads)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExpNetConfig":
        """Read what `dataclasses.asdict` gave.

        Raises:
            MismatchError: If a field is missing, unknown, or of another type or range, or the schema is another one.
        """
        if data.get("schema") != SCHEMA:
            raise MismatchError(f"Expected an ExpNet of schema {SCHEMA}, got {data.get('schema')!r}.")
        nested = data.get("features")
        if not isinstance(nested, Mapping):
            raise MismatchError(f"Expected the features as an object, got {type(nested).__name__}.")
        features = checkpoint.parse(kind_of(nested), nested)
        return checkpoint.parse(cls, {"used": False, **data, "features": features})
