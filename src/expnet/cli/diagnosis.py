"""What `expnet doctor` looks at: versions, devices, extras, a classifier and its explainer."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from expnet.errors import ExpnetError
from expnet.runtime.progress import track

if TYPE_CHECKING:
    from expnet.explainer import Explainer
    from expnet.model.classifier import Classifier

# How often methods repeat themselves while they are only tried out.
_FEW = {"steps": 2, "samples": 8, "permutations": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found; everything is as JSON has it.

    Attributes:
        versions: Of expnet, Python, the system, and the packages that expnet cannot do without.
        devices: Where models can run, the default last.
        extras: Each extra with what it still needs, as pip would be told; nothing if it is installed.
        model: The classifier, or nothing if none was named or it cannot be loaded.
        explainer: Its ExpNet, likewise.
        problems: What is broken, in sentences; what is only not installed is none.
    """

    versions: Mapping[str, str]
    devices: Sequence[str]
    extras: Mapping[str, Sequence[str]]
    model: Mapping[str, Any] | None = None
    explainer: Mapping[str, Any] | None = None
    problems: Sequence[str] = field(default_factory=tuple)


def of_environment() -> Diagnosis:
    """Look at the packages that are installed and at the devices."""
    needed = [requirement for requirement in _requirements() if _asked(requirement, "")]
    versions = {"expnet": _version("expnet"), "python": platform.python_version(), "system": platform.platform()}
    lacking = [f"expnet needs {problem}: pip install --upgrade expnet" for r in needed if (problem := _lack(r))]
    return Diagnosis(
        versions=versions | {requirement.name: _version(requirement.name) for requirement in needed},
        devices=_devices(),
        extras=_extras(),
        problems=lacking,
    )


def with_model(environment: Diagnosis, model: str, *, explainer: str | None, progress: bool, **asked: Any) -> Diagnosis:
    """Return a diagnosis with that of a classifier and its ExpNet; `asked` goes to `expnet.load` as it is."""
    from expnet.explainer import load, load_classifier

    try:
        loaded = load(model, explainer=explainer, **asked)
        classifier, told = loaded.classifier, _of_explainer(loaded)
        problems = []
    except ExpnetError as error:
        problems, told = [str(error)], {"name": explainer or "universal", "fits": False}
        try:
            classifier = load_classifier(model, **asked)
        except ExpnetError:
            return replace(environment, problems=[*environment.problems, *problems])
    about = _of_model(classifier, progress=progress)
    return replace(environment, model=about, explainer=told, problems=[*environment.problems, *problems])


def _of_model(classifier: "Classifier", *, progress: bool) -> dict[str, Any]:
    """Look at a classifier: what it is, how its attention is captured, and which methods refuse it.

    Args:
        classifier: The classifier.
        progress: Show a bar on standard error while the methods are tried out on a short text.
    """
    from expnet.attention.anchor import POOLINGS

    about: dict[str, Any] = {
        "name": classifier.name,
        "architecture": classifier.architecture,
        "class": type(classifier.model).__name__,
        "parameters": sum(parameter.numel() for parameter in classifier.model.parameters()),
        "dtype": str(classifier.model.dtype).removeprefix("torch."),
        "device": str(classifier.model.device),
        "labels": list(classifier.labels),
        "outputs": {"probability": "probabilities", "value": "values"}[classifier.kind],
        "tokens_in_a_window": classifier.max_length,
    }
    try:
        support = classifier.support
        about |= {
            "attention": support.backend,
            "not_fused_because": support.reason,
            "anchor": f"{support.anchor}: {POOLINGS[support.anchor].words}",
            "layers": support.layers,
            "heads": support.heads,
        }
    except ExpnetError as error:
        about |= {"attention": None, "not_captured_because": str(error)}
    return about | _tried(classifier, progress=progress)


def _of_explainer(loaded: "Explainer") -> dict[str, Any]:
    """Return what is known of an ExpNet, which fits, since it was loaded with the classifier."""
    from expnet.checking import verdict_on
    from expnet.methods.learned import method_of

    network, classifier = loaded.network, loaded.classifier
    checked = "" if network is None else verdict_on(network, classifier)
    return {
        "name": loaded.name,
        "fits": True,
        "method": None if network is None else method_of(network).name,
        "check": checked or "None on this classifier: `expnet trust MODEL TEXTS` checks it without marks.",
    }


def _tried(classifier: "Classifier", *, progress: bool) -> dict[str, Any]:
    """Run every method that needs no network on a short text; say which works, and why another does not."""
    from expnet.explainer import Explainer
    from expnet.methods.registry import list_methods
    from expnet.methods.replacement import without_mask

    explainer, text = Explainer(classifier), classifier.example()
    target = None if classifier.kind == "probability" else 0
    works, refused, asks = [], {}, {}
    methods = [method for method in list_methods() if "network" not in method.supplied]
    for method in track(methods, lambda method: method.name, show=progress):
        required = [name for name, option in method.options.items() if option.default is option.empty]
        if required:
            asks[method.name] = required
            continue
        few = {name: count for name, count in _FEW.items() if name in method.options}
        instead = without_mask(classifier, method.options)
        try:
            explainer.explain(text, method=method.name, options={**few, **instead}, target=target)
            if instead:
                asks[method.name] = [f"{name}={value}" for name, value in instead.items()]
            else:
                works.append(method.name)
        except ExpnetError as error:
            refused[method.name] = str(error)
    return {"methods": works, "methods_that_need_options": asks, "methods_refused": refused}


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in distribution("expnet").requires or ()]
    except PackageNotFoundError:  # run from a clone that is not installed
        return []


def _asked(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _extras() -> dict[str, list[str]]:
    """Return each extra with what it lacks; an extra may bring in others of expnet's own."""
    by_extra: dict[str, list[Requirement]] = {}
    for requirement in _requirements():
        if not _asked(requirement, ""):
            for extra in distribution("expnet").metadata.get_all("Provides-Extra") or ():
                if _asked(requirement, extra):
                    by_extra.setdefault(extra, []).append(requirement)

    def lacking(extra: str) -> Iterator[str]:
        for requirement in by_extra[extra]:
            if requirement.name == "expnet":
                for other in sorted(requirement.extras):
                    yield from lacking(other)
            elif problem := _lack(requirement):
                yield problem

    return {extra: list(dict.fromkeys(lacking(extra))) for extra in sorted(by_extra)}


def _lack(requirement: Requirement) -> str:
    """Return what a requirement lacks, with the version that is there if it is a wrong one; "" for nothing."""
    wanted = f"{requirement.name}{requirement.specifier}"
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return wanted
    fits = requirement.specifier.contains(installed, prereleases=True)
    return "" if fits else f"{wanted} (there is {installed})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        from expnet._version import __version__

        return __version__ if package == "expnet" else "not installed"


def _devices() -> list[str]:
    import torch

    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    if torch.backends.mps.is_available():
        devices.append("mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return devices + [f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(count)]
