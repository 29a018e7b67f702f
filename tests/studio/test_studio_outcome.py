"""What a training brought: a verdict in words, what changed most, and both again after a restart."""

import json

import numpy as np
import pytest

from expnet.errors import InputError
from expnet.explanation import colour
from expnet.metrics import estimate
from expnet.studio import create_app
from expnet.studio.comparing import Agreement, MetricChange
from expnet.studio.outcome import read_outcome
from tests.browsers import Browser
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.serve.test_serve_page import Page
from tests.studio.test_studio import fitted, mark
from tests.studios import desk


def agreed(gains) -> Agreement:
    gains = np.array(gains)
    figure = MetricChange("average precision", 0.5, 0.5 + float(gains.mean()), estimate(gains))
    return Agreement(len(gains), int((gains > 0).sum()), int((gains < 0).sum()), (figure,))


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.1, 0.2, 0.1, 0.3, 0.1, 0.2], "better"),
        ([-0.1, -0.2, -0.1, -0.3, -0.1, -0.2], "worse"),
        ([0.1, -0.2, 0.1, -0.1, 0.1, 0.0], "not shown to be better"),
        ([0.0] * 20, "not shown to be better"),
        ([0.1] * 5, "not shown to be better"),  # by chance, 5 texts all differ in one direction once in 16 cases
        ([-0.1] * 5, "not shown to be better"),
    ],
)
def test_the_verdict_follows_from_the_interval_and_needs_enough_texts(gains, verdict):
    assert agreed(gains).verdict == verdict


@pytest.fixture
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture
def outcome(tmp_path, explainer):
    """What a training left in a folder."""
    session = desk(tmp_path, explainer=explainer)
    mark(session)
    with Browser(create_app(session)) as client:
        fitted(client, session)
    return session.outcome


def source_of(session) -> str:
    with Browser(create_app(session)) as client:
        return client.get("/fit").text


def shown(session) -> Page:
    return Page(source_of(session))


def test_the_page_says_the_verdict_and_which_words_changed_most_in_the_colour_of_the_change(
    outcome, tmp_path, explainer
):
    source = source_of(desk(tmp_path, explainer=explainer))
    page = Page(source)
    verdict = page.one("p", id="verdict")[1]
    assert verdict.startswith("Not shown to be better: fewer than 6 texts cannot show it")
    changes = [after.score - before.score for pair in outcome.pairs for before, after in words(pair)]
    most = outcome.changed_most(8)
    assert [abs(change.change) for change in most] == sorted(map(abs, changes), reverse=True)[:8]
    names = [text.strip() for _, text in page.all("th", scope="row")]
    assert names[2 : 2 + len(most)] == [change.word for change in most]
    for change in most:
        assert f"{change.before:.2f} → {change.after:.2f}" in source
        assert colour.hue(change.change, colour.Scale(1.0, signed=True)) in source


def words(pair):
    return zip(pair.before.words, pair.after.words, strict=True)


def test_a_restart_shows_what_the_last_training_brought(outcome, tmp_path, explainer):
    session = desk(tmp_path, explainer=explainer)
    assert session.outcome == outcome
    page = shown(session)
    assert any(outcome.at[:10] in text for _, text in page.all("h2"))
    assert page.all("p", id="ready")
    assert [text.strip() for _, text in page.all("th", scope="row")][:2] == ["average precision", "AUROC"]
    assert any(text == "Fit again" for _, text in page.all("button"))


def test_whoever_did_not_see_the_explanations_is_not_led_by_them_after_a_restart(outcome, tmp_path, explainer):
    source = source_of(desk(tmp_path, explainer=explainer, annotator="another"))
    page = Page(source)
    assert page.all("p", id="verdict")
    assert not page.all("div", **{"class": "pair"})
    assert "were shown to ann; they are hidden from you" in source
    assert "What changed most" not in source


def test_another_model_does_not_show_what_was_learned_on_this_one(outcome, tmp_path):
    other = tiny_explainer(tiny_classifier(id2label={0: "a", 1: "b", 2: "c"}))
    session = desk(tmp_path, explainer=other)
    assert session.outcome is None
    assert not shown(session).all("p", id="ready")


def test_a_training_that_failed_leaves_what_the_last_one_brought(outcome, tmp_path, explainer, monkeypatch):
    session = desk(tmp_path, explainer=explainer)
    monkeypatch.setattr("expnet.studio.fitting.fit", lambda *args, **settings: 1 / 0)
    with Browser(create_app(session)) as client:
        client.post("/fit")
        session.fitting.join(20)
        page = Page(client.get("/fit").text)
    assert session.outcome == outcome
    assert page.all("p", role="alert")
    assert page.all("p", id="ready")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fields: fields.update(schema=2), "schema=2"),
        (lambda fields: fields.update(more=1), "unknown fields"),
        (lambda fields: fields.update(seconds="1"), "seconds='1'"),
        (lambda fields: fields["pairs"][0].pop("after"), "after"),
        (lambda fields: fields["pairs"][0]["after"].update(text="another"), "not of the same text"),
        (lambda fields: fields["pairs"][0]["after"]["words"].pop(), "not of the same text"),
        (lambda fields: fields["agreement"].update(texts=-1), "texts=-1"),
        (lambda fields: fields["agreement"]["figures"].clear(), "figures="),
        (lambda fields: fields["agreement"]["figures"][0]["difference"].update(low=9), "low=9"),
    ],
)
def test_a_file_that_fit_did_not_write_is_refused_and_named(outcome, tmp_path, explainer, change, reason):
    path = tmp_path / "marks-fit.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=r"marks-fit\.json is not what Fit wrote: .*Move it away") as caught:
        desk(tmp_path, explainer=explainer)
    assert reason in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"seconds": NaN}'])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "left.json").write_bytes(content)
    with pytest.raises(InputError, match="Move it away"):
        read_outcome(tmp_path / "left.json")
    assert read_outcome(tmp_path / "none.json") is None
