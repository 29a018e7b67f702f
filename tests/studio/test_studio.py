"""The studio's pages: marks go in, explanations stay hidden until then, Fit is honest about what it made better."""

import json
import logging
import re
import threading
from urllib.parse import urljoin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import expnet
from expnet.cli.app import app as commands
from expnet.errors import InputError
from expnet.explainer import Explainer
from expnet.metrics import auroc, average_precision
from expnet.network.universal import universal
from expnet.rationales import Record, read_records
from expnet.runtime.progress import track, watched
from expnet.studio import Marks, create_app, fitting
from expnet.studio.comparing import agreement, cross_validated, folds, word_scores
from expnet.studio.texts import uncertain_first
from expnet.text.texts import Text
from tests.browsers import Browser
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.payloads import PAYLOADS
from tests.serve.test_serve_page import Page
from tests.studios import TEXTS, desk, records

TYPED = [text for text in PAYLOADS if text.isprintable()]


@pytest.fixture
def studio(tmp_path):
    """A desk, and a browser without a script before it."""
    session = desk(tmp_path)
    with Browser(create_app(session)) as client:
        yield session, client


def save(client, number, words, *, label=0, seen="", status=200, **more):
    data = {"words": ",".join(map(str, words)), "label": label, "seen": seen} | more
    answer = client.post(f"/texts/{number}", data=data)
    assert answer.status_code == status, answer.text
    return answer


def pressed(page):
    return [int(attrs["data-word"]) for attrs, _ in page.all("button", **{"aria-pressed": "true"})]


def mark(session, numbers=range(1, 5)):
    for number in numbers:
        record = session.texts[number - 1]
        session.marks.save(record, session.annotator, record.text.words[1:2], "LABEL_1")


# Marking


def test_a_text_is_shown_as_it_is_with_a_button_for_each_word(studio):
    session, client = studio
    page = Page(client.get("/texts/1").text)
    words = [text for attrs, text in page.all("button", type="button") if "data-word" in attrs]
    assert words == [session.texts[0].text.word(span) for span in session.texts[0].text.words]
    assert page.one("p", class_="text")[1] == TEXTS[0]
    assert pressed(page) == []
    classifier = session.explainer.classifier
    label = classifier.labels[classifier.predict(classifier.encode([session.texts[0].text])).probabilities[0].argmax()]
    assert page.one("option", selected=None)[1] == label


def test_saving_goes_on_to_the_next_text_and_the_page_shows_it_again(studio):
    session, client = studio
    answer = save(client, 1, [1, 2], label=2)
    assert answer.url.path == "/texts/2"
    assert Page(answer.text).one("span", id="progress")[1] == "1 of 6 marked"
    (record,) = read_records(session.marks.path)
    assert [record.text.word(span) for span in record.annotations[0].spans] == ["good", "film"]
    assert record.label == "LABEL_2"
    again = Page(client.get("/texts/1").text)
    assert pressed(again) == [1, 2]
    assert again.one("option", selected=None)[1] == "LABEL_2"


@settings(max_examples=20)
@given(st.lists(st.integers(0, 6), max_size=8))
def test_any_choice_of_words_is_read_as_it_was_marked(tmp_path_factory, words):
    session = desk(tmp_path_factory.mktemp("desk"))
    client = Browser(create_app(session))
    save(client, 1, words)
    (record,) = read_records(session.marks.path)
    assert {place for place, marked in enumerate(record.word_marks()) if marked} == set(words)
    assert pressed(Page(client.get("/texts/1").text)) == sorted(set(words))


def test_skipped_texts_are_not_offered_again_and_the_last_leads_to_the_list(studio):
    session, client = studio
    assert client.post("/texts/1", data={"action": "skip", "words": "1"}).url.path == "/texts/2"
    for number in range(2, 7):
        answer = save(client, number, [0])
    assert answer.url.path == "/texts"
    assert "All texts are marked or skipped" in answer.text
    assert session.progress().skipped == 1
    assert len(session.marks.records()) == 5
    assert client.get("/").url.path == "/texts"


def test_saved_marks_can_be_withdrawn_and_only_those(studio):
    session, client = studio
    assert "withdraw" not in client.get("/texts/1").text
    save(client, 1, [1])
    assert Page(client.get("/texts/1").text).one("button", value="withdraw")
    answer = save(client, 1, [], action="withdraw")
    assert answer.url.path == "/texts/1"
    assert pressed(Page(answer.text)) == []
    assert session.progress().marked == 0


def test_a_script_is_told_where_to_go_once_marks_are_saved_and_a_conflict_is_still_a_page(studio):
    session, client = studio
    asking = {"headers": {"accept": "application/json", "origin": "http://testserver"}}
    answer = client.post("/texts/1", data={"words": "1", "label": "0", "seen": ""}, **asking)
    assert answer.json() == {"next": "../texts/2?saved=1"}
    assert session.progress().marked == 1
    again = client.post("/texts/1", data={"words": "2", "label": "0", "seen": ""}, **asking)
    assert (again.status_code, again.headers["content-type"]) == (409, "text/html; charset=utf-8")


def test_every_address_in_a_page_is_relative_so_that_a_proxy_may_have_a_path_of_its_own(studio):
    session, client = studio
    mark(session)
    for path in ("/texts/1", "/texts/2?saved=1", "/texts", "/fit", "/texts/99", "/nowhere/at/all"):
        page = Page(client.get(path).text)
        named = [attrs.get(key) for _, attrs, _ in page.elements for key in ("href", "src", "action", "formaction")]
        assert [address for address in named if address and address.startswith(("/", "http"))] == [], path
        (style,) = [attrs["href"] for attrs, _ in page.all("link", rel="stylesheet") if "page.css" in attrs["href"]]
        assert client.get(urljoin(f"http://testserver{path}", style)).status_code == 200, path
    for path in ("/", "/fit/cancel", "/texts/1/explanation"):
        answer = client.get(path, follow_redirects=False) if path == "/" else client.post(path, follow_redirects=False)
        assert not answer.headers["location"].startswith("/"), path


def test_after_enough_texts_one_press_fits_unless_there_is_a_choice_of_files(tmp_path):
    for others, button in (((), True), ((Marks(tmp_path / "bob.jsonl"),), False)):
        (tmp_path / str(button)).mkdir()
        session = desk(tmp_path / str(button), [f"a good film {n}" for n in range(17)], others=others)
        mark(session, range(1, 17))
        with Browser(create_app(session)) as client:
            page = Page(client.get("/texts/17?saved=16").text)
            assert bool(page.all("button", formaction="../fit")) == button
            assert bool(page.all("a", href="../fit")[1:]) != button


def test_what_another_tab_saved_is_shown_before_it_is_replaced(studio):
    session, client = studio
    save(client, 1, [1])
    page = Page(save(client, 1, [4], status=409).text)
    assert "good" in page.one("p", role="alert")[1]
    assert pressed(page) == [4]
    assert session.marks.records()[0].rationale == session.texts[0].text.words[1:2]
    save(client, 1, [4], seen=page.one("input", name="seen")[0]["value"])
    assert session.marks.records()[0].rationale == session.texts[0].text.words[4:5]


def test_what_others_marked_is_not_shown_but_counted(tmp_path):
    ann = desk(tmp_path)
    mark(ann)
    bob = desk(tmp_path, annotator="bob")
    client = Browser(create_app(bob))
    assert client.get("/").url.path == "/texts/5"  # what nobody marked comes first
    page = Page(client.get("/texts/1").text)
    assert pressed(page) == []
    assert page.one("span", class_="badge")[1] == "marked by ann"
    save(client, 1, [1, 2])
    assert (bob.people().texts, bob.people().f1) == (1, pytest.approx(2 / 3))  # one word in common, of one and of two
    assert "the mean token F1 of each two is 0.67" in client.get("/texts").text


def test_an_explanation_is_hidden_until_the_text_is_saved_and_that_it_was_shown_is_noted(studio):
    session, client = studio
    refused = client.post("/texts/1/explanation")
    assert refused.status_code == 409
    assert "a shown explanation would lead you" in refused.text
    assert 'class="expnet"' not in client.get("/texts/1?explanation=1").text
    save(client, 1, [1], label=1)
    assert 'class="expnet"' not in client.get("/texts/1?explanation=1").text
    shown = Page(client.post("/texts/1/explanation").text)
    direct = session.explainer.explain(TEXTS[0], target=1)
    assert shown.one("section", class_="expnet")[0]["aria-label"].startswith("LABEL_1, ")
    scores = [float(attrs["title"]) for attrs, _ in shown.all("span") if attrs.get("title")]
    assert scores == pytest.approx([word.score for word in direct.words], abs=6e-4)
    save(client, 1, [2], label=1, seen=session.entry(0).doing("ann").marked_at)
    assert session.entry(0).doing("ann").marked_after_explanation


@pytest.mark.parametrize(
    ("path", "fields", "status", "reason"),
    [
        ("/texts/1", {"words": "1,x", "label": "0"}, 422, "numbers of words below 7"),
        ("/texts/1", {"words": "7", "label": "0"}, 422, "numbers of words below 7"),
        ("/texts/1", {"words": "", "label": "3"}, 422, "a class below 3"),
        ("/texts/7", {"words": "", "label": "0"}, 404, "numbered from 1 to 6"),
        ("/texts/x", {}, 422, "valid integer"),
        ("/fit", {}, 422, "Fit needs 4 texts with both marked and unmarked words; there are 0"),
        ("/none", {}, 404, "Not Found"),
    ],
)
def test_what_cannot_be_done_is_said_on_a_page_and_nothing_is_saved(studio, path, fields, status, reason):
    session, client = studio
    answer = client.post(path, data=fields)
    assert answer.status_code == status
    assert reason in Page(answer.text).one("p", role="alert")[1]
    assert not session.marks.path.exists()


def test_other_sites_can_neither_save_nor_read(tmp_path):
    session = desk(tmp_path)
    mark(session, range(2, 6))
    before = session.marks.path.read_bytes()
    client = Browser(create_app(session, hosts=["localhost"]), base_url="http://localhost")
    assert client.get("/texts/1").status_code == 200
    assert client.get("/texts/1", headers={"host": "evil.example"}).status_code == 421
    for path in ("/texts/1", "/texts/2/explanation", "/fit", "/fit/cancel"):
        assert client.post(path, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert client.post(path, headers={"sec-fetch-site": "same-site"}).status_code == 403
        for origin in ("http://localhost:8001", "http://127.0.0.1", "http://evil.example", "null"):
            assert client.post(path, data={"words": "1"}, headers={"origin": origin}).status_code == 403
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
            bare = type(client.build_request("GET", path))  # httpx or httpx2, whichever the client is made of
            bare = bare("POST", f"http://localhost{path}", headers={"content-type": kind})
            assert client.send(bare).status_code == 415
    assert session.marks.path.read_bytes() == before
    assert session.fitting is None


def test_the_log_holds_no_text_and_the_policy_no_foreign_script(studio, caplog):
    _, client = studio
    with caplog.at_level(logging.INFO, "expnet.serve"):
        answer = save(client, 1, [1])
    assert "POST /texts/{number} 303" in caplog.text
    assert not any(word in caplog.text for word in ("good", "film", "LABEL"))
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_nothing_that_is_given_becomes_markup(tmp_path):
    names = dict(enumerate(TYPED[:3]))
    explainer = tiny_explainer(tiny_classifier(id2label=names))
    session = desk(tmp_path, [f"good {payload}" for payload in TYPED], explainer=explainer, annotator=TYPED[1])
    client = Browser(create_app(session))
    plain = {"section", "div", "span", "table", "tbody", "tr", "th", "td", "strong", "caption", "details", "summary"}
    known = plain | set(re.findall(r"<([a-z0-9]+)", " ".join(_templates()))) | {"dl", "dt", "dd"}
    for number, payload in enumerate(TYPED, start=1):
        save(client, number, [0], label=1)
        for page in map(Page, (client.get(f"/texts/{number}").text, client.post(f"/texts/{number}/explanation").text)):
            assert page.all("p", class_="text")[0][1] == f"good {payload}"
            assert {tag for tag, _, _ in page.elements} <= known
            assert not any(name.startswith("on") for _, attrs, _ in page.elements for name in attrs)
            assert all("src" in attrs for attrs, _ in page.all("script"))
    page = Page(client.get("/texts").text)
    assert [text for _, text in page.all("span", class_="badge")] == [TYPED[1]] * len(TYPED)


def _templates():
    from expnet.studio import page

    return [path.read_text() for path in (page.Path(page.__file__).parent / "templates").glob("*.html")]


# Fit


def fitted(client, session):
    client.post("/fit")
    session.fitting.join(60)
    assert session.fitting.stage == "done", session.fitting.error
    return Page(client.get("/fit").text)


def test_fit_makes_an_explainer_that_can_be_used_at_once(tmp_path):
    explainer = Explainer(tiny_classifier(), universal("attention"), name="universal/attention")
    session = desk(tmp_path, explainer=explainer)
    client = Browser(create_app(session))
    mark(session, range(1, 4))
    assert "disabled" in Page(client.get("/fit").text).all("button")[0][0]
    mark(session, [4])
    assert "disabled" not in Page(client.get("/fit").text).all("button")[0][0]
    page = fitted(client, session)
    assert str(session.output) in page.one("p", id="ready")[1]
    network = expnet.ExpNet.from_pretrained(session.output)
    direct = expnet.fit(explainer.classifier, session.marks.records(), tier="attention")
    scores = [word_scores(Explainer(explainer.classifier, trained), records()[4:]) for trained in (network, direct)]
    for one, other in zip(*scores, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)  # the same training, from the same seed
    assert session.newest.network is not explainer.network
    assert json.loads(client.get("/fit/state").text)["stage"] == "done"


def test_before_and_after_are_shown_on_texts_that_nobody_marked_and_that_is_noted(studio):
    session, client = studio
    mark(session)
    page = fitted(client, session)
    rows = [text.strip() for _, text in page.all("th", scope="row")]
    changed = [change.word for change in session.outcome.changed_most(8)]
    assert rows == ["average precision", "AUROC", *changed, *["before", "after", "change\u00a0±"] * 2]
    words = [text for _, text in page.all("div", class_="expnet-text")]
    assert words == [TEXTS[5]] * 3 + [TEXTS[4]] * 3  # before, after and the change
    assert all(session.entry(place).doing("ann").explanation_shown_at for place in (4, 5))
    after = session.newest.explain(TEXTS[5])
    titles = [float(attrs["title"]) for attrs, _ in page.all("span") if attrs.get("title")]
    n = len(after.words)
    assert titles[n : 2 * n] == pytest.approx([word.score for word in after.words], abs=6e-4)


def test_no_text_is_judged_by_a_network_that_learned_from_it(tmp_path):
    session, learned = desk(tmp_path), []
    mark(session, range(1, 7))
    marked, classifier = session.marks.records(), session.explainer.classifier

    def fit(train):
        learned.append({record.id for record in train})
        return tiny_explainer(classifier, seed=len(learned)).network

    scores = cross_validated(classifier, marked, fit)
    for held, train in zip(folds(len(marked)), learned, strict=True):
        assert {marked[place].id for place in held} == {record.id for record in marked} - train
    networks = {place: round for round, held in enumerate(folds(len(marked)), start=1) for place in held}
    for place, record in enumerate(marked):
        own = tiny_explainer(classifier, seed=networks[place])
        np.testing.assert_allclose(scores[place], word_scores(own, [record])[0], atol=1e-6)


@given(st.integers(4, 60))
def test_folds_hold_each_text_out_once_in_parts_of_almost_one_size(count):
    parts = list(folds(count))
    assert sorted(place for part in parts for place in part) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts) == 4


def test_the_figures_are_means_over_texts_of_the_metrics(tmp_path):
    session = desk(tmp_path)
    mark(session)
    marked = session.marks.records()
    marks = [np.array(record.word_marks()) for record in marked]
    before = [np.arange(len(text_marks), dtype=float) for text_marks in marks]
    after = [text_marks.astype(float) for text_marks in marks]
    result = agreement(marked, before, after)
    assert (result.texts, result.better, result.worse) == (4, 4, 0)
    for figure, metric in zip(result.figures, (average_precision, auroc), strict=True):
        assert figure.before == pytest.approx(np.mean([metric(*pair) for pair in zip(before, marks, strict=True)]))
        assert figure.after == 1
        assert figure.difference.mean == pytest.approx(1 - figure.before)


def test_cancel_ends_a_training_before_there_is_a_network_and_fit_can_begin_anew(studio, monkeypatch):
    session, client = studio
    mark(session)
    begun, go = threading.Event(), threading.Event()

    def slow(*args, **settings):
        for step in track(range(100), "training", show=False):
            begun.set()
            assert step < 99, "it was not stopped"
            assert go.wait(20)

    monkeypatch.setattr(fitting, "fit", slow)
    client.post("/fit")
    assert begun.wait(20)
    state = json.loads(client.get("/fit/state").text)
    assert (state["stage"], state["doing"], state["total"]) == ("learning", "training", 100)
    first = session.fitting
    client.post("/fit")
    assert session.fitting is first  # one at a time
    session.fitting.cancel()
    go.set()
    page = Page(client.post("/fit/cancel").text)
    assert session.fitting.stage == "cancelled"
    assert not session.output.exists()
    assert "Stopped" in [text for _, text in page.all("h2")]
    monkeypatch.undo()
    fitted(client, session)


def test_a_training_that_fails_says_why(studio, monkeypatch):
    session, client = studio
    mark(session)

    def fail(*args, **settings):
        raise InputError("There is <no> room.")

    monkeypatch.setattr(fitting, "fit", fail)
    client.post("/fit")
    session.fitting.join(20)
    assert Page(client.get("/fit").text).one("p", role="alert")[1] == "There is <no> room."


def test_labels_that_the_model_does_not_know_are_left_to_its_prediction(tmp_path):
    session = desk(tmp_path)
    for record in session.texts[:4]:
        session.marks.save(record, "ann", record.text.words[:1], "hateful")
    session.fit(read=False)
    session.fitting.join(60)
    assert session.fitting.stage == "done", session.fitting.error


def test_enough_unmarked_texts_are_read_first_if_wanted(tmp_path, monkeypatch):
    texts = [f"{TEXTS[0]} {'good ' * place}" for place in range(100)]
    session = desk(tmp_path, texts)
    mark(session)
    client, read = Browser(create_app(session)), []

    def adapt(classifier, teacher, texts, *, removals, config):
        assert removals == 0  # marks follow
        read.extend(texts)
        return tiny_explainer(classifier).network

    monkeypatch.setattr(fitting, "adapt", adapt)
    monkeypatch.setattr(session.explainer, "name", "universal")
    assert "read 96 texts without marks" in client.get("/fit").text
    client.post("/fit", data={"read": "yes"})
    session.fitting.join(60)
    assert len(read) == 100
    assert session.fitting.stage == "done", session.fitting.error


def test_whoever_watches_is_told_of_each_step_and_can_stop_it():
    seen, done = [], []

    def watcher(title, step, total):
        seen.append((title, step, total))
        if step == 2:
            raise InputError("stop")

    with pytest.raises(InputError), watched(watcher):
        done.extend(track("abcd", "reading", show=False))
    assert seen == [("reading", 0, 4), ("reading", 1, 4), ("reading", 2, 4)]
    assert done == ["a", "b"]
    assert list(track("abcd", "reading", show=False)) == list("abcd")
    assert len(seen) == 3


def test_a_tier_is_refused_where_a_network_has_its_own(tmp_path):
    with pytest.raises(InputError, match="starts from 'random'"):
        desk(tmp_path, tier="gradient")


def test_what_nobody_expected_is_logged_by_place_without_a_text(studio, monkeypatch, caplog):
    session, client = studio
    mark(session)

    def fail(*args, **settings):
        raise KeyError(TEXTS[0])

    monkeypatch.setattr(fitting, "fit", fail)
    client.post("/fit")
    session.fitting.join(20)
    assert session.fitting.error == "It failed: KeyError. The log says where."
    assert "KeyError at" in caplog.text
    assert TEXTS[0] not in caplog.text


def test_a_text_that_the_model_cannot_read_can_be_skipped(tmp_path):
    explainer = tiny_explainer(tiny_classifier(max_length=12))
    session = desk(tmp_path, explainer=explainer)
    session.texts = (Record("long", Text.of("good " * 9, "bad " * 9)), *session.texts)
    client = Browser(create_app(session))
    answer = client.get("/texts/1")
    assert answer.status_code == 422
    assert urljoin("/texts/1", Page(answer.text).one("form")[0]["action"]) == "/texts/1"
    assert client.post("/texts/1", data={"action": "skip"}).url.path == "/texts/2"


def test_a_text_on_which_the_model_fails_says_so_and_can_be_skipped(tmp_path, monkeypatch, caplog):
    session = desk(tmp_path)
    client, whole = Browser(create_app(session)), session.explainer.classifier.predict

    def predict(encoding):
        if encoding.texts[0].text == TEXTS[0]:
            raise IndexError("index out of range in self")
        return whole(encoding)

    monkeypatch.setattr(session.explainer.classifier, "predict", predict)
    with caplog.at_level(logging.ERROR, "expnet.serve"):
        answer = client.get("/texts/1")
    assert answer.status_code == 422
    reason = Page(answer.text).one("p", role="alert")[1]
    assert "The model fails on this text: IndexError: index out of range in self" in reason
    assert "IndexError at" in caplog.text
    assert client.post("/texts/1", data={"action": "skip"}).url.path == "/texts/2"


def test_no_page_changes_the_file_of_marks_by_being_shown(studio):
    session, client = studio
    mark(session)
    fitted(client, session)
    before = session.marks.path.read_bytes()
    assert b"explanation_shown_at" in before
    for path in ("/", "/texts", "/texts/1", "/texts/6", "/texts/1?explanation=1", "/fit", "/fit/state"):
        assert client.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 200
        assert client.head(path).status_code == 200
    assert session.marks.path.read_bytes() == before


def test_what_fit_will_show_is_noted_before_anybody_can_see_it(studio, monkeypatch):
    session, client = studio
    mark(session)
    pairs = []
    monkeypatch.setattr(
        session.marks, "shown", lambda records, annotator: pairs.append((session.fitting.pairs, records))
    )
    fitted(client, session)
    assert [(len(shown), [record.id for record in records]) for shown, records in pairs] == [(0, ["t6", "t5"])]


# The order


def test_texts_that_the_model_is_least_certain_of_come_first(tmp_path):
    classifier = tiny_classifier()
    ordered = uncertain_first(classifier, records())
    highest = [float(classifier.predict(classifier.encode([one.text])).outputs.max()) for one in ordered]
    assert highest == sorted(highest)
    assert {one.id for one in ordered} == {one.id for one in records()}
    regression = tiny_classifier(num_labels=1, problem_type="regression")
    with pytest.raises(InputError, match="does not say how certain"):
        uncertain_first(regression, records())


# The command


def test_the_command_lays_out_the_desk_and_says_what_it_left_out(tmp_path, monkeypatch):
    from expnet.web import running

    served = []
    monkeypatch.setattr(running, "run", lambda app, limits, *, host, port: served.append((app, host, port)))
    monkeypatch.setattr("expnet.explainer.load", lambda *args, **settings: tiny_explainer(tiny_classifier()))
    (tmp_path / "texts.txt").write_text("one good film\none good film\na bad one\n")
    (tmp_path / "old.jsonl").write_text(
        '{"text": "a bad one", "rationale": [[2, 5]]}\n{"text": "long", "label": "x"}\n'
    )
    arguments = ["studio", "model", tmp_path / "texts.txt", "--marks", tmp_path / "marks.jsonl", "--annotator", "ann"]
    result = CliRunner().invoke(commands, [*map(str, arguments), "--import", str(tmp_path / "old.jsonl")])
    assert result.exit_code == 0, result.output
    assert "1 texts occur more than once" in result.stderr
    assert "1 texts brought new marks" in result.stderr
    assert "1 texts have no marks" in result.stderr
    assert "1 of 2 texts are marked. You mark as ann." in result.stderr
    (app, host, port) = served[0]
    assert (host, port) == ("127.0.0.1", 8000)
    with Browser(app, base_url="http://localhost") as client:
        assert client.get("/").url.path == "/texts/1"
