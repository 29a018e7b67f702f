"""A language model with a prompt is a classifier: what it gives is what plain transformers give."""

import copy
from functools import cache

import pytest
import torch
from torch.testing import assert_close

import expnet
from expnet import Classifier, Explainer, ExpNet, Text
from expnet.errors import InputError, ModelError, UnsupportedModelError
from expnet.explainer import load, load_classifier
from expnet.metrics.sanity import randomised
from expnet.network.universal import named
from expnet.text.prompts import Prompt, saved_prompt
from tests.language_models import FAMILIES, build, save, tokenizer
from tests.models import build as classifier_of
from tests.models import tokenizer as words

TEMPLATE = "Review: {text}\nIs it good?"
TEXTS = ["the film was yes, no doubt of the", "short", "no the yes"]
PROMPTS = {
    "one token": Prompt(template=TEMPLATE, labels={"good": " yes", "bad": " no", "so": " the"}),
    "several": Prompt(template=TEMPLATE, labels={"good": " yes so", "bad": " not so", "so": " so"}),
}
METHODS = {
    "raw_attention": {},
    "generic_relevance": {},
    "saliency": {},
    "leave_one_out": {"replacement": "pad"},
    "kernel_shap": {"replacement": "pad", "samples": 60},
    "expnet": {},
}
# Padding and batches change the order of sums in float32.
CLOSE = {"atol": 2e-5, "rtol": 2e-4}


@cache
def made(family, words_have="one token"):
    return Classifier(build(family), tokenizer(), prompt=PROMPTS[words_have])


def whole(text, prompt):
    """Return the ids of the prompt with a text, and of each label's word, all by the tokenizer itself."""
    ids = tokenizer()(prompt.template.replace("{text}", text)).input_ids
    return ids, [tokenizer()(word, add_special_tokens=False).input_ids for word in prompt.labels.values()]


def reference(model, text, prompt, embeddings=None):
    """Return the labels' logits by plain transformers: each word read whole after the prompt, one by one.

    `embeddings` replace those of the prompt.
    """
    ids, words_of_labels = whole(text, prompt)
    table = model.get_input_embeddings()
    sums = []
    for word in words_of_labels:
        start = table(torch.tensor([ids])) if embeddings is None else embeddings
        inputs = torch.cat([start, table(torch.tensor([word]))], 1)
        logits = model(inputs_embeds=inputs, use_cache=False).logits[0, len(ids) - 1 : -1]
        logits = logits if all(len(word) == 1 for word in words_of_labels) else logits.log_softmax(-1)
        sums.append(logits[range(len(word)), word].sum())
    return torch.stack(sums)


@pytest.mark.parametrize("words_have", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_is_the_next_token_or_the_log_probability_of_its_word(family, words_have):
    classifier, model = made(family, words_have), build(family)
    prediction = classifier.predict(classifier.encode(TEXTS))
    assert prediction.labels == ("good", "bad", "so")
    with torch.no_grad():
        logits = torch.stack([reference(model, text, PROMPTS[words_have]) for text in TEXTS])
    assert_close(prediction.probabilities, logits.softmax(-1), atol=1e-5, rtol=1e-4)
    assert_close(classifier.trace(classifier.encode(TEXTS)).logits, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("words_have", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_anchor_is_the_last_token_of_the_prompt(family, words_have):
    classifier = made(family, words_have)
    # What caps its scores has no fused kernel for the tokens of the words.
    eager = family == "gemma2" and words_have == "several"
    assert (classifier.support.anchor, classifier.support.backend) == ("last", "eager" if eager else "fused")
    trace = classifier.trace(classifier.encode(TEXTS))
    model = build(family)
    model.set_attn_implementation("eager")
    for row, text in enumerate(TEXTS):
        ids, _ = whole(text, PROMPTS[words_have])
        with torch.no_grad():
            attentions = model(torch.tensor([ids]), output_attentions=True).attentions
        expected = torch.stack([layer[0, :, -1] for layer in attentions])
        assert_close(trace.rows[row, ..., : len(ids)], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("words_have", PROMPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gradient_is_that_of_the_whole_computation(family, words_have):
    classifier, model, text = made(family, words_have), build(family), TEXTS[0]
    encoding = classifier.encode([text])
    scores = expnet.find_method("saliency").attribute(classifier, encoding, torch.tensor([1]))[0]
    ids, _ = whole(text, PROMPTS[words_have])
    start = model.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_()
    logit = reference(model, text, PROMPTS[words_have], start)[1]
    scale = getattr(model.get_input_embeddings(), "embed_scale", torch.tensor(1.0))
    (gradient,) = torch.autograd.grad(logit, start)
    # Gemma's embeddings are scaled by the table itself; the gradient is that of what the table holds.
    assert_close(scores, (gradient[0].norm(dim=-1) * scale).masked_fill(encoding.special[0], 0), **CLOSE)


@pytest.mark.parametrize("words_have", PROMPTS)
@pytest.mark.parametrize("family", ["gpt2", "qwen3"])
def test_leave_one_out_takes_away_tokens_of_the_text_only(family, words_have):
    classifier, model, text = made(family, words_have), build(family), TEXTS[2]
    encoding = classifier.encode([text])
    method = expnet.find_method("leave_one_out")
    scores = method.attribute(classifier, encoding, torch.tensor([1]), options={"replacement": "pad"})[0]
    ids, _ = whole(text, PROMPTS[words_have])
    table, expected = model.get_input_embeddings(), torch.zeros(len(ids))
    with torch.no_grad():
        full = reference(model, text, PROMPTS[words_have])[1]
        for place in encoding.real[0].nonzero().flatten().tolist():
            without = table(torch.tensor([ids]))
            without[0, place] = table.weight[0]
            expected[place] = full - reference(model, text, PROMPTS[words_have], without)[1]
    assert int(encoding.real.sum()) == 3
    assert_close(scores, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("words_have", PROMPTS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma2"])
def test_words_of_the_text_alone_are_scored_the_same_alone_and_in_a_batch(family, words_have):
    classifier = made(family, words_have)
    for tier in ("universal/attention", "universal"):
        explainer = Explainer(classifier, named(tier))
        for method, options in METHODS.items() if tier == "universal" else [("expnet", {})]:
            together = explainer.explain(TEXTS, method=method, options=options, target="bad")
            for text, explanation in zip(TEXTS, together, strict=True):
                alone = explainer.explain(text, method=method, options=options, target="bad")
                assert [word.text for word in explanation.words] == [text[s.start : s.end] for s in Text.of(text).words]
                assert any(word.score != 0 for word in explanation.words), method
                ours, theirs = ([word.score for word in one.words] for one in (explanation, alone))
                assert_close(torch.tensor(ours), torch.tensor(theirs), atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("method", ["deeplift", "transformer_attribution", "conservative_propagation", "decompx"])
def test_what_propagates_through_one_pass_takes_words_of_one_token_only(method):
    options = {"replacement": "pad"} if method == "deeplift" else {}
    explanation = Explainer(made("llama")).explain(TEXTS[0], method=method, options=options)
    assert any(word.score for word in explanation.words)
    with pytest.raises(UnsupportedModelError, match="words of several tokens take more"):
        Explainer(made("llama", "several")).explain(TEXTS[0], method=method, options=options)


@pytest.mark.parametrize("words_have", PROMPTS)
def test_a_long_text_is_read_in_windows_that_leave_room_for_the_words(words_have):
    classifier = made("llama", words_have)
    longest = max(len(ids) for ids in whole("", PROMPTS[words_have])[1])
    assert classifier.max_length == 256 - (longest - 1)
    encoding = classifier.encode(["the yes no film " * 60])
    assert len(encoding) > 1
    assert int(encoding.mask.sum(1).max()) == classifier.max_length
    one, *_ = encoding.ids
    with torch.no_grad():
        text = classifier.tokenizer.decode(one[encoding.real[0]]).removeprefix(" ")
        expected = reference(build("llama"), text, PROMPTS[words_have])
    assert_close(classifier.trace(encoding).logits[0], expected, atol=1e-4, rtol=1e-4)


def test_a_pair_is_asked_for_in_two_fields():
    prompt = Prompt(template="{text}\nAnswer: {pair}\nSafe?", labels={"yes": " yes", "no": " no"})
    classifier = Classifier(build("qwen3"), tokenizer(), prompt=prompt)
    text = Text.of("the film", "no yes")
    ids = tokenizer()("the film\nAnswer: no yes\nSafe?").input_ids
    with torch.no_grad():
        logits = build("qwen3")(torch.tensor([ids])).logits[0, -1]
    tokens = tokenizer().convert_tokens_to_ids(["Ġyes", "Ġno"])
    assert_close(classifier.predict(classifier.encode([text])).probabilities[0], logits[tokens].softmax(0))
    explanation = Explainer(classifier, named("universal")).explain(text)
    assert [(word.text, word.segment) for word in explanation.words] == [("the", 0), ("film", 0), ("no", 1), ("yes", 1)]
    with pytest.raises(InputError, match="not a pair"):
        Explainer(classifier).explain("the film", method="raw_attention")


def test_the_language_model_stays_as_it_was():
    model = build("gpt2").train()
    before, names = copy.deepcopy(model.config.to_dict()), {name for name, _ in model.named_parameters()}
    Explainer(Classifier(model, tokenizer(), prompt=PROMPTS["several"]), named("universal")).explain(TEXTS)
    assert model.config.to_dict() == before
    assert model.training
    assert all(module.training for module in model.modules())
    assert {name for name, _ in model.named_parameters()} == names
    assert all(parameter.grad is None for parameter in model.parameters())


def test_padding_does_not_need_a_token_of_its_own():
    for changes, pad in (({"pad_token_id": None}, 2), ({"pad_token_id": None, "eos_token_id": None}, None)):
        classifier = Classifier(build("gpt2", **changes), tokenizer(), prompt=PROMPTS["one token"])
        assert classifier.text_tokenizer.pad == pad
        expected = made("gpt2").predict(made("gpt2").encode(TEXTS)).probabilities
        assert_close(classifier.predict(classifier.encode(TEXTS)).probabilities, expected, atol=1e-5, rtol=1e-4)
    ends_with_padding = Prompt(template="{text}</s>", labels={"a": "yes", "b": "no"})
    classifier = Classifier(build("gpt2", pad_token_id=2), tokenizer(), prompt=ends_with_padding)
    with torch.no_grad():
        logits = build("gpt2")(torch.tensor([tokenizer()("no</s>").input_ids])).logits[0, -1]
    tokens = tokenizer().convert_tokens_to_ids(["yes", "no"])
    assert_close(classifier.predict(classifier.encode(["no", "yes no"])).probabilities[0], logits[tokens].softmax(0))


@pytest.mark.parametrize("words_have", PROMPTS)
def test_layers_and_head_of_a_copy_are_randomised(words_have):
    classifier = made("llama", words_have)
    head, everything = (randomised(classifier, layers=layers, seed=5) for layers in (0, 3))
    encoding = classifier.encode(TEXTS)
    assert head.prompt == classifier.prompt
    assert_close(head.trace(encoding).rows, classifier.trace(encoding).rows)
    for other in (head, everything):
        assert not torch.allclose(other.trace(encoding).logits, classifier.trace(encoding).logits, atol=0.1)
    assert not torch.allclose(everything.trace(encoding).rows, classifier.trace(encoding).rows, atol=1e-3)


def test_what_is_saved_holds_the_prompt_and_is_loaded_with_it(tmp_path):
    save(tmp_path / "model", build("llama"))
    classifier = load_classifier(tmp_path / "model", prompt=TEMPLATE, labels=PROMPTS["several"].labels)
    assert classifier.prompt == PROMPTS["several"]
    classifier.model.save_pretrained(tmp_path / "saved")
    classifier.tokenizer.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved").classifier
    assert again.prompt == classifier.prompt
    assert again.fingerprint() == classifier.fingerprint()
    assert_close(again.predict(again.encode(TEXTS)).outputs, classifier.predict(classifier.encode(TEXTS)).outputs)
    others = [
        load_classifier(tmp_path / "model", prompt=prompt)
        for prompt in (PROMPTS["one token"], Prompt(template="Film: {text}?", labels=PROMPTS["several"].labels))
    ]
    assert len({one.fingerprint() for one in (classifier, *others)}) == 3


def test_what_is_no_causal_language_model_is_refused(tmp_path):
    prompt = PROMPTS["one token"]
    with pytest.raises(ModelError, match="BertForSequenceClassification has no language model's head"):
        Classifier(classifier_of("bert"), words(), prompt=Prompt(template="{text}", labels={"a": "good", "b": "bad"}))
    from transformers import BertConfig, BertForMaskedLM

    encoder = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer()),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            initializer_range=0.5,
        )
    ).eval()
    with pytest.raises(ModelError, match="not a causal language model"):
        Classifier(encoder, tokenizer(), prompt=prompt)
    classifier_of("bert").save_pretrained(tmp_path)
    words().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="not a trained causal language model"):
        load(tmp_path, prompt=prompt)
    with pytest.raises(InputError, match="takes no prompt"):
        load("demo/sentiment", prompt=prompt)
    with pytest.raises(UnsupportedModelError, match=r"expected \(batch, classes\)"):
        Classifier(build("gpt2"), tokenizer())
    with pytest.raises(InputError, match="need a prompt"):
        load(tmp_path, labels={"a": " yes"})


def test_an_explainer_brings_the_prompt_that_it_was_trained_for(tmp_path):
    save(tmp_path / "model", build("gpt2"))
    ExpNet.from_pretrained(named("universal/attention").save_pretrained(tmp_path / "net") or tmp_path / "net")
    (tmp_path / "net" / "expnet_prompt.json").write_text(PROMPTS["several"].to_json())
    explainer = load(tmp_path / "model", explainer=tmp_path / "net")
    assert explainer.classifier.prompt == saved_prompt(tmp_path / "net") == PROMPTS["several"]
    assert explainer.explain(TEXTS[0]).label in PROMPTS["several"].labels
