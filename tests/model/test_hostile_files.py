"""No file of a model makes us open another kind of file, import a module or take memory for what it merely claims."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from expnet.errors import ExpnetError, ModelError, UnsafeModelError
from expnet.integrations.transformers import TASK, register
from expnet.model.classifier import Classifier
from expnet.model.loading import load_model
from tests.models import build, inputs, save

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return save(tmp_path_factory.mktemp("models") / "good", build("bert"))


@pytest.fixture
def folder(good, tmp_path):
    """A copy of the model with pickles of every usual name beside its weights."""
    copy = Path(shutil.copytree(good, tmp_path / "model"))
    for name in ("adapter_model.bin", "pytorch_model.bin", "evil.bin", "vocab.pkl", "spk_dict.pt", "training_args.bin"):
        torch.save({"classifier.bias": torch.zeros(3)}, copy / name)
    shutil.copy(copy / "model.safetensors", tmp_path / "elsewhere.safetensors")
    return copy


@pytest.fixture(autouse=True)
def _no_pickle_is_read(monkeypatch):
    """Fails where a pickle is opened, by torch or by Python."""

    def read(*_, **__):
        pytest.fail("a pickle was read")

    monkeypatch.setattr(torch, "load", read)
    for name in ("Unpickler", "load", "loads"):
        monkeypatch.setattr(pickle, name, read)


def change(file, **settings):
    told = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(told | settings))


def config(**settings) -> Callable[[Path], None]:
    return lambda folder: change(folder / "config.json", **settings)


def tokenizer_config(**settings) -> Callable[[Path], None]:
    return lambda folder: change(folder / "tokenizer_config.json", **settings)


def index(content, name="model.safetensors.index.json", **settings) -> Callable[[Path], None]:
    def plant(folder):
        (folder / "model.safetensors").rename(folder / "first.safetensors")
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        change(folder / "config.json", **settings)

    return plant


def shards(last):
    return {"weight_map": {"a": "first.safetensors", "classifier.bias": last}}


def tokenizer_json(edit) -> Callable[[Path], None]:
    def plant(folder):
        told = json.loads((folder / "tokenizer.json").read_text())
        edit(told)
        (folder / "tokenizer.json").write_text(json.dumps(told))

    return plant


TWICE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
FIRST = {"Sequence": {"id": "A", "type_id": 0}}
REFUSED = {
    "a token far away": (
        tokenizer_json(lambda told: told["model"]["vocab"].update(far=4_000_000_000)),
        "gives a token the id 4000000000; expected 0 to 10,000,000",
    ),
    "an added token far away": (
        tokenizer_json(lambda told: told["added_tokens"].append({"id": 2**31, "content": "far"})),
        "gives a token the id 2147483648",
    ),
    "a text of many texts": (
        tokenizer_json(
            lambda told: told.update(
                post_processor={
                    "type": "TemplateProcessing",
                    "single": [FIRST] * 5000,
                    "pair": [],
                    "special_tokens": {},
                }
            )
        ),
        "The post_processor of .* has 5,000 steps; expected 1,000 at most",
    ),
    "a normalizer that doubles forty times": (
        tokenizer_json(lambda told: told.update(normalizer={"type": "Sequence", "normalizers": [TWICE] * 40})),
        r"makes texts up to 1e\+12 times longer",
    ),
    "a tokenizer too deep": (
        lambda folder: (folder / "tokenizer.json").write_text("[" * 100_000),
        r"tokenizer\.json is damaged: .*nested more than 100 deep",
    ),
    "a tokenizer that is a list": (
        lambda folder: (folder / "tokenizer.json").write_text("[]"),
        "expected a JSON object, got a list",
    ),
    "weights named as a pickle": (
        config(transformers_weights="adapter_model.bin"),
        "names adapter_model.bin, which may",
    ),
    "weights named as another pickle": (
        config(transformers_weights="evil.bin"),
        "names evil.bin, which may be a pickle",
    ),
    "weights named in a part": (config(text_config={"transformers_weights": "adapter_model.bin"}), "adapter_model.bin"),
    "weights named in a list": (config(parts=[{"transformers_weights": "adapter_model.bin"}]), "adapter_model.bin"),
    "weights above": (config(transformers_weights="../elsewhere.safetensors"), "which may lie elsewhere"),
    "weights anywhere": (config(transformers_weights="/etc/elsewhere.safetensors"), "which may lie elsewhere"),
    "weights below": (config(transformers_weights="part/model.safetensors"), "which may lie elsewhere"),
    "weights by number": (config(transformers_weights=7), "names 7, which may be a pickle"),
    "weights by list": (config(transformers_weights=["adapter_model.bin"]), "which may be a pickle"),
    "a shard that is a pickle": (index(shards("evil.bin")), "index.json of .* names evil.bin, which may be a pickle"),
    "a shard of a named index": (
        index(shards("evil.bin"), "x.safetensors.index.json", transformers_weights="x.safetensors.index.json"),
        "x.safetensors.index.json of .* names evil.bin",
    ),
    "a shard above": (index(shards("../elsewhere.safetensors")), "which may lie elsewhere"),
    "a shard that is an index": (index(shards("x.safetensors.index.json")), "which may be a pickle"),
    "an index of nothing": (index([]), "is not an index of weights"),
    "an index too deep": (index("[" * 100_000), "nested more than 100 deep"),
    "a quantised model": (config(quantization_config={"quant_method": "torchao"}), "are quantised"),
    "foreign experts": (config(_experts_implementation="evil-org/kernel"), "would load foreign code"),
    "a tokenizer that is a model": (
        tokenizer_config(tokenizer_class="GPT2Model"),
        "class GPT2Model, which is not a tokenizer",
    ),
    "a fast one": (tokenizer_config(tokenizer_class="GPT2ModelFast"), "class GPT2ModelFast, which is not a tokenizer"),
    "a speech model": (
        tokenizer_config(tokenizer_class="Qwen2_5OmniForConditionalGeneration"),
        "class Qwen2_5OmniForConditionalGeneration, which is not a tokenizer",
    ),
    "a function": (tokenizer_config(tokenizer_class="pipeline"), "class pipeline, which is not a tokenizer"),
    "a tokenizer by the config": (config(tokenizer_class="GPT2Model"), "class GPT2Model, which is not a tokenizer"),
    "layers without end": (config(num_hidden_layers=1_000_000), "num_hidden_layers=1,000,000; expected 1,000 at most"),
    "more layers than the files": (
        config(num_hidden_layers=900),
        "model of more than [0-9,]+ tensors; its files do not",
    ),
    "classes without end": (config(num_labels=3_000_000), "num_labels=3,000,000; expected 100,000 at most"),
    "a vocabulary without end": (config(vocab_size=40_000_000), "a model of 1,280,[0-9,]+ weights, .* files hold 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_asks_for_more_than_its_safetensors_is_refused(case, folder):
    plant, message = REFUSED[case]
    plant(folder)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    "plant",
    [
        config(),
        config(transformers_weights="model.safetensors", auto_map={"AutoModel": "evil.Model"}),
        config(custom_pipelines={}, _name_or_path="evil-org/model"),
        lambda folder: change(folder / "generation_config.json", transformers_weights="adapter_model.bin"),
        index({"metadata": {}, "weight_map": dict.fromkeys(["a", "b"], "first.safetensors")}),
    ],
)
def test_pickles_beside_safetensors_are_never_read(plant, folder):
    plant(folder)
    assert_close(load_model(folder)[0](**inputs()).logits, build("bert")(**inputs()).logits, atol=1e-6, rtol=0)


@pytest.mark.parametrize("length", ["many", [512], {"a": 1}])
def test_a_tokenizer_that_names_no_number_of_tokens_is_refused(length, folder):
    change(folder / "tokenizer_config.json", model_max_length=length)
    with pytest.raises(ModelError, match="Expected a number of tokens for model_max_length, got"):
        Classifier.from_pretrained(folder)


@pytest.fixture
def registered():
    register()
    yield
    del PIPELINE_REGISTRY.supported_tasks[TASK]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    "case",
    [
        *("weights named as a pickle", "a shard that is a pickle", "a shard above", "a tokenizer that is a model"),
        *("a token far away", "a normalizer that doubles forty times"),
    ],
)
def test_the_pipeline_of_transformers_refuses_the_same_folders(case, folder):
    plant, message = REFUSED[case]
    plant(folder)
    with pytest.raises(ExpnetError, match=message):
        pipeline(TASK, model=str(folder), device="cpu")


@pytest.mark.usefixtures("registered")
def test_the_pipeline_of_transformers_reads_no_pickle_where_there_are_no_safetensors(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ExpnetError, match="holds no safetensors"):
        pipeline(TASK, model=str(folder), device="cpu")


DAMAGED = {
    "a header that is longer than any": (
        lambda folder: (folder / "model.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}"),
        "cannot be loaded as a sequence classifier: .*header too large",
    ),
    "weights cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "cannot be loaded as a sequence classifier: .*not fully covered",
    ),
    "a width below zero": (config(hidden_size=-32), "cannot be loaded as a sequence classifier: .*negative"),
    "no head": (lambda folder: _drop(folder, "classifier"), "lacks the weights classifier.bias, classifier.weight"),
    "another width": (config(intermediate_size=65), "do not fit in .* places, first .*but the config expects"),
    "no tokenizer": (
        lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
        "holds no tokenizer",
    ),
}


def _drop(folder, part):
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if part not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("case", DAMAGED)
def test_the_pipeline_of_transformers_draws_no_weights_and_makes_up_no_tokenizer(case, folder):
    damage, message = DAMAGED[case]
    damage(folder)
    with pytest.raises(ExpnetError, match=message):
        pipeline(TASK, model=str(folder), explainer="universal/attention", device="cpu")


KINDS = {
    "lora": LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False),
    "dora": LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False, use_dora=True),
    "loha": LoHaConfig(r=2, target_modules=["query", "value"], init_weights=False),
    "vera": VeraConfig(r=2, target_modules=["query", "value"], init_weights=False),
    "ia3": IA3Config(target_modules=["query", "value"], feedforward_modules=[], init_ia3_weights=False),
}


# peft asks transformers for a property by the name it had until lately.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
class TestAdapters:
    @pytest.fixture(params=list(KINDS))
    def adapted(self, request, tmp_path):
        """What an adapted model says, and its adapter's folder."""
        settings = KINDS[request.param]
        settings.task_type = "SEQ_CLS"
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = get_peft_model(build("bert"), settings).eval()
        model.save_pretrained(tmp_path / "adapter")
        build("bert").config.save_pretrained(tmp_path / "adapter")
        return model(**inputs()).logits, tmp_path / "adapter"

    @staticmethod
    def rewrite(folder, edit):
        file = folder / "adapter_model.safetensors"
        tensors = load_file(file)
        edit(tensors)
        save_file(tensors, file, metadata={"format": "pt"})

    def test_each_kind_is_merged_as_it_was_trained(self, adapted, good):
        said, folder = adapted
        logits = load_model(folder, base=good)[0](**inputs()).logits
        assert_close(logits, said, atol=1e-4, rtol=1e-4)  # merged weights are rounded once more
        assert (logits - build("bert")(**inputs()).logits).abs().max() > 1e-3

    def test_one_that_lacks_any_of_its_tensors_is_refused(self, adapted, good):
        _, folder = adapted
        names = list(load_file(folder / "adapter_model.safetensors"))
        for name in (names[0], names[-1], next(candidate for candidate in names if "classifier" in candidate)):
            copy = Path(shutil.copytree(folder, folder.with_name("lacking"), dirs_exist_ok=True))
            self.rewrite(copy, lambda tensors, name=name: tensors.pop(name))
            with pytest.raises(ModelError, match=f"it lacks 1 of {len(names)} tensors, first {name}"):
                load_model(copy, base=good)

    def test_one_whose_tensors_are_named_otherwise_is_refused(self, adapted, good):
        _, folder = adapted

        def rename(tensors):
            for name in list(tensors):
                tensors[name.replace("base_model.model.bert", "base_model.model.roberta")] = tensors.pop(name)

        self.rewrite(folder, rename)
        with pytest.raises(ModelError, match=r"does not fit its base .*: it lacks \d+ of \d+ tensors"):
            load_model(folder, base=good)

    def test_one_with_a_tensor_that_has_no_place_is_refused(self, adapted, good):
        _, folder = adapted
        extra = "base_model.model.bert.encoder.layer.9.attention.self.query.lora_A.weight"
        self.rewrite(folder, lambda tensors: tensors.update({extra: torch.zeros(2, 32)}))
        with pytest.raises(ModelError, match=rf"{extra} has the shape \(2, 32\), expected no such tensor"):
            load_model(folder, base=good)

    def test_one_with_a_tensor_of_another_shape_is_refused(self, adapted, good):
        _, folder = adapted
        name = next(iter(load_file(folder / "adapter_model.safetensors")))
        self.rewrite(folder, lambda tensors: tensors.update({name: torch.zeros(3, 5)}))
        with pytest.raises(ModelError, match=rf"{name} has the shape \(3, 5\), expected \("):
            load_model(folder, base=good)

    def test_one_that_holds_nan_is_refused(self, adapted, good):
        _, folder = adapted
        name = next(
            candidate for candidate in load_file(folder / "adapter_model.safetensors") if "classifier" not in candidate
        )
        self.rewrite(folder, lambda tensors: tensors[name].fill_(torch.nan))
        with pytest.raises(ModelError, match=r"(?i)nan"):
            load_model(folder, base=good)

    @pytest.mark.parametrize("adapted", ["lora"], indirect=True)
    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"r": 3}, ModelError, r"has the shape \(2, 32\), expected \(3, 32\)"),
            ({"r": 1_000_000_000}, ModelError, "is of rank 1,000,000,000, but no side of its weights exceeds"),
            ({"rank_pattern": {"query": 10**9}}, ModelError, "is of rank 1,000,000,000"),
            ({"layer_replication": [[0, 10**9]]}, UnsafeModelError, "sets layer_replication"),
            ({"megatron_config": {"a": 1}, "megatron_core": "antigravity"}, UnsafeModelError, "sets megatron_config"),
            ({"target_modules": ["nothing"]}, ModelError, "No modules were targeted"),
        ],
    )
    def test_settings_that_its_weights_do_not_bear_out_are_refused(self, adapted, good, settings, error, message):
        change(adapted[1] / "adapter_config.json", **settings)
        with pytest.raises(error, match=message):
            load_model(adapted[1], base=good)
        assert "antigravity" not in sys.modules

    @pytest.mark.parametrize("adapted", ["lora"], indirect=True)
    @pytest.mark.parametrize("side", ["adapter", "base"])
    def test_weights_named_as_a_pickle_are_refused_on_both_sides(self, adapted, folder, side):
        change((adapted[1] if side == "adapter" else folder) / "config.json", transformers_weights="adapter_model.bin")
        with pytest.raises(UnsafeModelError, match=r"names adapter_model\.bin, which may be a pickle"):
            load_model(adapted[1], base=folder)


SMALL = 100  # megabytes: a loaded library more, not a table as large as a number in a file says


def test_what_small_files_claim_takes_no_memory_and_no_time(good, tmp_path):
    """In a process of its own, whose peak no other test has raised."""
    code = "from tests.claims import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(good), str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    row_of = {row["claim"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert len(row_of) >= 12
    assert {name: row["error"] for name, row in row_of.items() if not row["error"]} == {}
    assert {name: row["megabytes"] for name, row in row_of.items() if row["megabytes"] > SMALL} == {}
    assert {name: row["seconds"] for name, row in row_of.items() if row["seconds"] > 20} == {}  # on a busy machine
