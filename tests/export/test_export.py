"""An exported folder says what the explainer says, without torch."""

import importlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app
from expnet.errors import InputError, MismatchError, ModelError, NonFiniteError, TextTooLongError, UnsupportedModelError
from expnet.explainer import Explainer
from expnet.export import OnnxExplainer, export, writing
from expnet.export.batches import encode, feeds, pool_words
from expnet.export.manifest import GRAPH, MANIFEST, TOKENIZER, Manifest
from expnet.network.config import ExpNetConfig
from expnet.network.features import FeatureConfig
from expnet.text.encoding import TextTokenizer
from expnet.text.encoding import encode as torch_encode
from expnet.text.encoding import pool_words as torch_pool_words
from expnet.text.texts import Text
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.models import build, save
from tests.tiny_tokenizers import bert_like, bert_like_with_wide_tokens, gpt_like, roberta_like

pytest.importorskip("onnxruntime", reason="onnxruntime (extra onnx) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (extra onnx) is not installed")

ROOT = Path(__file__).parents[2]
LIMIT = 40
LONG = " ".join(["good film , bad text ."] * 20)
TEXTS = (
    "good film",
    "",
    "  A bad,\tbad text\u2026 ",
    LONG,
    Text.of("good film", "bad text"),
    Text.of(LONG, "good"),
    Text.from_words(["good film", "bad-text", "!?"]),
    "\u0645\u0631\u062d\u0628\u0627 good \U0001f44d\U0001f3fd",
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny classifier and its ExpNet on disk, and what the command makes of them."""
    root = tmp_path_factory.mktemp("export")
    save(root / "classifier", build("bert", num_hidden_layers=2), typed=True, model_max_length=LIMIT)
    features = FeatureConfig(patterns=("rows", "columns", "received"))
    config = ExpNetConfig(architecture="bert", layers=2, heads=4, features=features, threshold=0.25)
    random_network(config).save_pretrained(root / "explainer")
    names = [str(root / name) for name in ("classifier", "explainer", "exported")]
    done = CliRunner().invoke(app, ["export", names[0], "--explainer", names[1], "--output", names[2]])
    assert done.exit_code == 0, done.exception
    assert f"Saved to {names[2]}" in done.stdout
    return SimpleNamespace(classifier=names[0], explainer=names[1], exported=root / "exported")


@pytest.fixture(scope="module")
def explainer(folders) -> Explainer:
    """The explainer in torch, with attention in the open, as in the graph."""
    loaded = expnet.load(folders.classifier, explainer=folders.explainer)
    loaded.classifier.support = replace(loaded.classifier.support, backend="eager")
    return loaded


@pytest.fixture(scope="module")
def exported(folders) -> OnnxExplainer:
    return OnnxExplainer.load(folders.exported, threads=1)


def assert_same(ours, theirs, tolerance=1e-5):
    """The same explanation, up to float32 sums in another order."""
    for one, other in zip(ours, theirs, strict=True):
        scores, expected = ([word.score for word in each.words] for each in (one, other))
        assert scores == pytest.approx(expected, abs=tolerance)
        assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance)
        assert one.probability == one.probabilities[one.label]
        bare, also = (
            replace(
                each,
                words=tuple(replace(word, score=0.0) for word in each.words),
                output=0.0,
                outputs={},
                provenance={name: value for name, value in each.provenance.items() if name != "attention"},
            )
            for each in (one, other)
        )
        assert bare == also


@pytest.mark.parametrize("truncate", [False, True])
def test_explanations_are_those_of_torch_for_every_kind_of_text(exported, explainer, truncate):
    ours, theirs = (each.explain(list(TEXTS), truncate=truncate) for each in (exported, explainer))
    assert [each.windows > 1 for each in ours] == [text is LONG or text == TEXTS[5] for text in TEXTS] or truncate
    assert ours[3].truncated is truncate
    assert len({word.score for word in ours[3].words}) > 10
    assert_same(ours, theirs)
    assert ours[0].provenance["attention"] == "onnx"


def test_fused_attention_in_torch_says_the_same_up_to_its_rounding(exported, folders):
    fused = expnet.load(folders.classifier, explainer=folders.explainer)
    assert fused.classifier.support.backend == "fused"
    assert_same(exported.explain(list(TEXTS)), fused.explain(list(TEXTS)), tolerance=1e-4)


def test_a_text_scores_the_same_alone_and_in_a_batch(exported):
    assert_same([exported.explain(text) for text in TEXTS], exported.explain(list(TEXTS)))
    assert exported.explain([]) == []


def test_a_target_changes_the_class_reported(exported, explainer):
    assert_same([exported.explain("good film", target="LABEL_2")], [explainer.explain("good film", target=2)])


@pytest.mark.parametrize(
    ("texts", "options", "error", "match"),
    [
        ("good", {"target": "LABEL2"}, InputError, "Did you mean 'LABEL_2'"),
        (Text.of(LONG, LONG), {}, TextTooLongError, "120 and 120 tokens"),
        ([3], {}, InputError, "Expected a string, got int"),
        (3, {}, InputError, "a list of texts, got int"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_gets_the_errors_of_torch(exported, explainer, texts, options, error, match):
    for each in (exported, explainer):
        with pytest.raises(error, match=match):
            each.explain(texts, **options)


def test_independent_classes_get_independent_probabilities(exported, explainer):
    several = OnnxExplainer(exported.session, exported.tokenizer, replace(exported.manifest, multi_label=True))
    classifier = explainer.classifier
    with torch.no_grad():
        logits = classifier.model(**classifier.encode([Text.of("good film")]).inputs()).logits[0]
    found = list(several.explain("good film").probabilities.values())
    assert found == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)


def test_damaged_weights_are_reported(exported):
    broken = SimpleNamespace(run=lambda _, feed: [np.full((1, 3), np.nan), np.zeros(feed["input_ids"].shape)])
    with pytest.raises(NonFiniteError, match="NaN"):
        OnnxExplainer(broken, exported.tokenizer, exported.manifest).explain("good")


def test_the_command_explains_from_the_folder_without_torch(folders, exported):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'transformers', 'huggingface_hub', 'safetensors'])); "
        "from expnet.cli import main; main()"
    )
    arguments = ["explain", "good film", "bad", "--model", str(folders.exported), "--format", "json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    found = [expnet.Explanation.from_json(line) for line in done.stdout.splitlines()]
    assert_same(found, exported.explain(["good film", "bad"]), tolerance=1e-6)
    refused = CliRunner().invoke(app, [*arguments, "--method", "lime"])
    assert "is exported: it takes no" in str(refused.exception)


def test_int8_keeps_labels_and_order_and_shrinks_the_file(folders, exported, explainer, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_trace", lambda *given: shutil.copy(folders.exported / GRAPH, given[-1]))
    small = OnnxExplainer.load(export(explainer, tmp_path / "int8", int8=True), threads=1)
    assert sorted(path.name for path in (tmp_path / "int8").iterdir()) == sorted([GRAPH, MANIFEST, TOKENIZER])
    # of the tiny model's 474 kB, 160 are weights that can be quantised
    assert (tmp_path / "int8" / GRAPH).stat().st_size < 0.8 * (folders.exported / GRAPH).stat().st_size
    texts = [LONG, "good film , bad text . one !"]
    ours, theirs = small.explain(texts), exported.explain(texts)
    assert [each.label for each in ours] == [each.label for each in theirs]
    assert ours[0].provenance["attention"] == "onnx int8"
    scores = [[word.score for each in found for word in each.words] for found in (ours, theirs)]
    # seven bits a weight: close, and yet not the same
    assert 1e-5 < np.abs(np.subtract(*scores)).max() < 0.2
    assert np.corrcoef(*scores)[0, 1] > 0.9


def test_a_graph_that_differs_from_the_model_is_not_written(folders, tmp_path, monkeypatch):
    other = tiny_explainer(tiny_classifier(seed=1, num_hidden_layers=2))
    monkeypatch.setattr(writing, "_trace", lambda *given: shutil.copy(folders.exported / GRAPH, given[-1]))
    with pytest.raises(UnsupportedModelError, match=r"differs from the model by 0\.\d+ \(at most 1e-03"):
        export(other, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_explainers_that_no_graph_can_hold_are_refused(explainer, tmp_path):
    classifier = explainer.classifier
    with pytest.raises(MismatchError, match=r"sees gradients.*universal/attention"):
        export(Explainer(classifier, random_network(HEAD_SET)), tmp_path)
    with pytest.raises(InputError, match="no ExpNet to export"):
        export(Explainer(classifier), tmp_path)
    with pytest.raises(InputError, match="is a file; expected a folder"):
        export(explainer, Path(__file__))
    half = tiny_explainer(tiny_classifier())
    half.classifier.model.bfloat16()
    with pytest.raises(InputError, match=r"torch\.float32 on the cpu, got torch\.bfloat16 on cpu"):
        export(half, tmp_path)
    assert list(tmp_path.iterdir()) == []


def _without(name):
    return lambda folder: (folder / name).unlink()


def _filled(name, text):
    return lambda folder: (folder / name).write_text(text)


def _changed(**fields):
    def change(folder):
        data = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(data | fields))

    return change


@pytest.mark.parametrize(
    ("damage", "error", "match"),
    [
        (_without(MANIFEST), ModelError, "holds no export.json"),
        (_without(GRAPH), ModelError, "holds no model.onnx"),
        (_without(TOKENIZER), ModelError, "holds no tokenizer.json"),
        (_filled(MANIFEST, "{"), ModelError, "export.json is damaged"),
        (_filled(MANIFEST, "[]"), MismatchError, "got list"),
        (_filled(GRAPH, "no graph"), ModelError, "cannot run .*model.onnx"),
        (_filled(TOKENIZER, "{}"), ModelError, "tokenizer.json is damaged"),
        (_changed(schema=1), MismatchError, "schema 2 .* got schema 1"),
        (_changed(more=1), MismatchError, "'more'"),
        (_changed(labels=["yes", "no"]), MismatchError, "gives 3 logits, but its JSON names 2 classes"),
        (_changed(typed=False), MismatchError, "reads .*token_type_ids"),
    ],
)
def test_damaged_folders_are_refused(folders, tmp_path, damage, error, match):
    shutil.copytree(folders.exported, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(error, match=match):
        OnnxExplainer.load(tmp_path / "copy")


def test_the_tables_in_the_page_are_those_of_the_report():
    sys.path.insert(0, str(ROOT / "scripts"))
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    report = json.loads((ROOT / "docs" / "export.json").read_text(encoding="utf-8"))
    assert importlib.import_module("measure_export").filled(page, report) == page


PIECES = st.sampled_from(["the", "film", "unbelievable", "goods", "É", "字", "can't", "x!!!", ",", "[SEP]", "  "])
RAW = st.lists(PIECES, min_size=1, max_size=14).map(" ".join)
SOME = st.lists(st.tuples(RAW, st.none() | st.sampled_from(["film", "a, b", ""])), min_size=1, max_size=4)
TOKENIZERS = [
    TextTokenizer.of(make(1_000_000)) for make in (bert_like, roberta_like, gpt_like, bert_like_with_wide_tokens)
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["bert", "roberta", "gpt", "wide"])
@given(pairs=SOME, truncate=st.booleans(), seed=st.integers(0, 99))
def test_arrays_and_pooling_are_those_of_torch(tokenizer, pairs, truncate, seed):
    texts = [Text.of(*pair) for pair in pairs]
    theirs = torch_encode(tokenizer, texts, max_length=16, truncate=truncate)
    manifest = Manifest(
        labels=("a",),
        kind="probability",
        multi_label=False,
        max_length=16,
        pad=tokenizer.pad or 0,
        typed=tokenizer.typed,
        threshold=0.5,
        provenance={},
    )
    ours = encode(tokenizer.backend, texts, manifest, truncate=truncate)
    assert ours.text_of.tolist() == theirs.text_of.tolist()
    assert tuple(ours.read) == theirs.read
    inputs = {**theirs.inputs(), "real": theirs.real}
    seen = []
    for rows, feed in feeds(ours, manifest):
        assert feed.keys() == inputs.keys()
        for name, array in feed.items():
            assert array.tolist() == inputs[name][rows, : array.shape[1]].tolist()
        seen += rows
    assert sorted(seen) == list(range(len(theirs)))
    scores = torch.rand(theirs.ids.shape, generator=torch.Generator().manual_seed(seed))
    for index, expected in enumerate(torch_pool_words(scores, theirs)):
        rows = np.flatnonzero(ours.text_of == index)
        windows = [ours.windows[row] for row in rows]
        found = pool_words(windows, [scores[row, : len(ours.windows[row])].numpy() for row in rows], len(expected))
        assert found == pytest.approx(expected.numpy(), abs=1e-6)  # means in another precision
