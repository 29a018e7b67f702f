"""Loading trusts no file: no code and no pickle of a model runs, and damage is reported in our own words."""

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import transformers
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from peft import LoraConfig, PeftModel, PrefixTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoConfig, dynamic_module_utils
from transformers.utils import logging

from expnet.errors import ModelError, UnsafeModelError
from expnet.model.loading import load_model, refuse_unsafe_config
from tests.models import build, inputs, save, tokenizer

Variant = Callable[..., Path]
# The same weights through the same code on the same machine.
SAME = {"atol": 1e-6, "rtol": 0}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "good", build("bert"), model_max_length=64)


@pytest.fixture
def variant(good: Path, tmp_path: Path) -> Variant:
    """Copies the good model's folder, with some settings of its config changed, or without some files."""

    def make(*without: str, **settings: Any) -> Path:
        folder = Path(shutil.copytree(good, tmp_path / "model"))
        for name in without:
            (folder / name).unlink()
        change(folder / "config.json", **settings)
        return folder

    return make


def change(file: Path, **settings: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


class TestAGoodFolder:
    def test_gives_the_model_and_the_tokenizer_that_were_saved(self, good):
        model, words = load_model(good)
        assert_close(model(**inputs()).logits, build("bert")(**inputs()).logits, **SAME)
        assert words("A good film.")["input_ids"] == tokenizer()("A good film.")["input_ids"]
        assert words.model_max_length == 64
        assert not model.training

    def test_is_on_the_cpu_where_torch_was_built_for_an_accelerator_that_is_not_there(self, good, monkeypatch):
        def current(check_available: bool = False) -> torch.device | None:  # as a build for CUDA answers
            return None if check_available else torch.device("cuda")

        monkeypatch.setattr(torch.accelerator, "current_accelerator", current)
        assert load_model(good)[0].device == torch.device("cpu")

    def test_gives_float32_on_the_cpu_unless_told_otherwise(self, tmp_path):
        folder = save(tmp_path / "half", build("bert").to(torch.bfloat16))
        assert load_model(folder, device="cpu")[0].dtype == torch.float32
        assert load_model(folder, device="cpu", dtype=torch.bfloat16)[0].dtype == torch.bfloat16

    def test_may_come_from_the_hub_s_cache(self, hub, good):
        shutil.copytree(good, hub("org/model"))
        model, _ = load_model("org/model")
        assert_close(model(**inputs()).logits, build("bert")(**inputs()).logits, **SAME)

    def test_prints_nothing(self, good, variant, capfd):
        load_model(good)
        headless = variant()
        weights = load_file(headless / "model.safetensors")
        save_file({name: weights[name] for name in weights if "classifier" not in name}, headless / "model.safetensors")
        with pytest.raises(ModelError):
            load_model(headless)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("name", ["good", "no such folder"])
    @pytest.mark.parametrize("bars", [True, False])
    @pytest.mark.parametrize("downloads", [True, False])
    def test_leaves_verbosity_and_progress_bars_as_they_were(self, good, name, bars, downloads, output_settings):
        logging.set_verbosity_info()
        (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
        (enable_progress_bars if downloads else disable_progress_bars)()
        if name == "good":
            load_model(good)
        else:
            with pytest.raises(ModelError):
                load_model(good / name)
        assert logging.get_verbosity() == logging.INFO
        assert logging.is_progress_bar_enabled() == bars
        assert are_progress_bars_disabled() == (not downloads)


@pytest.fixture
def output_settings() -> Any:
    verbosity, bars, downloads = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        are_progress_bars_disabled(),
    )
    yield
    logging.set_verbosity(verbosity)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    (disable_progress_bars if downloads else enable_progress_bars)()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """An empty cache of the hub; gives the folder where a repository's files would lie."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def place(name: str) -> Path:
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text("0" * 40)
        return repository / "snapshots" / ("0" * 40)

    return place


class TestWhatIsNoModel:
    def test_a_folder_that_does_not_exist(self, tmp_path):
        with pytest.raises(ModelError, match=r"no such folder is neither a folder with a model's config.json nor"):
            load_model(tmp_path / "no such folder")

    def test_a_name_that_the_hub_cannot_be_asked_for(self):
        with pytest.raises(
            ModelError, match=r"nobody/nothing-at-all is neither .* nor a model on the hub that can be reached"
        ):
            load_model("nobody/nothing-at-all")

    def test_a_folder_of_something_else(self, tmp_path):
        (tmp_path / "notes.txt").write_text("no model")
        with pytest.raises(ModelError, match=r"is neither a folder with a model's config.json"):
            load_model(tmp_path)

    def test_a_file(self, good):
        with pytest.raises(ModelError, match=r"config.json is a file; expected a folder"):
            load_model(good / "config.json")

    @pytest.mark.parametrize(
        "settings",
        [
            {"model_type": "unheard-of"},
            {"hidden_size": "wide"},
            {"num_attention_heads": 7},
            {"hidden_act": "unheard-of"},
            {"id2label": ["a", "b"]},
            {"dtype": "float33"},
            {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        ],
    )
    def test_a_config_that_makes_no_sense(self, settings, variant):
        with pytest.raises(ModelError, match="model"):
            load_model(variant(**settings))

    @pytest.mark.parametrize("text", ["{", "[]", '"bert"'])
    def test_a_config_that_is_no_object(self, text, variant):
        folder = variant()
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelError, match=str(folder)):
            load_model(folder)

    def test_an_encoder_without_a_head(self, tmp_path):
        build("bert").bert.save_pretrained(tmp_path)
        tokenizer().save_pretrained(tmp_path)
        with pytest.raises(
            ModelError, match=r"lacks the weights classifier.bias, classifier.weight: it is not a trained"
        ):
            load_model(tmp_path)

    def test_weights_in_another_shape_than_the_config_says(self, variant):
        with pytest.raises(
            ModelError, match=r"in 2 places, first classifier.bias: its shape is \(3,\), .* expects \(2,\)"
        ):
            load_model(variant(id2label={"0": "no", "1": "yes"}))

    @pytest.mark.parametrize("kept", [100, -100])
    def test_weights_that_were_cut_off(self, kept, variant):
        file = variant() / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(ModelError, match="cannot be loaded as a sequence classifier"):
            load_model(file.parent)

    def test_a_folder_without_a_tokenizer(self, variant):
        """transformers would make one up that turns every word into [UNK]."""
        with pytest.raises(ModelError, match="holds no tokenizer: the one made up for it knows 5 tokens"):
            load_model(variant("tokenizer.json", "tokenizer_config.json"))


class TestForeignAttention:
    KERNEL = "evil-org/kernel"

    @pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
    @pytest.mark.parametrize(
        "value", [KERNEL, {"": KERNEL}, {"text_config": {"": KERNEL}}, [KERNEL], "flash_attention_2"]
    )
    def test_it_is_refused_whatever_its_key_and_form(self, key, value, variant):
        with pytest.raises(UnsafeModelError, match=rf"asks for the attention .* \({key}\)"):
            load_model(variant(**{key: value}))

    @pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
    def test_it_is_refused_within_a_part_of_the_config(self, key, variant):
        with pytest.raises(UnsafeModelError, match=rf"'evil-org/kernel' \({key}\)"):
            load_model(variant(text_config={"encoder": {key: self.KERNEL}}))

    def test_it_is_refused_before_anything_reads_it(self, variant, monkeypatch):
        monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("the config was used"))
        with pytest.raises(UnsafeModelError):
            load_model(variant(_attn_implementation=self.KERNEL))

    @pytest.mark.parametrize("value", ["eager", "sdpa", None])
    def test_the_kinds_that_come_with_torch_are_fine(self, value, variant):
        model, _ = load_model(variant(_attn_implementation=value))
        assert model.config._attn_implementation == (value or "sdpa")

    def test_the_flag_that_older_versions_wrote_into_configs_is_fine(self, variant):
        model, _ = load_model(variant(_attn_implementation_autoset=True))
        assert_close(model(**inputs()).logits, build("bert")(**inputs()).logits, **SAME)

    def test_a_config_that_says_nothing_of_attention_passes(self):
        refuse_unsafe_config({"hidden_size": 8, "parts": {"attention_dropout": 0.1}}, "model")


class TestForeignCode:
    @pytest.fixture
    def planted(self, variant, tmp_path, monkeypatch) -> Callable[..., tuple[Path, Path]]:
        """A model folder whose code leaves a mark when it runs, and where that mark would be."""
        monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
        monkeypatch.setattr(sys, "path", list(sys.path))

        def plant(**settings: Any) -> tuple[Path, Path]:
            names = {
                "AutoConfig": "Config",
                "AutoModelForSequenceClassification": "Model",
                "AutoTokenizer": ["Words", "Words"],
            }
            foreign = {
                name: [f"evil.{one}" for one in kind] if isinstance(kind, list) else f"evil.{kind}"
                for name, kind in names.items()
            }
            folder, mark = variant(auto_map=foreign, **settings), tmp_path / "mark"
            change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": foreign["AutoTokenizer"]})
            (folder / "evil.py").write_text(
                f"open({str(mark)!r}, 'w').close()\n"
                "from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast\n"
                "class Config(BertConfig): model_type = 'evil'\n"
                "class Model(BertForSequenceClassification): config_class = Config\n"
                "class Words(PreTrainedTokenizerFast): pass\n"
            )
            return folder, mark

        return plant

    def test_it_does_not_run_where_transformers_knows_the_kind_of_model(self, planted):
        folder, mark = planted()
        model, _ = load_model(folder)
        assert_close(model(**inputs()).logits, build("bert")(**inputs()).logits, **SAME)
        assert not mark.exists()

    def test_it_does_not_run_where_only_it_knows_the_kind_of_model(self, planted, monkeypatch):
        monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers may ask a person
        folder, mark = planted(model_type="evil")
        with pytest.raises(ModelError, match=r"contains custom code which must be executed"):
            load_model(folder)
        assert not mark.exists()

    def test_it_would_have_run_where_it_is_trusted(self, planted):
        folder, mark = planted(model_type="evil")
        AutoConfig.from_pretrained(folder, trust_remote_code=True)
        assert mark.exists()


class Marks:
    """A pickle of this leaves a mark when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


class TestPickles:
    @pytest.fixture(autouse=True)
    def _unread(self, monkeypatch):
        """torch would read pickles with less risk, but not with none."""
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was read"))

    def test_weights_that_are_only_a_pickle_are_refused(self, variant, tmp_path):
        folder, mark = variant("model.safetensors"), tmp_path / "mark"
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marks(mark)))
        with pytest.raises(UnsafeModelError, match="holds no safetensors; other weight files are pickles"):
            load_model(folder)
        assert not mark.exists()

    def test_a_pickle_beside_safetensors_is_not_read(self, variant, tmp_path):
        folder, mark = variant(), tmp_path / "mark"
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marks(mark)))
        load_model(folder)
        assert not mark.exists()

    @pytest.mark.parametrize("index", ["model.safetensors.index.json", "other.safetensors.index.json"])
    def test_an_index_of_safetensors_that_names_a_pickle_is_refused(self, index, variant):
        settings = {} if index.startswith("model") else {"transformers_weights": index}
        folder = variant(**settings)
        names = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").rename(folder / "first.safetensors")
        weight_map = dict.fromkeys(names, "first.safetensors") | {"classifier.bias": "second.bin"}
        (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        torch.save({"classifier.bias": torch.zeros(3)}, folder / "second.bin")
        with pytest.raises(UnsafeModelError, match=rf"{index} of .* names second.bin, which may be a pickle"):
            load_model(folder)

    def test_an_index_of_safetensors_alone_is_fine(self, variant):
        folder = variant()
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        shards = {name: f"{'head' if 'classifier' in name else 'rest'}.safetensors" for name in weights}
        for shard in set(shards.values()):
            part = {name: weights[name] for name in weights if shards[name] == shard}
            save_file(part, folder / shard, metadata={"format": "pt"})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
        model, _ = load_model(folder)
        assert_close(model(**inputs()).logits, build("bert")(**inputs()).logits, **SAME)


# peft asks transformers for a property by the name it had until lately.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
class TestAdapters:
    @pytest.fixture
    def adapted(self, good, tmp_path) -> tuple[PeftModel, Path]:
        """A model with an adapter that changes it, and the adapter's folder, as `finetune` writes it."""
        lora = LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = get_peft_model(transformers.BertForSequenceClassification.from_pretrained(good), lora).eval()
            torch.nn.init.normal_(model.base_model.model.classifier.weight)
        model.save_pretrained(tmp_path / "adapter")
        model.config.save_pretrained(tmp_path / "adapter")
        return model, tmp_path / "adapter"

    # Adding the adapter to the weights rounds the sum before, not after, the product with the activations.
    MERGED = {"atol": 1e-4, "rtol": 1e-5}  # noqa: RUF012

    def test_it_is_merged_into_the_base_that_is_given(self, adapted, good):
        unmerged, folder = adapted
        model, words = load_model(folder, base=good)
        expected = unmerged(**inputs()).logits
        assert_close(model(**inputs()).logits, expected, **self.MERGED)
        assert (expected - build("bert")(**inputs()).logits).abs().max() > 0.1
        assert type(model).__name__ == "BertForSequenceClassification"
        assert words("good")["input_ids"] == tokenizer()("good")["input_ids"]

    def test_it_is_merged_into_the_base_that_it_names(self, adapted, good):
        unmerged, folder = adapted
        model, words = load_model(folder)
        assert_close(model(**inputs()).logits, unmerged(**inputs()).logits, **self.MERGED)
        assert words("good")["input_ids"] == tokenizer()("good")["input_ids"]

    def test_it_brings_its_own_head_where_the_base_has_none_or_another(self, adapted, tmp_path):
        unmerged, folder = adapted
        for name, base in (("none", build("bert").bert), ("another", build("bert", num_labels=5))):
            model, _ = load_model(folder, base=save(tmp_path / name, base))
            assert_close(model(**inputs()).logits, unmerged(**inputs()).logits, **self.MERGED)

    def test_it_needs_a_head_from_somewhere(self, adapted, tmp_path):
        _, folder = adapted
        file = folder / "adapter_model.safetensors"
        weights = load_file(file)
        save_file(
            {name: weights[name] for name in weights if "classifier" not in name}, file, metadata={"format": "pt"}
        )
        headless = save(tmp_path / "headless", build("bert").bert)
        with pytest.raises(
            ModelError, match=r"Neither the adapter .* holds the weights classifier.bias, classifier.weight"
        ):
            load_model(folder, base=headless)

    def test_an_adapter_that_is_only_a_pickle_is_refused(self, adapted, good):
        _, folder = adapted
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(UnsafeModelError, match=r"holds an adapter, but no adapter_model.safetensors"):
            load_model(folder, base=good)

    def test_a_base_that_is_only_a_pickle_is_refused(self, adapted, variant):
        _, folder = adapted
        base = variant("model.safetensors")
        torch.save({}, base / "pytorch_model.bin")
        with pytest.raises(UnsafeModelError, match=f"{base} holds no safetensors"):
            load_model(folder, base=base)

    def test_a_base_that_asks_for_foreign_attention_is_refused(self, adapted, variant):
        with pytest.raises(UnsafeModelError, match="asks for the attention 'evil-org/kernel'"):
            load_model(adapted[1], base=variant(_attn_implementation="evil-org/kernel"))

    def test_it_must_name_a_base_or_be_given_one(self, adapted):
        change(adapted[1] / "adapter_config.json", base_model_name_or_path=None)
        with pytest.raises(ModelError, match="does not name its base model: pass it as base"):
            load_model(adapted[1])

    def test_an_adapter_that_cannot_be_merged_is_refused(self, good, tmp_path):
        model = get_peft_model(build("bert"), PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3))
        model.save_pretrained(tmp_path)
        model.config.save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="of the type PREFIX_TUNING, which cannot be merged"):
            load_model(tmp_path, base=good)

    def test_an_adapter_on_the_hub_is_refused_before_its_weights_are_read(self, adapted, good, hub):
        """transformers would follow it by itself, and read its pickle where it has no safetensors."""
        folder = hub("org/adapter")
        shutil.copytree(adapted[1], folder)
        tokenizer().save_pretrained(folder)
        (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
        with pytest.raises(ModelError, match="org/adapter holds a PEFT adapter: download it into a folder"):
            load_model("org/adapter")
