"""A contrast in the record of a decision: by its schema, on its page, and as records were before."""

import json
from importlib.resources import files

import jsonschema

from expnet.audit import Asked, AuditRecord, record_decision
from expnet.audit.pages import decision_page
from tests.classifiers import tiny_classifier, tiny_explainer

SCHEMA = json.loads(files("expnet.audit").joinpath("decision.schema.json").read_text(encoding="utf-8"))


def test_the_record_of_a_contrast_follows_the_schema_and_comes_back_equal():
    explainer = tiny_explainer(tiny_classifier())
    asked = Asked(method="saliency", target=1, against=0)
    record = record_decision(explainer, "the good film", asked=asked)
    jsonschema.validate(json.loads(record.to_json()), SCHEMA)
    again = AuditRecord.from_json(record.to_json())
    assert (again, again.asked.against, again.changed) == (record, 0, False)
    assert "why that class rather than “<bdi>LABEL_0</bdi>”" in decision_page(record)
    assert "1, rather than LABEL_0" in decision_page(record)


def test_a_record_without_a_contrast_is_written_as_before_there_were_any():
    record = record_decision(tiny_explainer(tiny_classifier()), "the good film", asked=Asked(target=1))
    told = record.to_dict()
    assert "against" not in told["asked"]
    assert "against" not in told["explanation"]
    assert AuditRecord.from_json(record.to_json()) == record
    assert "rather than" not in decision_page(record)
