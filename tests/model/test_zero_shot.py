"""A model of natural language inference classifies by labels as transformers' zero-shot pipeline does."""

from functools import cache

import pytest
import torch
from torch.testing import assert_close
from transformers import pipeline

import expnet
from expnet import Classifier, Explainer, Text
from expnet.errors import InputError, ModelError, UnsupportedModelError
from expnet.explainer import load
from expnet.export import export
from expnet.methods.registry import TABLE
from expnet.metrics.erasure import soft_erasure
from expnet.metrics.faithfulness import perturbation_curves
from expnet.metrics.sanity import randomised
from expnet.model.batches import predict_texts
from expnet.network.inputs import read_features
from expnet.network.universal import named
from expnet.text.encoding import pool_words
from expnet.text.texts import as_text
from expnet.text.zero_shot import ZeroShot
from tests.classifiers import tiny_network
from tests.models import build, save, tokenizer
from tests.support import options_for

NLI = {0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"}
LABELS = ("good", "a bad film", "short")
TEXTS = ["The first film was a good one!", "bad", "Another text, long and bad: no film."]
ARCHITECTURES = ("bert", "bart", "deberta-v2")
ZERO_SHOT = {
    "single": ZeroShot(labels=LABELS, hypothesis="This text is {}."),
    "independent": ZeroShot(labels=LABELS, hypothesis="This text is {}.", multi_label=True),
}
KINDS = pytest.mark.parametrize("kind", ZERO_SHOT)
EACH = pytest.mark.parametrize("architecture", ARCHITECTURES)


def nli(architecture, names=NLI, **changes):
    labels = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
    return build(architecture, num_labels=len(names), **labels, **changes)


@cache
def made(architecture, kind="single", **settings):
    return Classifier(nli(architecture), tokenizer(typed=architecture == "bert"), prompt=ZERO_SHOT[kind], **settings)


def given(answer):
    """The pipeline's scores by label."""
    return dict(zip(answer["labels"], answer["scores"], strict=True))


def pair(text, label):
    """What plain transformers reads for a text and a label."""
    return tokenizer(typed=True)(text, ZERO_SHOT["single"].hypothesis.format(label), return_tensors="pt")


@EACH
@KINDS
def test_outputs_are_those_of_the_pipeline(architecture, kind):
    zero_shot = ZERO_SHOT[kind]
    theirs = pipeline("zero-shot-classification", model=nli(architecture), tokenizer=made(architecture).tokenizer)
    settings = {"hypothesis_template": zero_shot.hypothesis, "multi_label": zero_shot.multi_label}
    explanations = Explainer(made(architecture, kind)).explain(TEXTS, method="random")
    for text, explanation in zip(TEXTS, explanations, strict=True):
        expected = theirs(text, list(LABELS), **settings)
        assert explanation.outputs == pytest.approx(given(expected), abs=1e-5)
        assert explanation.label == expected["labels"][0]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({0: "entailment", 1: "neutral", 2: "contradiction"}, LABELS),
        ({0: "entailment", 1: "not_entailment"}, LABELS),
        ({0: "contradiction", 1: "entailment", 2: "neutral"}, LABELS),
        (NLI, ("good",)),  # one label is judged by itself
    ],
)
def test_classes_in_other_orders_and_a_single_label_are_read_as_by_the_pipeline(names, labels):
    model = nli("bert", names)
    classifier = Classifier(model, tokenizer(typed=True), prompt=ZeroShot(labels=labels, multi_label=len(labels) > 1))
    theirs = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer(typed=True))
    outputs = predict_texts(classifier, [Text.of(text) for text in TEXTS])
    assert outputs.multi_label
    for text, row in zip(TEXTS, outputs.outputs.tolist(), strict=True):
        expected = theirs(text, list(labels), multi_label=True)
        assert dict(zip(labels, row, strict=True)) == pytest.approx(given(expected), abs=1e-5)


def test_contradiction_is_the_class_of_that_name_wherever_it_stands():
    model = nli("bert", {0: "entailment", 1: "contradiction", 2: "neutral"})
    classifier = Classifier(model, tokenizer(typed=True), prompt=ZERO_SHOT["independent"])
    outputs = classifier.predict(classifier.encode(TEXTS[:1])).outputs[0]
    with torch.no_grad():
        logits = torch.stack([model(**pair(TEXTS[0], label)).logits[0, [1, 0]] for label in LABELS])
    assert_close(outputs, logits.softmax(-1)[:, 1], atol=1e-5, rtol=0)


@EACH
@KINDS
def test_every_method_scores_the_premise_alone_the_same_alone_and_in_a_batch(architecture, kind):
    classifier, worked = made(architecture, kind), set()
    text = TEXTS[1]
    for method in TABLE:
        few = {name: 8 for name in ("steps", "samples") if name in method.options}
        options = options_for(method, classifier) | few
        try:
            network = tiny_network(classifier, method)
            alone, among = (
                method.attribute(classifier, classifier.encode(texts), target, options=options, network=network)
                for texts, target in (([text], torch.tensor([1])), (TEXTS, torch.tensor([2, 1, 0])))
            )
        except UnsupportedModelError:
            # Relevance that starts with 1 for entailment and -1 for contradiction sums to 0: it refuses contrasts.
            assert architecture != "bert" or (method.name, kind) == ("transformer_attribution", "independent")
            continue
        worked.add(method.family)
        encoding = classifier.encode(TEXTS)
        assert among.shape == encoding.ids.shape
        assert not among[~encoding.real].any()
        length = int(encoding.mask[1].sum())
        scale = float(among.abs().max())
        assert_close(among[1, :length], alone[0, :length], atol=1e-3 * scale, rtol=1e-3, msg=method.name)
    assert worked >= {"attention", "gradient", "attention-gradient", "perturbation", "surrogate", "learned"}


@KINDS
def test_a_gradient_is_that_of_the_entailment_of_the_label(kind):
    classifier, model = made("bert", kind), nli("bert")
    scores = expnet.find_method("saliency").attribute(classifier, classifier.encode(TEXTS[:1]), torch.tensor([1]))[0]
    inputs = pair(TEXTS[0], LABELS[1])
    table = model.get_input_embeddings()
    start = table(inputs.pop("input_ids")).detach().requires_grad_()
    logits = model(inputs_embeds=start, **inputs).logits[0]
    (gradient,) = torch.autograd.grad(logits[2] - (logits[0] if kind == "independent" else 0), start)
    real = classifier.encode(TEXTS[:1]).real[0]
    places = real.nonzero().flatten()
    assert_close(scores[places], gradient[0, places].norm(dim=-1), atol=1e-5, rtol=1e-4)


@KINDS
@pytest.mark.parametrize("output", ["logit", "probability"])
def test_leave_one_out_is_what_the_pairs_lose(kind, output):
    classifier, model, text = made("bert", kind), nli("bert"), TEXTS[0]
    encoding, method = classifier.encode([text]), expnet.find_method("leave_one_out")
    options = {"output": output, "replacement": "mask", "unit": "token"}
    scores = method.attribute(classifier, encoding, torch.tensor([1]), options=options)[0]

    def worth(place):
        logits = []
        for label in LABELS:
            inputs = pair(text, label)
            if place is not None:
                inputs["input_ids"][0, place] = classifier.mask_id
            with torch.no_grad():
                logits.append(model(**inputs).logits[0])
        logits = torch.stack(logits)
        of_labels = logits[:, 2] - logits[:, 0] if kind == "independent" else logits[:, 2]
        if output == "probability":
            of_labels = of_labels.sigmoid() if kind == "independent" else of_labels.softmax(0)
        return of_labels[1]

    for place in encoding.real[0].nonzero().flatten().tolist():
        assert_close(scores[place], worth(None) - worth(place), atol=2e-5, rtol=1e-4)


def test_an_explanation_of_a_label_takes_only_the_pass_of_that_label(monkeypatch):
    classifier = made("bert")
    encoding, passes = classifier.encode(TEXTS), []
    classifier.model.register_forward_hook(lambda _module, _args, kwargs, _out: passes.append(1), with_kwargs=True)
    classifier.support  # noqa: B018  # found once
    passes.clear()
    expnet.find_method("saliency").attribute(classifier, encoding, torch.tensor([0, 1, 2]))
    assert len(passes) == 1
    classifier.predict(encoding)
    assert len(passes) == 1 + len(LABELS)
    made.cache_clear()  # the hook stays on this one


@KINDS
def test_removing_words_and_erasing_them_compare_probabilities_of_the_label(kind):
    classifier = made("bert", kind)
    encoding, target = classifier.encode(TEXTS), torch.tensor([1, 2, 0])
    scores = {"x": [torch.arange(len(text.words)).double().numpy() for text in encoding.texts]}
    outputs = classifier.predict(encoding).outputs
    expected = outputs.gather(1, target[:, None])[:, 0].double().numpy()
    curves = perturbation_curves(classifier, encoding, target, scores, fractions=[1.0])["x"]
    erasure = soft_erasure(classifier, encoding, target, scores, samples=2)["x"]
    assert curves.full == pytest.approx(expected, abs=1e-5)
    assert erasure.full == pytest.approx(expected, abs=1e-5)
    assert abs(curves.removed[:, 0] - expected).max() > 1e-3


@EACH
def test_a_long_premise_is_read_in_windows_with_the_hypothesis_in_each(architecture):
    zero_shot = ZERO_SHOT["single"]
    classifier = Classifier(nli(architecture), tokenizer(typed=architecture == "bert"), prompt=zero_shot, max_length=24)
    text = as_text("good film one, a bad text. another long one! the first short text, one bad film and a good one.")
    encoding = classifier.encode([text])
    assert len(encoding) > 1
    for label in range(len(LABELS)):
        target = torch.full((len(encoding),), label)
        windows, _ = classifier.about(encoding, target)
        hypothesis = tokenizer()(zero_shot.hypotheses[label], add_special_tokens=False).input_ids
        for row in range(len(windows)):
            ids = windows.ids[row, windows.mask[row]].tolist()
            assert ids[-len(hypothesis) - 2 :] == [3, *hypothesis, 3]
            premise = windows.ids[row, windows.real[row]].tolist()
            assert ids == [2, *premise, 3, *hypothesis, 3]
            assert premise == encoding.ids[row, encoding.real[row]].tolist()
    scores = expnet.find_method("leave_one_out").attribute(classifier, encoding, torch.zeros(len(encoding)).long())
    (words,) = pool_words(scores, encoding, pool="sum")
    assert len(words) == len(text.words)
    assert (words != 0).all()
    with torch.no_grad():
        logits = [
            torch.stack(
                [classifier.model(**_plain(classifier, encoding, row, label)).logits[0, 2] for label in range(3)]
            )
            for row in range(len(encoding))
        ]
    mean = torch.stack(logits).softmax(-1).mean(0)
    assert_close(classifier.predict(encoding).outputs[0], mean, atol=1e-5, rtol=1e-4)


def _plain(classifier, encoding, row, label):
    """The inputs of one window and one label, put together by hand."""
    premise = encoding.ids[row, encoding.real[row]].tolist()
    hypothesis = tokenizer()(ZERO_SHOT["single"].hypotheses[label], add_special_tokens=False).input_ids
    ids = torch.tensor([[2, *premise, 3, *hypothesis, 3]])
    types = torch.tensor([[0] * (len(premise) + 2) + [1] * (len(hypothesis) + 1)])
    typed = {"token_type_ids": types} if encoding.type_ids is not None else {}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **typed}


@pytest.mark.parametrize("name", ["universal", "universal/attention"])
def test_an_expnet_reads_the_pass_of_the_label(name):
    classifier = made("bert")
    explainer = Explainer(classifier, named(name))
    one, other = (explainer.explain(TEXTS[0], target=label) for label in ("good", "short"))
    assert one.uses_target
    assert [word.score for word in one.words] != pytest.approx([word.score for word in other.words], abs=1e-4)
    assert [word.text for word in one.words] == TEXTS[0].replace("!", " !").split()
    among = explainer.explain(TEXTS, target="good")[0]
    assert [word.score for word in among.words] == pytest.approx([word.score for word in one.words], abs=1e-4)
    assert explainer.check(TEXTS).texts == 3
    with pytest.raises(InputError, match="one by one"):
        read_features(classifier, classifier.encode(TEXTS), explainer.network.config.features, target="predicted")
    with pytest.raises(InputError, match="one by one"):
        classifier.trace(classifier.encode(TEXTS))


def test_a_blank_text_and_a_padded_one_with_equal_lengths_only_work():
    classifier = Classifier(nli("bert", pad_token_id=None), tokenizer(typed=True), prompt=ZERO_SHOT["single"])
    assert classifier.text_tokenizer.pad is None
    outputs = classifier.predict(classifier.encode(["", *TEXTS])).outputs
    assert_close(outputs, made("bert").predict(made("bert").encode(["", *TEXTS])).outputs, atol=1e-5, rtol=1e-4)
    scores = expnet.find_method("rise").attribute(
        classifier, classifier.encode(TEXTS), torch.tensor([0, 1, 2]), options={"samples": 20, "replacement": "mask"}
    )
    expected = expnet.find_method("rise").attribute(
        made("bert"), made("bert").encode(TEXTS), torch.tensor([0, 1, 2]), options={"samples": 20}
    )
    assert_close(scores, expected, atol=1e-5, rtol=1e-3)


def test_a_randomised_copy_asks_the_same():
    copy = randomised(made("bert"), layers=1, seed=1)
    assert copy.labels == LABELS
    assert not torch.allclose(
        copy.predict(copy.encode(TEXTS)).outputs, made("bert").predict(made("bert").encode(TEXTS)).outputs, atol=1e-3
    )


def test_what_cannot_be_asked_is_refused(tmp_path):
    explainer = Explainer(made("bert"), named("universal/attention"))
    with pytest.raises(UnsupportedModelError, match="pass of its own"):
        explainer.explain(TEXTS[0], method="saliency", target="good", against="short")
    with pytest.raises(InputError, match="ask about one text"):
        explainer.explain(Text.of("a text", "and its pair"), method="saliency")
    with pytest.raises(ModelError, match="called entailment"):
        Classifier(build("bert"), tokenizer(typed=True), prompt=ZERO_SHOT["single"])
    with pytest.raises(InputError, match="'good' and 'GOOD' apart"):
        Classifier(nli("bert"), tokenizer(typed=True), prompt=ZeroShot(labels=["good", "GOOD"]))
    with pytest.raises(InputError, match="takes no prompt"):
        load("demo/sentiment", zero_shot=["good"])
    pytest.importorskip("onnxscript")
    with pytest.raises(InputError, match="in a pass each"):
        export(explainer, tmp_path / "graph")


def test_labels_are_given_in_calls_and_saved_with_an_expnet(tmp_path):
    folder = save(tmp_path / "model", nli("bert"), typed=True)
    explainer = load(folder, zero_shot=LABELS, hypothesis="This text is {}.", multi_label=True)
    assert explainer.classifier.prompt == ZERO_SHOT["independent"]
    assert explainer.classifier.multi_label
    expected = predict_texts(made("bert", "independent"), [Text.of(text) for text in TEXTS]).outputs
    assert_close(predict_texts(explainer.classifier, [Text.of(text) for text in TEXTS]).outputs, expected)
    assert explainer.classifier.fingerprint() != load(folder, zero_shot=LABELS).classifier.fingerprint()
    assert load(folder, zero_shot=["x"]).classifier.prompt == ZeroShot(labels=["x"], hypothesis="This example is {}.")
    for given in ({"hypothesis": "It is {}."}, {"multi_label": True}, {"zero_shot": []}):
        with pytest.raises(InputError, match="needs labels"):
            load(folder, **given)
    with pytest.raises(InputError, match="leave out the prompt"):
        load(folder, zero_shot=LABELS, prompt="{text}", labels={"a": "b", "c": "d"})
