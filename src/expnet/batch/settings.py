"""The settings of a batch job."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from expnet.errors import InputError
from expnet.text.labels import ALL, as_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which columns are read and how their texts are explained.

    Attributes:
        text: Column of the texts; a name, or in a frame whatever its column is called.
        pair: Column of the second texts, or None; a row whose pair is null is a single text.
        target_column: Column with the class to explain, by name or index; where it is null, the predicted one.
        target: Class to explain in every row; not together with `target_column`. "all" explains every class: the
            columns are those of the predicted one, and one more, `classes`, has the scores of all.
        against: Class to contrast the target, or that of the column, with; where the row's own class is the same, or
            none is named, the row has the status "unknown target".
        classes: With the target "all", how many of the most probable classes are explained.
        method: Name of the attribution method.
        options: Its options.
        seed: For stochastic methods.
        truncate: Cut texts over the model's limit instead of reading them in overlapping windows.
        max_characters: Longer rows (text and pair together) are not explained but get the status "too long".
        shard_rows: Most rows in a shard, and so the most work that is lost if the process dies.
        prefix: Put before the names of the columns that are added.
    """

    text: Hashable = "text"
    pair: Hashable | None = None
    target_column: Hashable | None = None
    target: str | int | None = None
    against: str | int | None = None
    classes: int | None = None
    method: str = "expnet"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    truncate: bool = False
    max_characters: int = 100_000
    shard_rows: int = 1024
    prefix: str = ""

    def __post_init__(self) -> None:
        # Plain, because settings are written to files.
        object.__setattr__(self, "target", None if self.target is None else as_target(self.target))
        object.__setattr__(self, "against", None if self.against is None else as_target(self.against))
        if self.against is not None and self.target is None and self.target_column is None:
            raise InputError(
                f"Expected a target, or a column of targets, to contrast with {self.against!r}, got neither."
            )
        if self.target is not None and self.target_column is not None:
            raise InputError("Expected a target for all rows or a column of targets, got both.")
        if self.every and self.against is not None:
            raise InputError(f"The target 'all' explains each class by itself, not against {self.against!r}.")
        if self.classes is not None and not self.every:
            raise InputError(
                f"classes is {self.classes!r}, which the target 'all' needs; the target is {self.target!r}."
            )
        for name in ("max_characters", "shard_rows"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, expected 1 or more.")

    @property
    def every(self) -> bool:
        """Whether every class is explained."""
        return self.target == ALL

    @property
    def columns(self) -> tuple[Hashable, ...]:
        """The columns that the input must have."""
        return tuple(name for name in (self.text, self.pair, self.target_column) if name is not None)
