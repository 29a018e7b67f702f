"""The endpoint says what the explainer says, to many at once, and refuses clearly what it does not answer."""

import asyncio
import json
import logging
import re
import threading
import time
import tracemalloc
from dataclasses import replace

import httpx2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from expnet.cli.hosts import served_names
from expnet.errors import InputError, MethodError, NonFiniteError
from expnet.explainer import Explainer
from expnet.model.classifier import Classifier
from expnet.serve import Limits, create_app
from expnet.text.texts import Text
from expnet.web.guard import Guard
from tests import models
from tests.browsers import BROWSER
from tests.classifiers import HEAD_SET, random_network, tiny_classifier, tiny_explainer
from tests.plugin import installing, point

EXPLAIN, PREDICT = "/v1/models/tiny:explain", "/v1/models/tiny:predict"
LIMITS = Limits(body=2000, texts=4, characters=100, tokens=5000, waiting=8, seconds=5)


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def client(explainer):
    other = tiny_explainer(tiny_classifier(seed=1))
    with TestClient(create_app({"tiny": explainer, "other": other}, limits=LIMITS)) as client:
        yield client


class Slow(Explainer):
    """An explainer that waits until it may go on; it notes the texts of each batch."""

    def __init__(self, explainer, *, bad=None):
        super().__init__(explainer.classifier, explainer.network, name=explainer.name)
        self.bad, self.batches, self.started, self.go = bad, [], threading.Event(), threading.Event()

    def explain(self, texts, **settings):
        if [text.text for text in texts] != ["A short text."]:  # it reads this one as the server starts
            self.batches.append([text.text for text in texts])
            self.started.set()
            assert self.go.wait(20)
        if any(text.text == self.bad for text in texts):
            raise InputError(f"{self.bad} cannot be explained")
        return super().explain(texts, **settings)


async def served(app, work):
    """Run some work with clients of an application that runs in this event loop."""
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://server") as client,
    ):
        return await work(client)


async def wait_for(client, texts):
    """Wait until so many texts wait for the model, by the server's own figures."""
    end = time.monotonic() + 20
    while figures((await client.get("/metrics")).text)['expnet_waiting_texts{model="tiny"}'] != texts:
        assert time.monotonic() < end, f"there were never {texts} texts that wait"


def figures(page):
    """Read a page for Prometheus."""
    lines = [line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def ask(client, **asked):
    return await client.post(EXPLAIN, content=json.dumps(asked), headers={"content-type": "application/json"})


async def hold(client, slow, **asked):
    """Ask for an explanation that keeps the model busy, and return once it does."""
    task = asyncio.create_task(ask(client, instances=["first"], **asked))
    while not slow.started.is_set():
        await asyncio.sleep(0.002)
    return task


def error(response, status):
    """Return the message of a refusal, which is all there is in it."""
    assert response.status_code == status, response.text
    (message,) = response.json().values()
    return message


# What is answered


def test_an_explanation_has_the_figures_of_the_explainer(client, explainer):
    asked = {"instances": ["a good film", {"text": "one", "pair": "bad text"}], "target": "LABEL_1"}
    answer = client.post(EXPLAIN, json=asked).json()
    direct = explainer.explain([Text.of("a good film"), Text.of("one", "bad text")], target=1)
    for got, expected in zip(answer["explanations"], direct, strict=True):
        expected = json.loads(expected.to_json())
        assert [word["score"] for word in got.pop("words")] == pytest.approx(
            [word["score"] for word in expected.pop("words")], abs=1e-5
        )
        assert got.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=1e-6)
        assert got.pop("probability") == pytest.approx(expected.pop("probability"), abs=1e-6)
        assert got == expected  # text, pair, label, method, provenance and what else there is


def test_a_prediction_is_that_of_the_classifier_and_an_explanation_brings_it_along(client, explainer):
    texts = ["a good film, and a long one", "bad", ""]
    predicted = client.post(PREDICT, json={"instances": texts}).json()
    classifier = explainer.classifier
    expected = classifier.predict(classifier.encode([Text.of(text) for text in texts])).probabilities
    for row, got in zip(expected, predicted["predictions"], strict=True):
        assert list(got["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-6)
        assert got["label"] == classifier.labels[row.argmax()]
        assert got["probability"] == max(got["probabilities"].values())
    explained = client.post(EXPLAIN, json={"instances": texts, "target": 2}).json()
    assert [prediction["label"] for prediction in explained["predictions"]] == [
        prediction["label"] for prediction in predicted["predictions"]
    ]
    assert {explanation["label"] for explanation in explained["explanations"]} == {"LABEL_2"}


def test_methods_take_their_options_seed_and_target(client, explainer):
    asked = {"method": "lime", "options": {"samples": 20, "unit": "word"}, "seed": 3, "target": 1}
    (explanation,) = client.post(EXPLAIN, json={"instances": ["a good film"], **asked}).json()["explanations"]
    direct = explainer.explain("a good film", **asked)
    assert [word["score"] for word in explanation["words"]] == pytest.approx(
        [word.score for word in direct.words], abs=1e-5
    )
    assert explanation["provenance"] == direct.provenance


def test_each_model_answers_by_its_name(client):
    assert client.get("/v1/models").json() == {"models": ["tiny", "other"]}
    one, two = (
        client.post(f"/v1/models/{name}:predict", json={"instances": ["good"]}).json() for name in ("tiny", "other")
    )
    assert one != two
    about = client.get("/v1/models/tiny").json()
    assert about["ready"] is True
    assert about["labels"] == ["LABEL_0", "LABEL_1", "LABEL_2"]
    assert {"expnet", "lime"} <= set(about["methods"])
    assert "Did you mean 'tiny'?" in error(client.get("/v1/models/tny"), 404)
    assert "Did you mean 'other'?" in error(client.post("/v1/models/othr:explain", json={"instances": ["a"]}), 404)


def test_a_model_without_an_expnet_explains_by_other_methods_only():
    with TestClient(create_app({"bare": Explainer(tiny_classifier())})) as client:
        assert "does not offer" in error(client.post("/v1/models/bare:explain", json={"instances": ["a"]}), 422)
        response = client.post("/v1/models/bare:explain", json={"instances": ["a"], "method": "saliency"})
        assert response.status_code == 200


def test_only_the_methods_chosen_are_offered(explainer):
    with TestClient(create_app({"tiny": explainer}, methods=["expnet", "saliency"])) as client:
        assert client.get("/v1/models/tiny").json()["methods"] == ["expnet", "saliency"]
        refused = client.post(EXPLAIN, json={"instances": ["a"], "method": "lime"})
        assert error(refused, 422).endswith("It offers: expnet, saliency.")
        assert "no method 'lyme'" in error(client.post(EXPLAIN, json={"instances": ["a"], "method": "lyme"}), 422)


def test_the_second_output_is_offered_and_listed_where_there_is_one():
    networks = {name: random_network(replace(HEAD_SET, used=name == "both")) for name in ("one", "both")}
    served = {name: Explainer(tiny_classifier(), network) for name, network in networks.items()}
    with TestClient(create_app(served)) as client:
        for name in served:
            methods = client.get(f"/v1/models/{name}").json()["methods"]
            assert ("expnet_used" in methods, "expnet_both" in methods) == (name == "both",) * 2
            page = client.get(f"/?model={name}").text
            assert ('value="expnet_used"' in page) == (name == "both")
        answer = client.post("/v1/models/both:explain", json={"instances": ["good film"], "method": "expnet_used"})
        (explanation,) = answer.json()["explanations"]
        assert explanation["signed"]
        assert "does not offer" in error(
            client.post("/v1/models/one:explain", json={"instances": ["good film"], "method": "expnet_used"}), 422
        )


def test_an_application_needs_models_names_and_methods_that_exist(explainer):
    with pytest.raises(InputError, match="no model to serve"):
        create_app({})
    with pytest.raises(InputError, match=r"'demo/x'.*letters"):
        create_app({"demo/x": explainer})
    with pytest.raises(MethodError, match="saliency"):
        create_app({"tiny": explainer}, methods=["salience"])


# Many at once


def test_a_text_scores_the_same_alone_and_among_concurrent_requests(explainer):
    texts = [f"{'good ' * (n % 7)}film {'xyz'[n % 3]} bad" for n in range(24)]
    slow = Slow(explainer)
    app = create_app({"tiny": slow}, limits=Limits(together=16))

    async def all_at_once(client):
        await hold(client, slow)
        asked = [asyncio.create_task(ask(client, instances=[text])) for text in texts]
        await wait_for(client, len(texts))
        slow.go.set()
        return [(await task).json()["explanations"][0] for task in asked]

    explanations = asyncio.run(served(app, all_at_once))
    assert [len(batch) for batch in slow.batches] == [1, 16, 8]
    for text, got in zip(texts, explanations, strict=True):
        alone = explainer.explain(text)
        assert got["text"] == text
        # Padded beside longer texts, sums run in another order.
        assert [word["score"] for word in got["words"]] == pytest.approx([w.score for w in alone.words], abs=1e-5)


def test_requests_that_ask_for_different_things_do_not_share_a_batch_nor_do_short_texts_and_long_ones(explainer):
    slow = Slow(explainer)
    app = create_app({"tiny": slow})
    long, longer = "a" * 250, "b" * 500

    async def mixed(client):
        await hold(client, slow, truncate=True)
        settings = [{}, {"target": 1}, {"seed": 1}, {"target": 1}, {}]
        asked = [asyncio.create_task(ask(client, instances=[str(n)], **changed)) for n, changed in enumerate(settings)]
        asked += [asyncio.create_task(ask(client, instances=[text])) for text in (longer, long)]
        await wait_for(client, len(asked))
        slow.go.set()
        return [(await task).json()["explanations"][0]["text"] for task in asked]

    assert asyncio.run(served(app, mixed)) == ["0", "1", "2", "3", "4", longer, long]
    assert slow.batches[1:] == [["0", "4"], ["1", "3"], ["2"], [longer, long]]


def test_what_is_wrong_with_one_request_concerns_no_other(explainer):
    slow = Slow(explainer, bad="bad")
    app = create_app({"tiny": slow})

    async def together(client):
        await hold(client, slow)
        texts = ("good", "\ud800", "bad", "one", "film")
        asked = [asyncio.create_task(ask(client, instances=[text])) for text in texts]
        await wait_for(client, len(texts))
        slow.go.set()
        return [await task for task in asked]

    good, surrogate, bad, one, film = asyncio.run(served(app, together))
    assert [response.status_code for response in (good, one, film)] == [200, 200, 200]
    assert "Instance 0: The text holds a lone surrogate" in error(surrogate, 422)
    assert error(bad, 422) == "bad cannot be explained"
    assert slow.batches[1] == ["good", "bad", "one", "film"]


class Stubborn(Slow):
    """An explainer whose model fails on the text "bad", with any kind of error."""

    def __init__(self, explainer, failure):
        super().__init__(explainer)
        self.failure = failure

    def explain(self, texts, **settings):
        explanations = super().explain(texts, **settings)
        if any(text.text == "bad" for text in texts):
            raise self.failure
        return explanations


class Panic(BaseException):
    """What the tokenizers library raises is no `Exception`."""


FAILURES = [
    IndexError("index out of range in self"),
    RuntimeError("size mismatch"),
    StopIteration("no parameters"),
    Panic("index out of bounds"),
    SystemExit(1),
    NonFiniteError("The model returned NaN."),
    RecursionError("maximum recursion depth exceeded"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=[type(failure).__name__ for failure in FAILURES])
def test_a_text_on_which_the_model_fails_is_refused_with_the_reason_and_the_others_are_answered(explainer, failure):
    stubborn = Stubborn(explainer, failure)

    async def together(client):
        await hold(client, stubborn)
        texts = (["good"], ["bad"], ["one", "bad", "film"], ["film"], ["text"])
        asked = [asyncio.create_task(ask(client, instances=text)) for text in texts]
        await wait_for(client, 7)
        stubborn.go.set()
        return [await task for task in asked], await ask(client, instances=["afterwards"])

    (good, bad, among, film, text), after = asyncio.run(served(create_app({"tiny": stubborn}), together))
    assert [response.status_code for response in (good, film, text, after)] == [200] * 4
    for answer, alone in ((good, "good"), (film, "film"), (text, "text")):
        (got,) = answer.json()["explanations"]
        scores = [word["score"] for word in got["words"]]
        assert scores == pytest.approx([word.score for word in explainer.explain(alone).words], abs=1e-5)
    assert error(bad, 422).startswith("The model fails on this text: ")
    assert str(failure) in error(bad, 422)
    assert error(among, 422) == f"Instance 1: {error(bad, 422)}"


def test_a_tokenizer_that_fails_on_a_text_is_told_likewise_and_the_log_does_not_quote_it(
    explainer, monkeypatch, caplog
):
    def failing(tokenize):
        def run(texts, **settings):
            if any("bad" in text.text for text in texts):
                raise KeyError(f"no token for {texts[0].text}")
            return tokenize(texts, **settings)

        return run

    for name in ("encode", "read"):
        monkeypatch.setattr(explainer.classifier, name, failing(getattr(explainer.classifier, name)))
    with caplog.at_level(logging.INFO, "expnet.serve"), TestClient(create_app({"tiny": explainer})) as client:
        many = {"instances": ["bad Wolpertinger"], "method": "lime", "options": {"samples": 5}}
        for path, asked in ((PREDICT, {"instances": ["bad Wolpertinger"]}), (EXPLAIN, many)):
            assert "KeyError: 'no token for bad Wolpertinger'" in error(client.post(path, json=asked), 422)
        assert client.post(PREDICT, json={"instances": ["good"]}).status_code == 200
    assert "KeyError at " in caplog.text
    assert "Wolpertinger" not in caplog.text


def test_a_text_with_a_token_beyond_the_embeddings_is_refused_by_program_and_page():
    tokenizer = models.tokenizer()
    tokenizer.add_tokens(["<user>"])
    served_explainer = tiny_explainer(Classifier(models.build("bert"), tokenizer))
    with TestClient(create_app({"tiny": served_explainer})) as client:
        for path in (PREDICT, EXPLAIN):
            assert len(error(client.post(path, json={"instances": ["bad <user>"]}), 422)) > 20
        form = {"content": "text=bad+<user>&method=expnet&method=saliency", "headers": {"origin": "http://testserver"}}
        assert client.post("/", **form).status_code == 422
        assert client.post(EXPLAIN, json={"instances": ["good"]}).status_code == 200


def test_who_goes_away_gives_up_the_place_in_the_queue(explainer):
    slow = Slow(explainer)
    app = create_app({"tiny": slow})

    async def go_away(client):
        first = await hold(client, slow)
        gone = asyncio.create_task(ask(client, instances=["gone"]))
        await wait_for(client, 1)
        gone.cancel()
        await wait_for(client, 0)
        slow.go.set()
        assert (await first).status_code == 200

    asyncio.run(served(app, go_away))
    assert slow.batches == [["first"]]


# What is refused


def test_a_body_over_the_limit_is_refused(client):
    fits = json.dumps({"instances": ["a"]}).ljust(LIMITS.body)
    sent = {"headers": {"content-type": "application/json"}}
    assert client.post(EXPLAIN, content=fits, **sent).status_code == 200
    assert "more than 2,000 bytes" in error(client.post(EXPLAIN, content=fits + " ", **sent), 413)
    assert "more than 2,000 bytes" in error(client.post(EXPLAIN, content=" " * 100_000, **sent), 413)


@pytest.mark.parametrize("chunks", [20, 120, 1000])
def test_a_body_over_the_limit_is_thrown_away_as_it_arrives(chunks):
    limit, chunk, sent, received = 2**20, 2**16, [], 0

    async def receive():
        nonlocal received
        received += 1
        return {"type": "http.request", "body": bytes(chunk), "more_body": received < chunks}

    async def send(message):
        sent.append(message)

    guard = Guard(
        None,
        limits=Limits(body=limit),
        names=None,
        answered=lambda route, status, seconds: None,
        log_texts=False,
    )
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    tracemalloc.start()
    try:
        asyncio.run(guard({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive, send))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent[0]["status"] == 413
    assert peak < limit + 3 * chunk  # what fits, what has just arrived, and what came before
    assert received == min(chunks, 8 * limit // chunk + 1)  # who sends more than that is not listened to


def test_too_many_texts_or_characters_are_refused(client):
    assert "5 texts, this server takes 4" in error(client.post(EXPLAIN, json={"instances": ["a"] * 5}), 422)
    just = {"text": "a" * 60, "pair": "b" * 40}
    assert client.post(PREDICT, json={"instances": [just]}).status_code == 200
    long = {"text": "a" * 60, "pair": "b" * 41}
    refused = error(client.post(PREDICT, json={"instances": ["a", long]}), 422)
    assert refused == "Instance 1 has 101 characters, this server takes 100: split the text."


@pytest.mark.parametrize(
    ("method", "options", "cost"),
    [
        # "a good film" is 3 tokens between 2 special ones.
        ("lime", {"samples": 1001}, 5 * 1001),
        ("smooth_grad", {"samples": 501}, 5 * 2 * 501),
        ("shapley_sampling", {"permutations": 500}, 5 * (500 * 2 + 2)),
        ("rise", {"samples": 10**4200}, 10**15),
    ],
)
def test_a_method_that_would_run_for_long_is_refused_before_it_runs(client, method, options, cost):
    asked = {"instances": ["a good film"], "method": method, "options": options}
    if cost < 10**15:
        assert f"as much as {cost:,} tokens" in error(client.post(EXPLAIN, json=asked), 422)
    else:  # more bytes than this server takes
        assert error(client.post(EXPLAIN, json=asked), 413)
    at_most = {"samples": 1000} if method == "lime" else dict.fromkeys(options, 1)
    assert client.post(EXPLAIN, json=asked | {"options": at_most}).status_code in (200, 422)


def test_methods_that_follow_each_token_cost_a_pass_for_each(client):
    assert client.post(EXPLAIN, json={"instances": ["a b"], "method": "alti"}).status_code == 200
    spelled = " ".join("abcdefghij" * 5)  # 50 tokens and 2, 51 passes
    message = error(client.post(EXPLAIN, json={"instances": [spelled] * 2, "method": "alti"}), 422)
    assert f"{2 * 52 * 51:,} tokens" in message


def test_a_quadratic_method_of_another_package_costs_what_ours_of_its_kind_does(explainer):
    asked = {"instances": [" ".join("abcdefghij" * 5)] * 2}
    with installing() as install:
        install(point("my_alti", "tests.plugin:MY_ALTI"))
        with TestClient(create_app({"tiny": explainer}, limits=LIMITS)) as client:
            theirs, ours = (
                error(client.post(EXPLAIN, json=asked | {"method": name}), 422) for name in ("my_alti", "alti")
            )
    assert theirs == ours.replace("'alti'", "'my_alti'")


def test_too_many_waiting_texts_are_refused_and_the_others_answered(explainer):
    slow = Slow(explainer)
    app = create_app({"tiny": slow}, limits=LIMITS)

    async def crowd(client):
        first = await hold(client, slow)
        asked = [asyncio.create_task(ask(client, instances=["a", "b", "c"])) for _ in range(3)]
        refused = await asyncio.wait_for(asked[2], 5)
        slow.go.set()
        return refused, [await task for task in (first, *asked[:2])]

    refused, answered = asyncio.run(served(app, crowd))
    assert error(refused, 429) == "6 texts wait for this model, at most 8 may: send 3 later."
    assert refused.headers["retry-after"] == "1"
    assert [response.status_code for response in answered] == [200, 200, 200]


def test_an_answer_that_takes_too_long_is_refused_and_the_next_is_not(explainer):
    slow = Slow(explainer)
    app = create_app({"tiny": slow}, limits=Limits(seconds=1.5))

    async def late(client):
        refused, also = await ask(client, instances=["late"]), await ask(client, instances=["waited"])
        slow.go.set()
        return refused, also, await ask(client, instances=["next"])

    refused, also, answered = asyncio.run(served(app, late))
    assert "no answer after 1.5 seconds" in error(refused, 503)
    assert "no answer after 1.5 seconds" in error(also, 503)
    assert answered.json()["explanations"][0]["text"] == "next"
    assert ["waited"] not in slow.batches


def test_before_it_has_started_and_after_it_has_stopped_a_server_is_not_ready(explainer):
    app = create_app({"tiny": explainer})
    client = TestClient(app)  # without `with`, nothing starts
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    assert "shutting down, or has not started" in error(client.post(EXPLAIN, json={"instances": ["a"]}), 503)
    with client:
        assert client.get("/readyz").json() == {"status": "ready"}
    assert client.get("/readyz").status_code == 503


def test_a_model_that_returns_nan_is_named_as_the_cause():
    broken = tiny_explainer(tiny_classifier())
    with TestClient(create_app({"tiny": broken})) as client:
        with torch.no_grad():
            broken.classifier.model.classifier.weight[0, 0] = torch.nan
        assert "NaN" in error(client.post(EXPLAIN, json={"instances": ["a"]}), 500)


@pytest.mark.parametrize("failure", [MemoryError(), torch.OutOfMemoryError("no room")])
def test_a_model_that_runs_out_of_memory_serves_the_next_request(explainer, failure, monkeypatch):
    with TestClient(create_app({"tiny": explainer})) as client:
        with monkeypatch.context() as patched:
            patched.setattr(Explainer, "explain", lambda *args, **settings: (_ for _ in ()).throw(failure))
            assert "not enough memory" in error(client.post(EXPLAIN, json={"instances": ["a"]}), 503)
        assert client.post(EXPLAIN, json={"instances": ["a"]}).status_code == 200


BAD = [
    ("", "body"),
    ("{", "JSON"),
    ("\ufeff{}", "instances: Field required"),
    ("[]", "body"),
    ("null", "body"),
    ("{}", "instances: Field required"),
    ('{"instances": "a"}', "instances: Input should be a valid list"),
    ('{"instances": []}', "at least 1"),
    ('{"instances": [1]}', "instances.0.object"),
    ('{"instances": [null]}', "instances.0.object"),
    ('{"instances": [["a"]]}', "instances.0.object"),
    ('{"instances": [{"text": 1}]}', "instances.0.object.text: Input should be a valid string"),
    ('{"instances": [{"txt": "a"}]}', "txt: Extra inputs are not permitted"),
    ('{"instances": ["a"], "target": true}', "target"),
    ('{"instances": ["a"], "target": 3}', "There is no class 3. Classes: 0 'LABEL_0'"),
    ('{"instances": ["a"], "target": -1}', "There is no class -1"),
    ('{"instances": ["a"], "target": "LABEL"}', "Did you mean 'LABEL_"),
    ('{"instances": ["a"], "method": "lyme"}', "Did you mean 'lime'?"),
    ('{"instances": ["a"], "seed": "1"}', "seed: Input should be a valid integer"),
    ('{"instances": ["a"], "seed": -1}', "seed"),
    ('{"instances": ["a"], "seed": 1e400}', "seed"),
    ('{"instances": ["a"], "seed": 18446744073709551616}', "seed"),
    (
        '{"instances": ["a"], "method": "lime", "options": {"samples": NaN}}',
        "samples.float: Input should be a finite",
    ),
    ('{"instances": ["a"], "method": "lime", "options": {"samples": "9"}}', "samples is '9', expected a whole number"),
    ('{"instances": ["a"], "method": "lime", "options": {"sample": 9}}', "Did you mean 'samples'?"),
    ('{"instances": ["a"], "method": "lime", "options": {"samples": 0}}', "samples is 0"),
    ('{"instances": ["a"], "method": "rise", "options": {"keep": NaN}}', "keep"),
    ('{"instances": ["a"], "method": "smooth_grad", "options": {"noise": Infinity}}', "noise"),
    ('{"instances": ["a"], "truncate": 1}', "truncate: Input should be a valid boolean"),
    ('{"instances": ["a"], "top_k": 3}', "top_k: Extra inputs are not permitted"),
    ('{"instances": ["\\ud800"]}', "lone surrogate"),
    ('{"instances": ["a"', "The body is not JSON: Expecting ',' delimiter (character 18)"),
    ("[" * 1500, "cannot be read as JSON: its lists and objects are nested too deep"),
    ('{"instances": ' + "[" * 900 + "]" * 900 + "}", ""),
    ('{"instances": ["a"], "options": ' + '{"a":' * 300 + "1" + "}" * 301, ""),
]


@pytest.mark.parametrize(("body", "message"), BAD, ids=[body[:60] for body, _ in BAD])
def test_a_body_that_is_not_what_was_expected_is_refused_with_the_reason(client, body, message):
    refused = client.post(EXPLAIN, content=body.encode(), headers={"content-type": "application/json"})
    assert refused.status_code in (400, 422), refused.text
    assert message in error(refused, refused.status_code)


@pytest.mark.parametrize("depth", [100, 200, 250, 260, 500, 900, 990, 3000, 100_000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_deep_json_is_refused_or_answered_but_stops_nothing(roomy, depth, pair):
    opened, closed = pair[0] + '"a":' * (pair == "{}"), pair[1]
    deep = opened * (depth // len(opened)) + "1" + closed * (depth // len(opened))
    for body in (
        deep,
        f'{{"instances": {deep}}}',
        f'{{"instances": [{deep}]}}',
        f'{{"instances": ["a"], "{depth}": {deep}}}',
        f'{{"instances": ["a"], "options": {{"samples": {deep}}}, "method": "lime"}}',
        f'{{"instances": ["a"], "target": {deep}}}',
    ):
        refused = roomy.post(EXPLAIN, content=body, headers={"content-type": "application/json"})
        assert refused.status_code in (400, 422), refused.text[:200]
        assert set(refused.json()) == {"error"}
        assert len(refused.text) < 3000  # it does not quote all that was sent
    assert roomy.post(PREDICT, json={"instances": ["good"]}).status_code == 200


def test_a_number_of_too_many_digits_is_refused(roomy):
    body = '{"instances": ["a"], "seed": ' + "9" * 5000 + "}"
    refused = roomy.post(EXPLAIN, content=body, headers={"content-type": "application/json"})
    assert error(refused, 400) == "The body cannot be read as JSON: it holds a number of too many digits."


@pytest.fixture(scope="module")
def roomy(explainer):
    """A server with the limits it has by default."""
    with TestClient(create_app({"tiny": explainer})) as client:
        yield client


def test_bodies_that_are_not_declared_as_json_are_refused(client):
    assert "application/json" in error(client.post(EXPLAIN, content=b'{"instances": ["a"]}'), 415)
    assert "application/json" in error(client.post(EXPLAIN, data={"instances": "a"}), 415)
    broken = client.post(EXPLAIN, content=b"\xff\xfe", headers={"content-type": "application/json"})
    assert broken.status_code in (400, 422)
    latin = client.post(EXPLAIN, content='"\u00e9"'.encode("latin-1"), headers={"content-type": "application/json"})
    assert error(latin, 400) == "The body cannot be read as JSON: it is not UTF-8 at byte 2."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ASKED = st.fixed_dictionaries(
    {"instances": JSON | st.lists(st.text(max_size=20) | JSON, max_size=3)},
    optional={
        "method": st.sampled_from(["expnet", "lime", "occlusion", "rise", "position", "smooth_grad", "rollout"]),
        "options": st.dictionaries(
            st.sampled_from(["samples", "keep", "window", "order", "noise", "residual", "unit", "replacement"]),
            JSON,
            max_size=3,
        ),
        "target": JSON,
        "seed": JSON,
    },
)


@settings(max_examples=150)
@given(asked=ASKED)
def test_whatever_is_asked_is_answered_or_refused_but_never_fails(client, asked):
    response = client.post(EXPLAIN, content=json.dumps(asked), headers={"content-type": "application/json"})
    assert response.status_code in (200, 400, 413, 422), response.text
    assert set(response.json()) == ({"predictions", "explanations"} if response.status_code == 200 else {"error"})


def test_other_names_for_this_server_and_other_sites_are_refused(explainer):
    with TestClient(create_app({"tiny": explainer}, hosts=["localhost", "::1"])) as client:
        for host in ("localhost", "localhost:8000", "LOCALHOST", "localhost.", "[::1]", "[::1]:8000", "[0:0::1]"):
            assert client.get("/v1/models", headers={"host": host}).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "", "[", "127.0.0.1", "localhost/x", "x@localhost"):
            assert "does not answer under that name" in error(client.get("/v1/models", headers={"host": host}), 421)
        ours = {"host": "localhost", "sec-fetch-site": "same-origin"}
        other = {"host": "localhost", "sec-fetch-site": "cross-site"}
        assert client.post(EXPLAIN, json={"instances": ["a"]}, headers=ours).status_code == 200
        assert "other sites" in error(client.post(EXPLAIN, json={"instances": ["a"]}, headers=other), 403)
        assert client.get("/", headers=other).status_code == 200  # a link


def test_a_server_on_every_address_answers_to_addresses_and_to_no_name_but_those_allowed(explainer):
    app = create_app({"tiny": explainer}, hosts=served_names("0.0.0.0", ["Bücher.example."]))
    with TestClient(app) as client:
        for host in (
            "localhost:80",
            "192.168.0.7:8000",
            "[fe80::1]",
            "xn--bcher-kva.example",
            "xn--bcher-kva.EXAMPLE:9",
        ):
            assert client.get("/healthz", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "192.168.0.7.evil.example", "127.1", "2130706433", ""):
            assert client.get("/healthz", headers={"host": host}).status_code == 421, host


@pytest.mark.parametrize("name", ["http://x", "x:80", "*", "", "x/y", "a b", "[::1]:80"])
def test_what_is_no_name_of_a_host_is_refused(explainer, name):
    with pytest.raises(InputError, match=f"got {re.escape(repr(name))}: leave out scheme, port and path"):
        create_app({"tiny": explainer}, hosts=["localhost", name])


FORM = "application/x-www-form-urlencoded"
OUR_OWN = [
    ("localhost:8000", {"origin": "http://localhost:8000"}),
    ("localhost:8000", {"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}),
    ("LOCALHOST.:8000", {"origin": "http://localhost:8000"}),
    ("127.0.0.1:80", {"origin": "http://127.0.0.1"}),
    ("[::1]:8000", {"origin": "http://[::1]:8000"}),
    ("explain.example", {"origin": "https://explain.example"}),  # behind a proxy that encrypts
    ("explain.example:443", {"origin": "https://explain.example"}),
    ("localhost:8000", {"sec-fetch-site": "same-origin"}),
    ("localhost:8000", {"sec-fetch-site": "none"}),
]
OF_OTHERS = [
    ("localhost:8000", {"origin": "http://evil.example"}),
    ("localhost:8000", {"origin": "http://localhost:8001"}),
    ("localhost:8000", {"origin": "http://localhost"}),
    ("localhost:8000", {"origin": "http://127.0.0.1:8000"}),
    ("127.0.0.1:8000", {"origin": "http://localhost:8000"}),
    ("[::1]:8000", {"origin": "http://[::1]:8001"}),
    ("localhost", {"origin": "http://localhost.evil.example"}),
    ("localhost", {"origin": "http://x@localhost"}),
    ("localhost", {"origin": "https://localhost:80"}),
    ("localhost", {"origin": "chrome-extension://localhost"}),
    ("localhost", {"origin": "null"}),
    ("localhost", {"origin": ""}),
    ("localhost", {"origin": "http://"}),
    ("localhost", {"origin": "http://[::1"}),
    ("localhost:8000", {"origin": "http://localhost:8001", "sec-fetch-site": "same-site"}),
    ("localhost", {"origin": "http://evil.example", "sec-fetch-site": "same-origin"}),
    ("localhost", {"origin": "http://localhost", "sec-fetch-site": "same-site"}),
    ("localhost", {"origin": "http://localhost", "sec-fetch-site": "cross-site"}),
    ("localhost", {"sec-fetch-site": "same-site"}),
    ("localhost", {"sec-fetch-site": "cross-site"}),
    ("localhost", {"sec-fetch-site": ""}),
]


@pytest.mark.parametrize(("host", "headers"), OUR_OWN)
def test_forms_of_its_own_pages_are_taken(client, host, headers):
    asked = {"host": host, "content-type": FORM, **headers}
    assert client.post("/", content="text=good&method=expnet", headers=asked).status_code == 200


@pytest.mark.parametrize(("host", "headers"), OF_OTHERS)
def test_nothing_that_changes_something_is_taken_from_a_page_of_another_origin(client, host, headers):
    for path, kind in (("/", FORM), ("/download", FORM), ("/", "text/plain"), (EXPLAIN, "application/json")):
        refused = client.post(path, content="{}", headers={"host": host, "content-type": kind, **headers})
        assert "Pages of other sites may not use this server" in error(refused, 403)
    for method in ("PUT", "PATCH", "DELETE"):
        assert client.request(method, "/", headers={"host": host, **headers}).status_code == 403
    assert client.get("/", headers={"host": host, **headers}).status_code == 200


def test_a_browser_that_leaves_out_which_page_asks_is_refused(client):
    for headers in ({"sec-fetch-mode": "cors"}, {"sec-fetch-dest": "document", "origin": "http://localhost:8000"}):
        asked = {"host": "localhost:8000", "content-type": "application/json", **headers}
        assert "lacks it" in error(client.post(EXPLAIN, content='{"instances": ["a"]}', headers=asked), 403)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("host", ["localhost:8000", "evil.example"]),
        ("origin", ["http://localhost:8000", "http://evil.example"]),
        ("sec-fetch-site", ["same-origin", "cross-site"]),
        ("content-type", ["application/json", "text/plain"]),
    ],
)
def test_a_header_that_says_two_things_is_refused(client, name, values):
    once = {"host": "localhost:8000", "origin": "http://localhost:8000", "content-type": "application/json"}
    rest = [(header, value) for header, value in once.items() if header != name]
    for first, second in (values, reversed(values)):
        asked = [*rest, (name, first), (name, second)]
        refused = client.post(EXPLAIN, content='{"instances": ["a"]}', headers=asked)
        assert error(refused, 400) == f"Expected the header {name} once, got it 2 times."


@pytest.mark.parametrize(
    "kind", [FORM, "text/plain", "multipart/form-data; boundary=x", "text/plain; application/json", ""]
)
def test_a_form_that_does_not_say_which_page_it_comes_from_is_refused(client, kind):
    headers = {"content-type": kind} if kind else {}
    for path in ("/", "/download", EXPLAIN):
        assert "Forms are taken from this server's own pages" in error(
            client.post(path, content="{}", headers=headers), 415
        )


def test_programs_need_no_origin_but_declare_json_and_browsers_are_never_granted_that(client):
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        asked = {"content": '{"instances": ["a"]}', "headers": {"content-type": kind}}
        assert client.post(EXPLAIN, **asked).status_code == 200
    asking = {
        "origin": "http://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    answer = client.options(EXPLAIN, headers=asking)
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="'seconds' is 0, expected a number above 0"):
        Limits(seconds=0)
    with pytest.raises(InputError, match="3 texts may wait, but a request may bring 4"):
        Limits(texts=4, waiting=3)


# What is said about it


def test_figures_count_requests_batches_and_refusals_by_route(explainer):
    with TestClient(create_app({"tiny": explainer})) as client:
        for _ in range(3):
            client.post(EXPLAIN, json={"instances": ["a", "b"]})
        client.post(EXPLAIN, json={"instances": []})
        client.get("/a secret path")
        page = client.get("/metrics").text
    figure_of, route = figures(page), "/v1/models/{name}:explain"
    assert figure_of[f'expnet_requests_total{{route="{route}",status="200"}}'] == 3
    assert figure_of[f'expnet_requests_total{{route="{route}",status="422"}}'] == 1
    assert figure_of['expnet_requests_total{route="other",status="404"}'] == 1
    assert figure_of[f'expnet_request_seconds_count{{route="{route}"}}'] == 4
    assert figure_of['expnet_batch_texts_sum{model="tiny"}'] == 7  # one of them as the server started
    assert "secret" not in page


def test_figures_say_which_model_did_what_for_how_many_texts(explainer):
    with TestClient(create_app({"tiny": explainer, "other": explainer})) as client:
        client.post(EXPLAIN, json={"instances": ["a", "b"]})
        client.post(PREDICT, json={"instances": ["a"]})
        client.post("/v1/models/other:explain", json={"instances": ["a"] * 3})
        client.post("/v1/models/other:explain", json={"instances": ["a"], "target": "nothing"})
        client.post("/v1/models/none:explain", json={"instances": ["a"]})
        figure_of = figures(client.get("/metrics").text)
    by_model = {name: value for name, value in figure_of.items() if name.startswith("expnet_model_")}
    assert {name: value for name, value in by_model.items() if "_created" not in name} == {
        'expnet_model_requests_total{model="tiny",status="200",task="explain"}': 1,
        'expnet_model_requests_total{model="tiny",status="200",task="predict"}': 1,
        'expnet_model_requests_total{model="other",status="200",task="explain"}': 1,
        'expnet_model_requests_total{model="other",status="422",task="explain"}': 1,
        'expnet_model_texts_total{model="tiny",task="explain"}': 2,
        'expnet_model_texts_total{model="tiny",task="predict"}': 1,
        'expnet_model_texts_total{model="other",task="explain"}': 3,
    }


SECRET = "Wolpertinger"


@pytest.mark.parametrize("log_texts", [False, True])
def test_texts_are_in_the_log_only_if_it_was_asked_for(explainer, caplog, monkeypatch, log_texts):
    def fail(*args, **settings):
        raise ValueError(f"cannot read {SECRET}")

    caplog.set_level(logging.DEBUG)
    with TestClient(create_app({"tiny": explainer}, log_texts=log_texts)) as client:
        client.post(EXPLAIN, json={"instances": [SECRET]})
        client.post(EXPLAIN, json={"instances": [SECRET], "target": SECRET, "method": SECRET})
        client.post(EXPLAIN, json={"instances": [SECRET], SECRET: 1})
        client.get(f"/{SECRET}?text={SECRET}")
        client.post("/", data={"text": SECRET, "method": SECRET}, headers={"origin": "http://testserver"})
        monkeypatch.setattr(Explainer, "explain", fail)
        failed = client.post(EXPLAIN, json={"instances": [SECRET]})
    assert error(failed, 500) == "The server failed; its log says where."
    logged = [logging.Formatter().format(record) for record in caplog.records if record.name == "expnet.serve"]
    # The client is in this process too, and logs whom it asks.
    assert any(SECRET in line for line in logged) == log_texts
    assert any("ValueError" in line and "test_serve.py" in line for line in logged)
    assert any(line.startswith("POST /v1/models/{name}:explain 422 ") for line in logged)


def test_the_description_names_every_endpoint_with_examples_that_work(client):
    described = client.get("/openapi.json").json()
    assert described["paths"].keys() == {
        *("/v1/models", "/v1/models/{name}", "/v1/models/{name}:predict", "/v1/models/{name}:explain"),
        *("/healthz", "/readyz", "/metrics", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}"),
        *(f"/v2/models/{{name}}/{what}" for what in ("ready", "infer", "explain")),
    }
    schemas = described["components"]["schemas"]
    for kind, path in (("PredictRequest", PREDICT), ("ExplainRequest", EXPLAIN)):
        for example in schemas[kind]["examples"]:
            if example.get("target", "all") != "all":
                example["target"] = "LABEL_0"
            if "against" in example:
                example["against"] = "LABEL_1"
            answer = client.post(path, json=example)
            assert answer.status_code == 200, answer.text
    for kind, path in (("Predictions", PREDICT), ("Explanations", EXPLAIN)):
        (example,) = schemas[kind]["examples"]
        answered = client.post(path, json={"instances": ["A touching, funny film."]}).json()
        assert shape(example) == shape(answered)


def shape(value):
    """Return what a JSON value is made of: its keys and kinds, not its values. FastAPI leaves null out of examples."""
    if isinstance(value, list):
        return [shape(value[0])]
    if isinstance(value, dict) and set(value) & {"text", "label", "predictions"}:
        return {key: shape(inner) for key, inner in value.items() if inner is not None}
    return type(value).__name__


def test_every_answer_has_the_headers_that_keep_pages_harmless(client):
    for answer in (
        client.get("/", headers=BROWSER),
        client.get("/static/page.js"),
        client.get("/nothing"),
        client.post(EXPLAIN),
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr")
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"  # without any, forms would come from nowhere
        assert answer.headers["cache-control"] == "no-store"
