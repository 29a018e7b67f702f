"""What is stated about a decision: read strictly, sealed with the record, shown on its page; and records in a chain."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from expnet.audit import (
    AuditRecord,
    DecisionContext,
    Signature,
    check_chain,
    hash_of,
    read_context,
    record_decision,
    verify,
)
from expnet.audit.pages import decision_page
from expnet.errors import InputError
from tests.audit.test_audit import TEXT, models, resealed, run
from tests.audits import STATEMENTS
from tests.classifiers import tiny_classifier, tiny_explainer
from tests.models import build, save

SCHEMA = json.loads(files("expnet.audit").joinpath("decision.schema.json").read_text(encoding="utf-8"))
BEFORE = Path(__file__).parents[1] / "before" / "decision-1.json"
EVERYTHING = DecisionContext(
    previous="0" * 64,
    automation="advisory",
    threshold=0.8,
    model_card_sha256="1" * 64,
    language="pt-BR",
    **{name: f"the {name} & <b>" for name in STATEMENTS},
)


@pytest.fixture(scope="module")
def explainer():
    return tiny_explainer(tiny_classifier())


@pytest.fixture(scope="module")
def record(explainer):
    return record_decision(explainer, TEXT, context=EVERYTHING)


def valid(data):
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    return validator.is_valid(data)


def test_what_is_stated_comes_back_equal_by_the_schema_which_names_the_same_keys(record):
    data = json.loads(record.to_json())
    assert valid(data)
    assert AuditRecord.from_json(record.to_json()) == record
    assert data["context"].keys() == SCHEMA["properties"]["context"]["properties"].keys()
    assert {field: getattr(EVERYTHING, field) for field in DecisionContext.__slots__} == data["context"]


def test_a_record_in_which_nothing_is_stated_holds_no_context(explainer):
    data = record_decision(explainer, TEXT).to_dict()
    assert not {"context", "signature"} & data.keys()
    assert valid(json.loads(json.dumps(data)))


def test_a_record_from_before_loads_verifies_and_keeps_its_hash(explainer):
    content = BEFORE.read_text(encoding="utf-8")
    old = AuditRecord.from_json(content)
    assert (json.loads(content)["schema"], old.changed, old.context) == (1, False, DecisionContext())
    assert valid(json.loads(content))
    assert {difference.what for difference in verify(old, explainer) if difference.matters} == set()
    assert hash_of(content) == json.loads(content)["sha256"]


@pytest.mark.parametrize(
    "added", [{"context": {"id": "7"}}, {"signature": dict.fromkeys(("algorithm", "key", "value"), "x")}]
)
def test_the_schema_from_before_holds_neither_context_nor_signature(added):
    data = json.loads(BEFORE.read_text(encoding="utf-8")) | added
    assert not valid(data)
    with pytest.raises(InputError, match=rf"damaged.*unknown fields \['{next(iter(added))}'\]"):
        AuditRecord.from_json(resealed(data))


def test_nothing_stated_is_computed_again_but_an_edit_breaks_the_seal(record, explainer):
    data = record.to_dict()
    assert verify(AuditRecord.from_json(json.dumps(data)), explainer) == []
    data["context"] = data["context"] | {"action": "nothing"}
    (difference,) = verify(AuditRecord.from_json(json.dumps(data)), explainer)
    assert (difference.what, difference.now) == ("the file", "edited since")


def test_a_signature_is_added_to_a_written_record_without_changing_its_hash(record, explainer):
    data = record.to_dict()
    signed = replace(record, signature=Signature(algorithm="ed25519", key="office", value="c2lnbmVk"))
    assert signed.to_dict()["sha256"] == data["sha256"]
    by_hand = AuditRecord.from_json(
        json.dumps(data | {"signature": {"algorithm": "ed25519", "key": "office", "value": "c2lnbmVk"}})
    )
    assert (by_hand, by_hand.changed) == (signed, False)
    assert valid(json.loads(signed.to_json()))
    assert verify(by_hand, explainer) == []
    page = decision_page(signed)
    assert "ed25519, key office" in page
    assert "expnet did not check it." in page
    assert "No signature." not in page
    assert "No signature." in decision_page(record)


@pytest.mark.parametrize(
    "signature",
    [{"algorithm": "x"}, {"algorithm": "x", "key": "y", "value": ""}, {"algorithm": "x", "key": "y", "value": 1}],
)
def test_what_is_no_signature_is_refused(record, signature):
    data = record.to_dict() | {"signature": signature}
    assert not valid(json.loads(json.dumps(data)))
    with pytest.raises(InputError, match="The record is damaged"):
        AuditRecord.from_json(json.dumps(data))


def test_the_page_shows_every_statement_escaped_and_says_that_nothing_of_it_was_checked(record, explainer):
    page = decision_page(record)
    for name in STATEMENTS:
        assert f"the {name} &amp; &lt;b&gt;" in page
    for told in ("from 0.8 on", "output was one input", "pt-BR", "0" * 64, "1" * 64, "expnet did not check it"):
        assert told in page
    assert "What is stated about it" not in decision_page(record_decision(explainer, TEXT))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"revewer": "me"}, r"there is no key 'revewer'\. Did you mean 'reviewer'\? Keys: id, external_id, previous"),
        ({"x": 1}, r"there is no key 'x'\. Keys: "),
        ({"automation": "full"}, "automation='full', expected null or one of 'automatic', 'confirmed', 'advisory'"),
        ({"threshold": True}, "threshold=True, expected null or a finite number"),
        ({"threshold": float("inf")}, "threshold=inf"),
        ({"previous": "ABC"}, "previous='ABC', expected null or a SHA-256"),
        ({"model_card_sha256": "0" * 63}, "model_card_sha256="),
        ({"language": "english please"}, "language='english please', expected null or a language tag"),
        ({"id": 41}, "id=41, expected null or a string"),
        ({"action": ""}, "action='', expected null or a string of 1 to 10,000 characters"),
        ({"recourse": "x" * 10_001}, "recourse="),
    ],
)
def test_a_context_that_is_not_valid_is_refused_with_what_was_expected(given, message):
    with pytest.raises(InputError, match=message):
        DecisionContext.from_dict(given)
    assert not jsonschema.Draft202012Validator(SCHEMA["properties"]["context"]).is_valid(given) or "inf" in message


TOML = 'id = "7"\nthreshold = 0.8\naction = "removed"\n'


def test_a_context_is_read_from_toml_and_from_json(tmp_path):
    expected = DecisionContext(id="7", threshold=0.8, action="removed")
    (tmp_path / "a.toml").write_text(TOML)
    (tmp_path / "a.json").write_text(json.dumps({"id": "7", "threshold": 0.8, "action": "removed"}))
    assert read_context(tmp_path / "a.toml") == read_context(tmp_path / "a.json") == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", b"", r"ends in \.toml or \.json, got .*a\.yaml"),
        ("a.toml", b"id = ", "a.toml is not valid TOML"),
        ("a.json", b"[]", "a.json is not a context: expected an object, got a list"),
        (
            "a.toml",
            b"retention = 2031-01-01",
            r"a\.toml: .*retention=datetime\.date\(2031, 1, 1\), expected .*a string",
        ),
        ("a.toml", b"purpos = 'x'", r"a\.toml: .*Did you mean 'purpose'"),
        ("a.toml", b"# " + b"x" * 1_000_000, "more than 1,000,000 bytes"),
        ("a.toml", b"\xff", "not UTF-8: byte 0"),
    ],
)
def test_a_file_that_is_no_context_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_context(tmp_path / name)
    with pytest.raises(InputError, match=r"nowhere\.toml cannot be read"):
        read_context(tmp_path / "nowhere.toml")


def chain_of(explainer, *texts):
    """Return the JSON of records, each with the hash of the one before."""
    contents = [BEFORE.read_text(encoding="utf-8")]  # a chain may begin with a record from before there were any
    for text in texts:
        context = DecisionContext(previous=hash_of(contents[-1]))
        contents.append(record_decision(explainer, text, context=context).to_json())
    return contents


def test_a_chain_holds_and_whatever_is_left_out_put_in_or_moved_breaks_it(explainer):
    contents = chain_of(explainer, "good", "bad", "film")
    first, second, third, last = contents
    assert check_chain(contents) == []
    assert check_chain(contents[1:]) == []  # the first may continue a chain that is not given

    def broken(*given):
        return {difference.what for difference in check_chain(given)}

    assert broken(first, third, last) == {"previous of record 2"}
    assert broken(first, second, second, third, last) == {"previous of record 3"}
    assert broken(second, first) == {"previous of record 2"}
    other = record_decision(explainer, "other").to_json()
    (difference,) = check_chain([first, second, other])
    assert (difference.was, difference.now, difference.matters) == ("nothing", hash_of(second), True)


def test_an_edit_breaks_a_chain_with_a_new_hash_and_with_the_old_one(explainer):
    first, second, third = chain_of(explainer, "good", "bad")
    data = json.loads(second)
    data["context"]["action"] = "something else"
    forgot = check_chain([first, json.dumps(data), third])
    assert [difference.what for difference in forgot] == ["record 2", "previous of record 3"]
    assert [difference.what for difference in check_chain([first, resealed(data), third])] == ["previous of record 3"]
    with pytest.raises(InputError, match="was edited after it was written"):
        hash_of(json.dumps(data))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    save(root / "classifier", build("bert"), typed=True)
    tiny_explainer(tiny_classifier()).network.save_pretrained(root / "explainer")
    return root


def test_the_command_takes_a_context_makes_a_chain_and_verifies_it(folders, tmp_path):
    (tmp_path / "stated.toml").write_text(TOML)
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    for number, path in enumerate(paths):
        before = ["--previous", paths[number - 1]] if number else []
        run("audit", TEXT, *models(folders), "--context", tmp_path / "stated.toml", *before, "--output", path)
    assert [json.loads(path.read_text())["context"]["action"] for path in paths] == ["removed"] * 3
    told = run("audit", "verify", *paths, *models(folders))
    assert told.count("The record holds") == 3
    assert "The chain holds: 3 records, each with the hash of the one before; the first names none before it." in told
    told = run("audit", "verify", *paths[1:], "--hashes-only", "--model", "nowhere")
    assert f"the first continues {json.loads(paths[0].read_text())['sha256']}" in told
    told = run("audit", "verify", paths[0], paths[2], "--hashes-only", status=1)
    assert "DIFFERS  previous of record 2" in told
    assert "holds" not in told
    paths[1].write_text(paths[1].read_text().replace("removed", "allowed"))
    assert "DIFFERS  record 1" in run("audit", "verify", paths[1], "--hashes-only", status=1)
    assert "The hash holds" in run("audit", "verify", paths[0], "--hashes-only")
    (tmp_path / "stated.toml").write_text(TOML + f'previous = "{"0" * 64}"\n')
    with pytest.raises(InputError, match="leave one of them out"):
        run("audit", TEXT, "--model", "nowhere", "--context", tmp_path / "stated.toml", "--previous", paths[0])
    with pytest.raises(InputError, match=r"1\.json: The record was edited"):
        run("audit", TEXT, "--model", "nowhere", "--previous", paths[1])
    with pytest.raises(InputError, match="--text is the text of one record, and 2 are given"):
        run("audit", "verify", paths[0], paths[2], "--text", "x")
    (tmp_path / "not.json").write_text("{}")
    with pytest.raises(InputError, match=r"not\.json: Expected a record"):
        run("audit", "verify", paths[0], tmp_path / "not.json")


def test_the_context_in_the_docs_is_valid_and_shows_every_key(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "audit.md").read_text(encoding="utf-8")
    (tmp_path / "statements.toml").write_text(page.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    shown = read_context(tmp_path / "statements.toml").to_dict()
    assert shown.keys() == set(DecisionContext.__slots__) - {"previous"}
