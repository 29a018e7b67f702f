"""The record of a decision says what was decided and why, keeps what it must, and can be computed again."""

import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files

import jsonschema
import pytest
import torch
from typer.testing import CliRunner

from expnet import Explainer, Text
from expnet.audit import Asked, AuditRecord, record_decision, verify
from expnet.audit.pages import decision_page, verdict
from expnet.audit.record import seal
from expnet.cli.app import app
from expnet.errors import ExpnetError, InputError
from expnet.explanation.escape import printable
from expnet.explanation.result import Explanation
from expnet.metrics.removal import RANDOM, Checked, check
from tests.audits import decision_of
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save
from tests.payloads import PAYLOADS

TEXT = "the good film, another bad one"
PAIR = Text.of("a good film", "bad one")
SCHEMA = json.loads(files("expnet.audit").joinpath("decision.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def record(explainer):
    return record_decision(explainer, TEXT)


def without(record: AuditRecord, name: str) -> dict:
    return {key: value for key, value in record.to_dict().items() if key != name}


def resealed(data: dict) -> str:
    return json.dumps(data | {"sha256": seal(data)})


def test_the_record_holds_what_explain_says_and_what_made_it(record, explainer):
    assert record.explanation == explainer.explain(TEXT)
    assert record.text.sha256 == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (record.text.characters, record.text.content, record.pair) == (30, TEXT, None)
    assert record.models["classifier_hash"] == explainer.classifier.fingerprint()
    assert {"expnet", "torch", "transformers", "python", "platform"} == record.versions.keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.created)


def test_the_check_takes_the_top_words_away_and_random_ones_beside_them(record, explainer):
    named, chance = record.checks
    top = sorted(record.explanation.words, key=lambda word: -word.score)[:3]
    assert sorted(named.words) == sorted(word.text for word in top)
    assert (chance.name, chance.words) == (RANDOM, ())
    left = TEXT
    for word in sorted(top, key=lambda word: -word.start):  # each of these words is one token
        left = left[: word.start] + "[MASK]" + left[word.end :]
    target = explainer.classifier.target_index(record.explanation.label)
    alone = explainer.classifier.predict(explainer.classifier.encode([Text.of(left)])).probabilities[0, target]
    assert named.without == pytest.approx(float(alone), abs=1e-6)
    assert named.full == pytest.approx(record.explanation.probability, abs=1e-6)


def test_a_text_without_words_and_one_of_several_windows_say_why_nothing_was_checked(explainer):
    assert check(explainer.classifier, Text.of(""), [explainer.explain("")], count=3) == ()
    blank, long = (record_decision(explainer, text) for text in ("", "good " * 300))
    assert (blank.checks, blank.unchecked) == ((), "")
    assert long.checks == ()
    assert "not in one window" in long.unchecked
    assert "not in one window" in decision_page(long)
    assert "no words to remove" in decision_page(blank)


@pytest.mark.parametrize("text", [TEXT, PAIR, "", "half \u00e9 \U0001f600 good"])
@pytest.mark.parametrize("keep_text", [True, False])
def test_json_follows_the_schema_and_comes_back_equal(explainer, text, keep_text):
    asked = Asked(method="lime", options={"samples": 20}, seed=3, target="LABEL_1", count=2)
    written = record_decision(explainer, text, asked=asked, keep_text=keep_text)
    jsonschema.validate(json.loads(written.to_json()), SCHEMA, format_checker=jsonschema.FormatChecker())
    back = AuditRecord.from_json(written.to_json())
    assert back == written
    assert not back.changed
    assert Explanation.from_dict(back.explanation.to_dict()) == back.explanation


def test_without_the_text_no_word_of_it_is_in_the_record_or_on_its_page(explainer):
    secret = Text.of("zebra good", "bad xylophone")
    asked = Asked(target="LABEL_0")
    hidden = record_decision(explainer, secret, asked=asked, keep_text=False)
    for shown in (hidden.to_json(), decision_page(hidden)):
        told = re.sub(r"\b[0-9a-f]{64}\b", "", shown)  # a hash may spell a word such as "bad"
        assert not re.search("zebra|xylophone|good|bad", told)
        assert hashlib.sha256(b"zebra good").hexdigest() in shown
    assert hidden.explanation.text == "·····" + " " + "····"
    assert [word.score for word in hidden.explanation.words] == [w.score for w in explainer.explain(secret).words]
    assert verify(hidden, explainer, text=secret) == []
    with pytest.raises(InputError, match="does not hold the text: give it"):
        verify(hidden, explainer)


def test_options_that_hold_texts_are_left_out_with_the_text(explainer):
    asked = Asked(method="inverse_document_frequency", options={"documents": ["zebra good", "bad"]})
    hidden = record_decision(explainer, TEXT, asked=asked, keep_text=False)
    assert "zebra" not in hidden.to_json()
    with pytest.raises(InputError, match="only a hash of documents"):
        verify(hidden, explainer, text=Text.of(TEXT))
    assert verify(record_decision(explainer, TEXT, asked=asked), explainer) == []


def test_what_is_computed_again_on_the_same_models_does_not_differ(record, explainer):
    again = tiny_explainer(tiny_classifier())
    assert verify(AuditRecord.from_json(record.to_json()), again) == []
    assert verify(record_decision(explainer, PAIR), again) == []


def test_another_classifier_network_or_text_is_named(record, explainer):
    def named(differences):
        return {difference.what for difference in differences if difference.matters}

    assert named(verify(record, tiny_explainer(explainer.classifier, seed=1))) > {"explainer_hash", "score of word 1"}
    assert "classifier_hash" in named(verify(record, tiny_explainer(tiny_classifier(seed=1))))
    (other,) = verify(record, explainer, text=Text.of(TEXT + "."))
    assert (other.what, other.was) == ("sha256 of the text", record.text.sha256)
    assert named(verify(record, explainer, text=Text.of(TEXT, "pair"))) == {"sha256 of the pair"}


def test_a_score_that_moved_by_more_than_the_tolerance_is_named_with_both_values(record, explainer):
    words = list(record.explanation.words)
    words[1] = replace(words[1], score=words[1].score + 0.01)
    edited = replace(record, explanation=replace(record.explanation, words=tuple(words)))
    (difference,) = verify(edited, explainer)
    assert (difference.what, difference.was) == ("score of word 2", words[1].score)
    assert difference.now == pytest.approx(words[1].score - 0.01)
    assert verify(edited, explainer, tolerance=0.02) == []


def test_names_devices_and_versions_are_noted_but_do_not_matter(record, explainer):
    moved = Explainer(explainer.classifier, explainer.network, name="elsewhere")
    (difference,) = verify(record, moved)
    assert (difference.what, difference.was, difference.now, difference.matters) == (
        "explainer",
        "random",
        "elsewhere",
        False,
    )
    (difference,) = verify(replace(record, versions={**record.versions, "torch": "1.0"}), explainer)
    assert (difference.what, difference.was, difference.now, difference.matters) == (
        "torch",
        "1.0",
        torch.__version__,
        False,
    )


def test_an_edit_that_forgets_the_hash_is_noticed_and_any_edit_of_figures_computed(record, explainer):
    data = record.to_dict()
    data["trust"] = "Trust it blindly."
    edited = AuditRecord.from_json(json.dumps(data))
    assert edited.changed
    assert [difference.what for difference in verify(edited, explainer)] == ["the file", "trust"]
    assert "was edited after it was written" in decision_page(edited)
    data["text"]["content"] = "the good film"
    assert [difference.what for difference in verify(AuditRecord.from_json(resealed(data)), explainer)] == [
        "sha256 of the text"
    ]


def leaves(value, path=()):
    """Yield the path of everything in a JSON value that holds nothing else."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def at(data, path):
    for key in path:
        data = data[key]
    return data


def other(value):
    """Return another value of the same kind, as somebody would put it who wants it to pass."""
    match value:
        case bool():
            return not value
        case int():  # a segment is 0 or 1
            return 0 if value == 1 else value + 1
        case float():
            return value + 0.01
        case str():
            return f"{value}!"
        case None:
            return 0.5
    return ["something"] if isinstance(value, list) else {"something": "else"}


def differing(changed, explainer, text):
    """Return what verification names after an edit under a new hash; what is no record at all cannot be read."""
    try:
        edited = AuditRecord.from_json(resealed(changed))
    except InputError:
        return {"refused"}
    return {difference.what for difference in verify(edited, explainer, text=text)}


def names_of(path):
    """Return what a difference at a path may be called."""
    match path:
        case ("kind",) | ("schema",) | ("explanation", "schema"):
            return {"refused"}
        case ("text" | "pair" as part, *_):
            return {f"{path[-1]} of the {part}", f"sha256 of the {part}"}
        case ("explanation", "probabilities", name):
            return {f"probability of {name}"}
        case ("explanation", "words", number, name):
            return {f"{name} of word {number + 1}"}
        case ("checks", number, "words", *place):
            return {f"word {place[0] + 1} of check {number + 1}" if place else f"words of check {number + 1}"}
        case ("checks", number, name):
            return {f"{name} of check {number + 1}"}
        case ("models", "labels", number):
            return {f"label {number + 1}"}
    return {path[-1]}


ASKED_FOR = {
    "expnet": Asked(target="LABEL_1"),
    "lime": Asked(method="lime", options={"samples": 20}, seed=3, count=2),
    "long": Asked(truncate=True),
}


@pytest.mark.parametrize("keep_text", [True, False])
@pytest.mark.parametrize("how", ASKED_FOR)
def test_whatever_is_changed_in_a_record_is_named_also_under_a_new_hash(explainer, how, keep_text):
    text = Text.of("good bad", "film " * 300) if how == "long" else PAIR
    data = json.loads(record_decision(explainer, text, asked=ASKED_FOR[how], keep_text=keep_text).to_json())
    given = None if keep_text else text
    checked = 0
    for path in leaves({name: value for name, value in data.items() if name != "sha256"}):
        if path[0] == "asked" or path == ("created",):
            continue
        if path[:2] == ("explanation", "words") and len(path) > 2 and path[2] > 3:
            continue  # one of three hundred is like another
        changed = json.loads(json.dumps(data))
        at(changed, path[:-1])[path[-1]] = other(at(data, path))
        reported = differing(changed, explainer, given)
        what_it_cannot_be = path != ("explanation", "threshold") and not isinstance(
            at(data, path), bool | int | float | str
        )
        assert reported & names_of(path) or (reported == {"refused"} and what_it_cannot_be), (path, reported)
        checked += 1
    assert checked > 40


def edited(data, change):
    """Return a record after an edit under a new hash."""
    data = json.loads(json.dumps(data))
    change(data)
    return AuditRecord.from_json(resealed(data))


def test_what_is_added_or_left_out_is_named_too(explainer):
    data = record_decision(explainer, PAIR).to_dict()
    for what, change in {
        "extra": lambda data: data["models"].update(extra={}),
        "precision": lambda data: data["models"].pop("precision"),
        "torch": lambda data: data["versions"].pop("torch"),
        "attention": lambda data: data["explanation"]["provenance"].pop("attention"),
        "probability of LABEL_3": lambda data: data["explanation"]["probabilities"].update(LABEL_3=0.0),
        "words": lambda data: data["explanation"]["words"].pop(),
        "words of check 1": lambda data: data["checks"][0]["words"].clear(),
        "word 1 of check 1": lambda data: data["checks"][0]["words"].reverse(),
        "checks": lambda data: data["checks"].clear(),
    }.items():
        assert what in {difference.what for difference in verify(edited(data, change), explainer)}


def test_the_content_of_a_record_is_compared_with_the_text_that_is_given(record, explainer):
    changed = edited(record.to_dict(), lambda data: data["text"].update(content="a bad film"))
    differences = verify(changed, explainer, text=Text.of(TEXT))
    assert [(difference.what, difference.was, difference.now) for difference in differences] == [
        ("content of the text", "a bad film", TEXT)
    ]


def test_what_is_taken_as_it_is_follows_from_nothing_or_makes_other_figures(explainer):
    asked = Asked(method="lime", options={"samples": 20}, seed=3)
    data = record_decision(explainer, TEXT, asked=asked).to_dict()
    assert verify(edited(data, lambda data: data.update(created="1999-01-01T00:00:00+00:00")), explainer) == []
    for name, value, what in (
        ("seed", 4, {"seed", "score of word 1"}),
        ("options", {"samples": 10}, {"samples", "score of word 1"}),
        ("method", "rise", {"method", "score of word 1"}),
        ("target", "LABEL_0" if data["explanation"]["label"] != "LABEL_0" else "LABEL_1", {"label", "probability"}),
        ("count", 1, {"without of check 1", "words of check 1"}),
    ):
        differences = verify(
            edited(data, lambda data, name=name, value=value: data["asked"].update({name: value})), explainer
        )
        assert what <= {difference.what for difference in differences if difference.matters}


def test_what_no_record_holds_is_refused_since_nothing_could_compare_it(explainer):
    data = record_decision(explainer, PAIR, keep_text=False).to_dict()
    for change in (
        lambda data: data["explanation"]["words"][0].update(text="evil"),
        lambda data: data["explanation"]["words"][0].update(segment=2),
        lambda data: data["explanation"].update(text="evil"),
        lambda data: data["explanation"]["provenance"].update(evil="x"),
        lambda data: data.update(changed=False),
        lambda data: data["pair"].update(evil="x"),
    ):
        with pytest.raises(InputError, match="The record is damaged"):
            edited(data, change)


def test_what_is_no_record_is_refused_with_what_was_found(record):
    with pytest.raises(InputError, match="is not valid JSON"):
        AuditRecord.from_json("{")
    with pytest.raises(InputError, match="'expnet decision', schema 1 or 2; got list"):
        AuditRecord.from_json("[]")
    with pytest.raises(InputError, match=r"got \('expnet decision', 3\)"):
        AuditRecord.from_json(json.dumps(record.to_dict() | {"schema": 3}))
    with pytest.raises(InputError, match=r"damaged.*lacks \['trust'\]"):
        AuditRecord.from_json(resealed(without(record, "trust")))
    for name in ("text", "explanation", "asked", "checks"):
        with pytest.raises(InputError, match="damaged"):
            AuditRecord.from_json(json.dumps(record.to_dict() | {name: 1}))


ABSURD = {
    "text": [{"characters": 3_000_000_000}, {"characters": -1}, {"characters": "9"}, {"sha256": None}, {"content": 7}],
    "asked": [{"method": None}, {"options": []}, {"seed": 0.5}, {"seed": 2**70}, {"target": 1.5}, {"count": 0}],
    "explanation": [{"probability": "1"}, {"threshold": []}, {"words": {}}, {"windows": -1}, {"provenance": None}],
}


@pytest.mark.parametrize(("part", "fields"), [(part, field) for part, some in ABSURD.items() for field in some])
def test_a_record_with_an_absurd_field_is_refused_and_the_field_named(record, part, fields):
    data = record.to_dict()
    told = json.dumps(data | {part: data[part] | fields})
    with pytest.raises(InputError, match=f"The record is damaged: .*{next(iter(fields))}="):
        AuditRecord.from_json(told)


@pytest.mark.parametrize(
    "field", [{"versions": {"a": 1}}, {"created": 5}, {"checks": [1]}, {"checks": [{}]}, {"trust": 1}]
)
def test_a_record_with_an_absurd_part_is_refused(record, field):
    with pytest.raises(InputError, match="The record is damaged"):
        AuditRecord.from_json(json.dumps(record.to_dict() | field))


def edited_word(explainer, **edit):
    data = record_decision(explainer, TEXT, keep_text=False).to_dict()
    assert AuditRecord.from_json(json.dumps(data)).explanation.text == "··· ···· ····· ······· ··· ···"
    words = data["explanation"]["words"]
    data["explanation"]["words"] = [*words[:-1], words[-1] | edit]
    return json.dumps(data)


@pytest.mark.parametrize("edit", [{"end": 3_000_000_000}, {"start": -1}, {"segment": 2}, {"score": float("nan")}])
def test_a_word_that_no_text_could_have_is_refused(explainer, edit):
    with pytest.raises(InputError, match=r"The record is (damaged|not valid JSON)"):
        AuditRecord.from_json(edited_word(explainer, **edit))


@pytest.mark.parametrize("edit", [{"end": 2_000_000_000}, {"start": 2_000_000_000, "end": 2_000_000_001}])
def test_a_word_beyond_a_text_that_is_not_there_makes_it_no_longer_and_is_named(explainer, edit):
    record = AuditRecord.from_json(edited_word(explainer, **edit))
    assert len(record.explanation.text) == len(TEXT)
    assert "end of word 7" in {difference.what for difference in verify(record, explainer, text=Text.of(TEXT))}


@pytest.mark.parametrize(
    ("lost", "by_chance", "said"),
    [(0.5, 0.1, "they did matter"), (0.1, 0.08, "does not depend on these words alone"), (0.0, 0.5, "something else")],
)
def test_the_verdict_follows_the_check_and_its_control(lost, by_chance, said):
    checks = (Checked("expnet", ("good",), 0.9, 0.9 - lost, 0.9), Checked(RANDOM, (), 0.9, 0.9 - by_chance, 0.5))
    assert said in verdict(checks)


def test_trust_says_what_the_explainer_has_learned_from(explainer):
    def told(**provenance):
        network = tiny_explainer(explainer.classifier).network
        network.config = replace(network.config, provenance=provenance)
        return record_decision(Explainer(explainer.classifier, network), "good").trust

    assert "No text was held out, so its agreement with people was not measured" in told(texts=16)
    whole = told(**{"texts": 1600, "dev texts": 90, "dev average_precision": 0.614})
    assert "for a classifier that is not recorded. On 90 other texts" in whole
    assert "1,600 texts" in whole
    assert "0.61" in whole
    assert "imitate the method “leave_one_out” and another explainer on 300 texts without human marks" in told(
        texts=300, target_method="leave_one_out", teacher={}
    )
    assert "not learned from people" in record_decision(explainer, "good", asked=Asked(method="saliency")).trust
    universal = Explainer(explainer.classifier, explainer.network, trust="Hardly.")
    assert record_decision(universal, "good").trust == "Hardly."


@pytest.mark.parametrize("payload", PAYLOADS)
def test_any_string_is_shown_as_it_is_and_the_page_can_be_written(payload, tmp_path):
    (tmp_path / "page.html").write_text(decision_page(decision_of(payload)), encoding="utf-8")
    assert "<script" not in (tmp_path / "page.html").read_text(encoding="utf-8").lower()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save(root / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(root / "explainer")
    tiny_explainer(tiny_classifier(), seed=1).network.save_pretrained(root / "other")
    return root


def run(*arguments, stdin=None, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if isinstance(result.exception, ExpnetError):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout


def models(folders, explainer="explainer"):
    return ["--model", folders / "classifier", "--explainer", folders / explainer]


def test_the_command_writes_json_and_page_and_verifies_what_it_wrote(folders, tmp_path):
    json_file, page = tmp_path / "record.json", tmp_path / "record.html"
    run("audit", TEXT, *models(folders), "--output", json_file, "--output", page)
    assert AuditRecord.from_json(json_file.read_text()).text.content == TEXT
    assert "What the model decided" in page.read_text()
    assert "The record holds" in run("audit", "verify", json_file, *models(folders))
    json_file.write_text(json_file.read_text(), encoding="utf-8-sig")  # as editors on Windows save it
    assert "The record holds" in run("audit", "verify", json_file, *models(folders))
    told = run("audit", "verify", json_file, *models(folders, "other"), status=1)
    assert re.search(r"DIFFERS  explainer_hash: was '[0-9a-f]{64}', is '[0-9a-f]{64}'", told)
    assert "The record holds" not in told


def test_standard_input_is_one_text_and_a_hidden_one_is_verified_from_there(folders, tmp_path):
    whole = "good film\n\nbad one\n"
    shown = json.loads(run("audit", *models(folders), "--pair", "bad", stdin=whole))
    assert shown["text"]["sha256"] == hashlib.sha256(whole.encode()).hexdigest()
    assert shown["pair"]["content"] == "bad"
    assert json.loads(run("audit", *models(folders), stdin="\ufeffgood"))["text"]["content"] == "good"
    hidden = tmp_path / "hidden.json"
    run("audit", "decision", *models(folders), "--without-text", "--output", hidden, stdin=whole)
    assert "film" not in hidden.read_text()
    assert "The record holds" in run("audit", "verify", hidden, *models(folders), "--text", "-", stdin=whole)


def test_a_text_that_is_the_name_of_a_command_is_given_to_decision(folders):
    assert json.loads(run("audit", "decision", "verify", *models(folders)))["text"]["content"] == "verify"


def test_what_the_command_cannot_use_is_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.json or \.html, got record\.pdf"):
        run("audit", TEXT, "--model", "nowhere", "--output", "record.pdf")
    with pytest.raises(InputError, match="does not exist"):
        run("audit", TEXT, "--model", "nowhere", "--output", tmp_path / "no" / "record.json")
    with pytest.raises(InputError, match="Expected one method"):
        run("audit", TEXT, "--method", "all")
    with pytest.raises(InputError, match="There is no file"):
        run("audit", "verify", tmp_path / "record.json")
    with pytest.raises(InputError, match="needs --text"):
        run("audit", "verify", tmp_path / "record.json", "--pair", "x")


def test_nothing_in_a_record_moves_the_terminal_of_who_verifies_it(folders, tmp_path):
    record = json.loads(run("audit", TEXT, *models(folders)))
    record["trust"] = record["versions"]["torch"] = "\x1b[2J\x9b31m\u202e"
    (tmp_path / "record.json").write_text(json.dumps(record))
    told = run("audit", "verify", tmp_path / "record.json", *models(folders), status=1)
    assert told.replace("\n", "") == printable(told).replace("\n", "")
    assert r"\x1b[2J" in told
