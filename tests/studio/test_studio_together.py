"""Several annotators with a file each: compared, never shown to each other, learned from if one asks for it."""

import numpy as np
import pytest

from expnet.errors import InputError
from expnet.rationales import Annotation, Record
from expnet.studio import Desk, Marks, create_app
from expnet.studio.outcome import read_outcome
from expnet.studio.together import chosen_by, from_all, people_agreement
from expnet.text.texts import Text
from tests.browsers import Browser
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.serve.test_serve_page import Page
from tests.studios import records

NAMES = ("ann", "bob", "cy")
WORDS = {"ann": (1, 2), "bob": (1,), "cy": (1, 4)}  # of the first four texts


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture
def desks(tmp_path, explainer):
    """The desks of three people, who marked the first four texts; cy did not see the fourth."""
    files = {name: Marks(tmp_path / f"{name}.jsonl") for name in NAMES}
    made = {}
    for name in NAMES:
        others = [files[other] for other in NAMES if other != name]
        made[name] = Desk(
            explainer, records(), files[name], annotator=name, output=tmp_path / f"{name}-explainer", others=others
        )
        for record in made[name].texts[: 3 if name == "cy" else 4]:
            spans = [word for at, word in enumerate(record.text.words) if at in WORDS[name]]
            made[name].marks.save(record, name, spans, "LABEL_1")
    return made


def words_of(record):
    return {at for at, marked in enumerate(record.word_marks(record.rationale)) if marked}


def test_the_agreement_is_the_mean_f1_of_each_two_and_of_each_against_the_majority_of_the_others(desks):
    people = desks["ann"].people()

    # F1 of {1, 2} and {1}: 2/3; of {1} and {1, 4}: 2/3; of {1, 2} and {1, 4}: 1/2. The second text has three words.
    def f1(a, b, length):
        a, b = ({at for at in WORDS[name] if at < length} for name in (a, b))
        return 2 * len(a & b) / (len(a) + len(b))

    lengths = [len(record.text.words) for record in records()]
    expected = {
        (a, b): [f1(a, b, length) for length in lengths[:upto]]
        for a, b, upto in (("ann", "bob", 4), ("ann", "cy", 3), ("bob", "cy", 3))
    }
    assert {pair.names: (pair.texts, pytest.approx(pair.f1)) for pair in people.pairs} == {
        names: (len(of_texts), pytest.approx(np.mean(of_texts))) for names, of_texts in expected.items()
    }
    by_text = [np.mean([of_texts[at] for of_texts in expected.values() if len(of_texts) > at]) for at in range(4)]
    assert (people.texts, people.f1) == (4, pytest.approx(np.mean(by_text)))
    # Of two others a majority marks only what both did: the word 1. Against it: 2/3, 1 and 2/3, or 1 without a word 4.
    against = [np.mean([2 / 3, 1, 2 / 3 if length > 4 else 1]) for length in lengths[:3]]
    assert people.against == pytest.approx(np.mean(against))
    assert desks["cy"].people() == people


def test_what_others_marked_is_on_no_page_of_mine_and_their_texts_are_still_mine_to_mark(desks, tmp_path):
    client = Browser(create_app(desks["cy"]))
    assert client.get("/").url.path == "/texts/4"  # which ann and bob marked, and cy did not
    page = client.get("/texts/4").text
    assert "marked by" not in page
    assert 'aria-pressed="true"' not in page
    assert desks["cy"].progress().marked == 3
    listed = client.get("/texts").text
    assert "How far annotators agree" in listed
    rows = [text for _, text in Page(listed).all("th", scope="row")]
    assert rows == ["ann and bob", "ann and cy", "bob and cy"]
    before = (tmp_path / "ann.jsonl").read_bytes()
    client.post("/texts/4", data={"words": "1", "label": "0", "seen": ""})
    assert {pair.names: pair.texts for pair in desks["ann"].people().pairs}["ann", "cy"] == 4  # read again
    assert (tmp_path / "ann.jsonl").read_bytes() == before


def test_without_other_files_nothing_is_to_choose(tmp_path, explainer, desks):
    alone = Desk(explainer, records(), Marks(tmp_path / "d.jsonl"), annotator="d", output=tmp_path / "d")
    assert "Learn from" not in Browser(create_app(alone)).get("/fit").text
    assert "How far annotators agree" not in Browser(create_app(alone)).get("/texts").text
    beside = Desk(
        explainer,
        records(),
        Marks(tmp_path / "e.jsonl"),
        annotator="e",
        output=tmp_path / "e",
        others=[desks["ann"].marks],
    )
    assert "No text is marked by two annotators yet" in Browser(create_app(beside)).get("/texts").text


def test_a_training_takes_the_own_marks_unless_others_are_chosen(desks):
    ann = desks["ann"]
    own, anybody, most = (ann.marked(source)[0] for source in ("own", "any", "most"))
    assert (words_of(own), words_of(anybody), words_of(most)) == ({1, 2}, {1, 2, 4}, {1})
    assert len(desks["cy"].marked("own")) == 3
    assert len(desks["cy"].marked("any")) == 4


def test_the_fit_page_offers_the_choice_and_keeps_what_was_chosen(desks, tmp_path, monkeypatch, explainer):
    cy, trained_on = desks["cy"], []

    def fit(_classifier, train, **_):
        trained_on.append([words_of(record) for record in train])
        return explainer.network

    monkeypatch.setattr("expnet.studio.fitting.fit", fit)
    assert (len(cy.marked("own")), cy.ready) == (3, True)  # too few of my own, enough of all
    client = Browser(create_app(cy))
    shown = Page(client.get("/fit").text)
    assert [attrs["value"] for attrs, _ in shown.all("option")] == ["own", "any", "most"]
    refused = client.post("/fit", data={})
    assert "Fit needs 4 texts" in refused.text
    assert (
        "Expected marks of own, any, most; got &#39;theirs&#39;" in client.post("/fit", data={"source": "theirs"}).text
    )
    client.post("/fit", data={"source": "most"})
    cy.fitting.join(120)
    assert (cy.fitting.stage, cy.fitting.marked) == ("done", 4)
    assert trained_on[0] == [{1}, {1}, {1}, {1}]
    assert "It learned from 4 texts, with the words that most annotators marked, in" in client.get("/fit").text
    assert read_outcome(tmp_path / "cy-fit.json").source == "most"
    left = (tmp_path / "cy-fit.json").read_text().replace(' "source": "most",\n', "")
    (tmp_path / "cy-fit.json").write_text(left)
    assert read_outcome(tmp_path / "cy-fit.json").source == "own"  # as written before there was a choice


def test_marks_of_one_person_in_two_files_count_once(tmp_path, desks):
    twice = Marks(tmp_path / "twice.jsonl")
    record = records()[0]
    twice.save(record, "ann", record.text.words[4:5], "LABEL_1")
    (joined, *_) = from_all(desks["ann"].entries(), [twice])
    assert [annotation.annotator for annotation in joined.annotations] == ["ann"]
    assert words_of(joined) == {1, 2}


def test_the_same_file_twice_is_refused(desks, tmp_path, explainer):
    with pytest.raises(InputError, match="are to be different ones"):
        Desk(
            explainer,
            records(),
            desks["ann"].marks,
            annotator="ann",
            output=tmp_path / "x",
            others=[Marks(tmp_path / "ann.jsonl")],
        )


def test_people_without_a_text_in_common_have_no_agreement():
    text = Text.of("good film")
    record = Record("a", text, annotations=(Annotation("ann", text.words[:1], None),), rationale=text.words[:1])
    alone = people_agreement([record])
    assert (alone.texts, alone.pairs) == (0, ())
    assert np.isnan(alone.f1)
    assert np.isnan(alone.against)
    assert chosen_by("most", [record], [record]) == [record]
