"""NaN and infinity never leave an explainer: they are an error, at load or of the text that has them."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from expnet.attention.probe import Support
from expnet.benchmark.measure.scores import ScoringJob
from expnet.benchmark.measure.scores import word_scores as benchmark_scores
from expnet.errors import InputError, MismatchError, ModelError, NonFiniteError
from expnet.explainer import Explainer
from expnet.explanation.result import Explanation, Word, scored
from expnet.export import OnnxExplainer
from expnet.export.graph import ExplainingGraph
from expnet.export.manifest import GRAPH, MANIFEST, TOKENIZER, Manifest, read_manifest
from expnet.files.parsing import MOST_LEVELS, parse_json
from expnet.integrations.pandas import explain_frame
from expnet.methods.registry import find_method
from expnet.network.config import ExpNetConfig
from expnet.network.expnet import ExpNet
from expnet.network.features import FeatureConfig
from expnet.network.heads import HeadSetConfig
from expnet.rationales import Record
from expnet.text.texts import Text
from tests.batch_jobs import TEXTS, run, write_parquet
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer

SAMPLE = "A short text."  # what a job explains before its first row
LARGEST = torch.finfo(torch.float32).max


@pytest.fixture(scope="module")
def classifier():
    return tiny_classifier()


def broken(classifier, value, part="first.weight", config=None) -> Explainer:
    """An explainer whose network holds a value that a loaded one never would, or 3e38, which is finite."""
    network = tiny_explainer(classifier).network if config is None else random_network(config)
    with torch.no_grad():
        network.state_dict()[part].fill_(value)
    return Explainer(classifier, network)


@pytest.mark.parametrize("config", [None, HEAD_SET], ids=["attention", "gradient"])
@pytest.mark.parametrize("part", ["first.weight", "rest.2.weight", "scale", "bias"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_explainer_with_damaged_weights_gives_no_score(classifier, value, part, config):
    explainer = broken(classifier, value, part, config)
    with pytest.raises(NonFiniteError, match=r"'expnet(_gradient)?' returned NaN or infinity for 3 of 3 words"):
        explainer.explain("a good film")


def test_a_sum_that_overflows_is_an_error_of_its_text(classifier, monkeypatch):
    def huge(_classifier, encoding, _target):
        return torch.where(encoding.real, LARGEST, 0.0)

    method = replace(find_method("uniform"), name="huge", signed=True, function=huge)
    monkeypatch.setattr("expnet.explainer.explaining.find_method", lambda _: method)
    with pytest.raises(NonFiniteError, match="'huge' returned NaN or infinity for 1 of 2 words"):
        Explainer(classifier).explain("good ab", method="huge")  # "ab" is two tokens


def test_one_token_of_nan_is_found_in_the_best_of_its_word(classifier):
    with pytest.raises(NonFiniteError, match="for 1 of 2 words"):
        scored(Text.of("a b"), [0.5, float("nan")], (3, 0), method="m")


@pytest.fixture(scope="module")
def partly(classifier):
    """An explainer that overflows on some of the texts, and the texts that it overflows on."""
    explainer = tiny_explainer(classifier)
    with torch.no_grad():
        explainer.network.bias.zero_()
        explainer.network.rest[2].bias.zero_()
    strongest = {}
    for text in (*TEXTS, SAMPLE):
        scores = torch.tensor([word.score for word in explainer.explain(text).words] or [0.5], dtype=torch.float64)
        strongest[text] = float(scores.logit().abs().max())
    middle = 1.01 * strongest.pop(SAMPLE)
    with torch.no_grad():
        explainer.network.rest[2].weight.mul_(1e6)  # so that a finite scale makes some of the logits overflow
        explainer.network.scale.fill_(LARGEST / (middle * 1e6))
    return explainer, {text for text in TEXTS if strongest[text] > middle}


def test_a_row_whose_scores_overflow_is_marked_and_the_others_are_explained(partly, tmp_path):
    explainer, over = partly
    assert 0 < len(over) < len(TEXTS)
    explained = run(explainer, write_parquet(tmp_path / "texts.parquet"), tmp_path / "out")
    assert {row["text"] for row in explained if row["status"] == "not finite"} == over
    assert all("returned NaN or infinity" in row["error"] for row in explained if row["text"] in over)
    assert all(np.isfinite(row["scores"]).all() for row in explained if row["status"] == "ok")
    assert all(row["scores"] is None for row in explained if row["status"] != "ok")


def test_a_frame_marks_the_same_rows(partly):
    import pandas as pd

    explainer, over = partly
    explained = explain_frame(explainer, pd.DataFrame({"text": TEXTS}))
    assert set(explained.loc[explained["status"] == "not finite", "text"]) == over


def test_the_graph_returns_nan_where_a_sigmoid_would_hide_that_a_logit_overflowed(classifier):
    explainer = broken(classifier, 3e38)
    encoding = classifier.encode([Text.of("a good film")])
    with torch.no_grad():
        _, scores = ExplainingGraph(classifier, explainer.network)(**encoding.inputs(), real=encoding.real)
    assert scores[encoding.real].isnan().all()


def test_scores_of_a_graph_that_are_not_finite_are_an_error(classifier):
    def answer(_, feed):
        return [np.zeros((1, 1), np.float32), np.full(feed["input_ids"].shape, np.nan, np.float32)]

    manifest = Manifest(
        labels=("a",),
        kind="probability",
        multi_label=False,
        max_length=32,
        pad=0,
        typed=True,
        threshold=0.5,
        provenance={},
    )
    exported = OnnxExplainer(SimpleNamespace(run=answer), classifier.text_tokenizer.backend, manifest)
    with pytest.raises(NonFiniteError, match="returned NaN or infinity for 3 of 3 words"):
        exported.explain("a good film")


@pytest.mark.parametrize("config", [None, HEAD_SET], ids=["attention", "gradient"])
def test_the_benchmark_measures_no_score_that_is_not_finite(classifier, config):
    network = broken(classifier, 3e38, config=config).network
    job = ScoringJob(find_method("expnet_gradient" if config else "expnet"), {}, network=network)
    with pytest.raises(NonFiniteError, match="returned NaN or infinity"):
        benchmark_scores(classifier, [Record("1", Text.of("a good film"))], [0], job)


class TestSavedNetworks:
    @pytest.fixture
    def folder(self, tmp_path):
        random_network(HEAD_SET).save_pretrained(tmp_path)
        return tmp_path

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 3e38])
    @pytest.mark.parametrize("part", ["scale", "bias", "rest.2.weight"])
    def test_weights_that_are_not_finite_are_refused(self, folder, part, value):
        weights = load_file(folder / "model.safetensors")
        weights[part].view(-1)[0] = value
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(ModelError, match=f"is damaged: {part} holds NaN, infinity or a number beyond 1e.09"):
            ExpNet.from_pretrained(folder)

    @pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_a_threshold_that_is_not_finite_is_refused(self, folder, literal):
        text = (folder / "config.json").read_text().replace('"threshold": 0.5', f'"threshold": {literal}')
        (folder / "config.json").write_text(text)
        with pytest.raises(ModelError, match=f"it holds {literal}, which is not a finite number"):
            ExpNet.from_pretrained(folder)


ABSURD = [
    ({"architecture": 3}, "architecture=3, expected a string"),
    ({"layers": "2"}, "layers='2', expected a whole number from 0 to 1,000"),
    ({"layers": 10**12}, "layers=1000000000000"),
    ({"heads": -1}, "heads=-1"),
    ({"heads": 2.0}, "heads=2.0"),
    ({"features": None}, "features=None"),
    ({"context": 10**9}, "context=1000000000, expected a whole number from 0 to 256"),
    ({"context": True}, "context=True"),
    ({"hidden": ()}, r"hidden=\(\), expected a list of from 1 to 32 of a whole number"),
    ({"hidden": (64,) * 1000}, r"hidden=\(64, 64"),
    ({"hidden": (10**9,)}, r"hidden=\(1000000000,\)"),
    ({"hidden": 64}, "hidden=64"),
    ({"dropout": 1.5}, "dropout=1.5, expected a finite number from 0 to 1"),
    ({"feature_dropout": float("nan")}, "feature_dropout=nan"),
    ({"threshold": float("nan")}, "threshold=nan"),
    ({"threshold": float("inf")}, "threshold=inf"),
    ({"threshold": 2}, "threshold=2"),
    ({"threshold": None}, "threshold=None"),
    ({"provenance": []}, r"provenance=\[\], expected an object"),
    ({"schema": True}, "schema=True, expected 1"),
    ({"layers": -1, "heads": -2}, "layers=-1, .*; heads=-2, "),
]


@pytest.fixture
def unchecked():
    """What a user gets, for whom nobody checks types."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("fields", "message"), ABSURD)
def test_configs_with_absurd_values_are_refused_with_every_field(fields, message):
    with pytest.raises(MismatchError, match=f"Not a valid ExpNetConfig: {message}"):
        ExpNetConfig(**{"architecture": "bert", "layers": 2, "heads": 3} | fields)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (FeatureConfig, {"patterns": ("rows", ["rows"])}, r"patterns=\('rows', \['rows'\]\), expected a list"),
        (FeatureConfig, {"heads": ["each"]}, "heads="),
        (FeatureConfig, {"normalise": 1}, "normalise=1"),
        (FeatureConfig, {"floor": float("inf")}, "floor=inf"),
        (HeadSetConfig, {"tier": None}, "tier=None"),
        (HeadSetConfig, {"floor": float("nan")}, "floor=nan"),
        (HeadSetConfig, {"gate": 10**9}, "gate=1000000000"),
        (HeadSetConfig, {"summed": 0.5}, "summed=0.5"),
        (HeadSetConfig, {"head_dropout": 1}, "head_dropout=1"),
    ],
)
def test_features_with_absurd_values_are_refused(kind, fields, message):
    with pytest.raises(MismatchError, match=f"Not a valid {kind.__name__}: {message}"):
        kind(**fields)


def test_a_config_from_a_file_is_held_to_the_same_ranges():
    told = json.loads(json.dumps({**asdict(HEAD_SET), "context": 10**6}))
    with pytest.raises(MismatchError, match="context=1000000"):
        ExpNetConfig.from_dict(told)


def test_a_network_for_a_classifier_of_any_size_is_still_built():
    config = ExpNetConfig(architecture="bert", layers=120, heads=128, hidden=(64, 32))
    assert ExpNet(config).first.weight.shape == (64, 2 * 120 * 128, 3)
    random_network(config).check_fits("bert", Support("first", "fused", 120, 128))


MANIFEST_DATA = {
    "labels": ["a", "b"],
    "kind": "probability",
    "multi_label": False,
    "max_length": 32,
    "pad": 0,
    "typed": True,
    "threshold": 0.5,
    "provenance": {},
    "versions": {},
    "schema": 2,
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "ab"}, "labels='ab', expected a list of from 1"),
        ({"labels": [1, 2]}, "labels="),
        ({"labels": []}, "labels="),
        ({"multi_label": 1}, "multi_label=1, expected true or false"),
        ({"max_length": 0}, "max_length=0"),
        ({"max_length": "long"}, "max_length='long'"),
        ({"pad": -1}, "pad=-1"),
        ({"pad": 10**12}, "pad=1000000000000"),
        ({"typed": None}, "typed=None"),
        ({"threshold": 7}, "threshold=7"),
        ({"provenance": {"a": []}}, "provenance="),
        ({"threshold": float("nan")}, "it holds NaN"),
    ],
)
def test_manifests_with_absurd_values_are_refused(fields, message, tmp_path):
    for name in (GRAPH, TOKENIZER):
        (tmp_path / name).write_text("")
    (tmp_path / MANIFEST).write_text(json.dumps(MANIFEST_DATA))
    assert read_manifest(tmp_path).labels == ("a", "b")
    (tmp_path / MANIFEST).write_text(json.dumps(MANIFEST_DATA | fields))
    with pytest.raises(ModelError, match=f"export.json is damaged: {message}"):
        read_manifest(tmp_path)


WORD = {"text": "b", "start": 0, "end": 1, "segment": 0, "score": 0.5, "seen": True}
TOLD = Explanation("b", None, (Word("b", 0, 1, 0, 0.5),), "yes", 0.75, {"yes": 0.75, "no": 0.25}, "expnet").to_dict()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"words": [WORD | {"score": float("nan")}]}, "score=nan, expected a finite number"),
        ({"words": [WORD | {"score": "0.5"}]}, "score='0.5'"),
        ({"words": [WORD | {"start": -1}]}, "start=-1"),
        ({"words": [WORD | {"end": 3_000_000_000}]}, "end=3000000000"),
        ({"words": [WORD | {"segment": 2}]}, "segment=2, expected one of 0, 1"),
        ({"words": [WORD | {"more": 2}]}, r"unknown fields \['more'\]"),
        ({"words": ["b"]}, ""),
        ({"words": None}, ""),
        ({"probability": float("nan")}, "probability=nan"),
        ({"probabilities": {"yes": float("inf")}}, "probabilities="),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"text": None}, "text=None, expected a string"),
        ({"pair": 3}, "pair=3"),
        ({"signed": "no"}, "signed='no'"),
        ({"windows": 1.5}, "windows=1.5"),
        ({"provenance": {"a": 1}}, "provenance="),
    ],
)
def test_explanations_with_absurd_values_are_refused(fields, message):
    assert Explanation.from_dict(TOLD).words[0].score == 0.5
    with pytest.raises(InputError, match=f"Not a valid explanation: .*{message}"):
        Explanation.from_dict(TOLD | fields)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 101 + "]" * 101, '{"a":' * 150 + "1" + "}" * 150])
def test_json_that_is_nested_too_deep_is_refused(text):
    with pytest.raises(ValueError, match=f"nested more than {MOST_LEVELS} deep"):
        parse_json(text)


def test_json_that_names_a_field_twice_is_refused_since_readers_differ_in_which_they_take():
    with pytest.raises(ValueError, match="it names the field 'b' twice"):
        parse_json('{"a": [{"b": 1, "c": 2, "b": 3}]}')


def test_json_within_the_limits_is_what_it_says():
    assert parse_json("[" * 100 + "]" * 100) == json.loads("[" * 100 + "]" * 100)
    assert parse_json(b'{"a": [1, -0.5, "NaN", null, true]}') == {"a": [1, -0.5, "NaN", None, True]}
    for wrong in (b"\xff", "{", "9" * 5000):
        with pytest.raises(ValueError, match=r"\w"):
            parse_json(wrong)
