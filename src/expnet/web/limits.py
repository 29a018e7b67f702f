"""What one request, and all requests together, may ask of a server."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from expnet.errors import InputError, RefusedError

Item = tuple[str, str | None]  # a text, and its pair if it has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a server; a request over one of them is refused with the status given here.

    Attributes:
        body: Most bytes of a request (413).
        texts: Most texts of a request (422).
        characters: Most characters of a text, its pair included (422).
        tokens: Most tokens that a method of many passes may run through the model for one request, counted once for
            each forward and each backward pass (422).
        waiting: Most texts that wait for one model (429).
        seconds: Longest time until an answer (503), and until a body has arrived (408).
        together: Most texts of several requests that are explained as one batch.
        pause: Seconds for which an idle model waits for more requests to explain together.
    """

    body: int = 256_000
    texts: int = 64
    characters: int = 20_000
    tokens: int = 50_000
    waiting: int = 256
    seconds: int | float = 30
    together: int = 32
    pause: int | float = 0.003

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if not getattr(self, name) > 0:
                raise InputError(f"The limit {name!r} is {getattr(self, name)}, expected a number above 0.")
        if self.waiting < self.texts:
            raise InputError(
                f"{self.waiting} texts may wait, but a request may bring {self.texts}, which could never be taken: "
                "raise `waiting` or lower `texts`."
            )

    def check(self, items: Sequence[Item]) -> None:
        """Refuse a request with too many texts, or too long ones.

        Raises:
            RefusedError: With status 422.
        """
        if len(items) > self.texts:
            raise RefusedError(
                422, f"The request has {len(items)} texts, this server takes {self.texts}: send several requests."
            )
        for number, (text, pair) in enumerate(items):
            if (count := len(text) + len(pair or "")) > self.characters:
                raise RefusedError(
                    422,
                    f"Instance {number} has {count:,} characters, this server takes {self.characters:,}: split the "
                    "text.",
                )
