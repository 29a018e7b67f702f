"""The models of a server, by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expnet.errors import InputError, MethodError, RefusedError, did_you_mean
from expnet.explainer import Explainer
from expnet.methods.learned import SECOND_OUTPUT
from expnet.methods.method import Method
from expnet.methods.registry import find_method, list_methods
from expnet.serve.metrics import Metrics
from expnet.serve.tasks import Compare, Explain, Heads, Task
from expnet.serve.worker import Worker
from expnet.web.limits import Item, Limits

_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Served:
    """A model, the thread that it runs in, and the methods that clients may ask for."""

    name: str
    explainer: Explainer
    worker: Worker
    methods: tuple[Method, ...]
    limits: Limits
    metrics: Metrics

    async def do(self, task: Task, items: Sequence[Item]) -> list[Any]:
        """Return an answer for each text, once the model has processed them.

        Raises:
            RefusedError: If the request exceeds a limit, too many texts wait, or the answer takes too long.
            MethodError: If the method is not offered, or there is none of that name.
            ExpnetError: As the task raises for these texts.
        """
        with self.metrics.asked(self.name, type(task).__name__.lower(), len(items)):
            self.limits.check(items)
            for asked in task.explains if isinstance(task, Compare) else (task,):
                if isinstance(asked, Explain | Heads):
                    self._allow(asked.method)
            return await self.worker.do(task, items)

    def _allow(self, method: str) -> None:
        names = [offered.name for offered in self.methods]
        if method not in names and find_method(method):
            raise MethodError(f"This server does not offer the method {method!r}. It offers: {', '.join(names)}.")


Models = Mapping[str, Served]


def find(models: Models, name: str) -> Served:
    """Return a model by name.

    Raises:
        RefusedError: If there is none (404); the message offers the nearest name.
    """
    if name not in models:
        raise RefusedError(404, f"There is no model {name!r}.{did_you_mean(name, models)} Models: {', '.join(models)}.")
    return models[name]


def check_name(name: str) -> None:
    """Refuse a name that cannot be part of a URL.

    Raises:
        InputError: If it is not made of letters, digits, dots, dashes and underscores.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"A model cannot be served as {name!r}: a name is made of letters, digits, '.', '-' and '_'. "
            "Give one, as in mine=path/to/model."
        )


def offered(explainer: Explainer, names: Sequence[str] | None) -> tuple[Method, ...]:
    """Return the methods of these names, or all of them, without those of an ExpNet or an output that is not there.

    Raises:
        MethodError: If there is no method of a name.
    """
    chosen = list_methods() if names is None else tuple(find_method(name) for name in dict.fromkeys(names))
    network = explainer.network
    return tuple(
        method
        for method in chosen
        if "network" not in method.supplied
        or (network is not None and (network.config.used or method not in SECOND_OUTPUT))
    )
