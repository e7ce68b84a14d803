"""What is written and printed fits the JSON Schemas that `gnet schema` prints."""

import copy
import json
import shutil
from pathlib import Path

import jsonschema
import msgspec
import pytest

from gnet_core.files import migrations
from gnet_core.results import records
from tests.conftest import raw_document
from tests.results.test_records import CONFIG

EXAMPLE = Path(__file__).parents[2] / "reports" / "example"
SESSIONS = EXAMPLE.parent / "h100-time-to-accuracy"
DOCUMENTS = ("run", "raw", "profile", "info", "cases", "fleet", "training", "time-to-accuracy")


@pytest.fixture
def validator(gnet):
    """Makes a validator of a document's schema, as the command prints it."""

    def make(document):
        status, printed, err = gnet("schema", document)
        assert (status, err) == (0, "")
        schema = json.loads(printed)
        jsonschema.Draft202012Validator.check_schema(schema)
        return jsonschema.Draft202012Validator(schema)

    return make


def test_the_example_s_run_json_fits_as_this_version_would_have_written_it(validator):
    plain = migrations.current_run(json.loads((EXAMPLE / "run.json").read_text()))
    validator("run").validate(plain)
    validator("run").validate(json.loads(json.dumps(msgspec.to_builtins(records.read_run_document(EXAMPLE)))))


def test_the_examples_raw_files_and_its_profile_fit(validator):
    for kind, pattern in (("raw", "raw/*.json"), ("profile", "traces/*/profile.json")):
        fits = validator(kind)
        paths = list(EXAMPLE.glob(pattern))
        assert paths
        for path in paths:
            fits.validate(json.loads(path.read_text()))


def test_sessions_in_turns_fit_as_they_were_written(validator):
    document = json.loads((SESSIONS / "time_to_accuracy.json").read_text())
    validator("time-to-accuracy").validate(document)
    document["sessions"][0]["seed"] = -1
    with pytest.raises(jsonschema.ValidationError):
        validator("time-to-accuracy").validate(document)


def test_what_the_report_prints_fits(validator, gnet, tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "run")
    status, printed, _ = gnet("report", tmp_path / "run", "--json")
    assert status == 0
    validator("cases").validate(json.loads(printed))


def test_what_info_prints_fits(validator, gnet):
    status, printed, _ = gnet("info", "--json")
    assert status == 0
    validator("info").validate(json.loads(printed))


def test_what_a_type_refuses_its_schema_refuses(validator):
    whole = json.loads(json.dumps(raw_document(CONFIG, [1.0])))
    fits = validator("raw")
    fits.validate(whole)
    for field, value in (
        ("block_steps", 0),
        ("single_step_seconds", [-1.0]),
        ("low_precision_share", 2),
        ("run", None),
    ):
        spoiled = copy.deepcopy(whole)
        spoiled["benchmarks"][0]["extra_info"][field] = value
        assert not fits.is_valid(spoiled), field


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_schema_says_which_dialect_it_is_of(validator, document):
    assert validator(document).schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_another_document_is_refused_by_name(gnet):
    status, printed, err = gnet("schema", "turns")
    assert (status, printed) == (2, "")
    assert err == (
        "gnet: document: 'turns' is unknown; "
        "use one of run, raw, profile, info, cases, fleet, training, time-to-accuracy\n"
    )
