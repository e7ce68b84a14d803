"""Files from before a field of StepConfig was there: each means what was measured then, and reads so everywhere."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import migrations
from gnet_core.files.whole import READABLE_FORMAT_VERSIONS, RUN_FORMAT_VERSION
from gnet_core.profile import comparison
from gnet_core.profile import document as profile_document
from gnet_core.results import comparisons, records
from gnet_core.run import resuming
from gnet_core.training.session import Session, State, load_state, recorded_session, save_state
from tests.run.test_resuming import OPTIONS, states_of
from tests.traces import document as profile_of
from tests.training.test_session import RECORDS, SESSION, VALUES, Variable

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "reports" / "example"

FIELDS = [field.name for field in dataclasses.fields(StepConfig)]

BEFORE = migrations.read_config({})
"""The configuration that was measured when no field was there yet."""

OTHER: dict[str, Any] = {
    "execution": "eager",
    "precision": "mixed_bfloat16",
    "part": "forward",
    "layers": "fused",
    "framework": "torch",
    "batch_size": 8,
    "image_size": 96,
    "classes": 10,
    "widths": "paper",
    "aux_weight": 0.0,
    "dropout": False,
    "bn_momentum": 0.99,
    "learning_rate": 0.01,
    "as_published": True,
    "data": "digits",
    "feed": "jpeg",
    "device": "gpu:0",
    "replicas": 2,
    "workers": 2,
    "batch_norm": "synchronised",
    "all_reduce": False,
    "seed": 7,
}
"""A value of each field that its absence does not mean."""


def without(values: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in fields}


def configurations_in(node: Any) -> Iterator[dict[str, Any]]:
    """Every recorded configuration in a JSON document."""
    if isinstance(node, dict):
        if isinstance(node.get("config"), dict):
            yield node["config"]
        for value in node.values():
            yield from configurations_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from configurations_in(value)


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def leave_out(directory: Path, field: str) -> None:
    """Write the files of a directory as a version would have that did not know the field."""
    meaning = getattr(BEFORE, field)

    def change(document: Any) -> None:
        for values in configurations_in(document):
            if values[field] == meaning:
                del values[field]

    for path in (directory / "run.json", *directory.glob("raw/*.json"), *directory.glob("traces/*/*.json")):
        rewritten(path, change)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The example, and what a version from before there was a choice of frameworks would have written in its place."""
    whole, older = (tmp_path_factory.mktemp(name) / "example" for name in ("whole", "older"))
    for folder in (whole, older):
        shutil.copytree(EXAMPLE, folder)
    leave_out(older, "framework")
    return whole, older


def test_every_field_has_another_value_here():
    assert list(OTHER) == FIELDS
    assert not [field for field, value in OTHER.items() if getattr(BEFORE, field) == value]


def test_the_example_without_a_field_gives_the_same_rows_and_verdicts(examples):
    assert '"framework": "tensorflow"' not in (examples[1] / "run.json").read_text()
    whole, older = map(records.load_run, examples)
    assert older.unread == []
    assert older.rows == whole.rows
    assert older.configs == whole.configs
    assert [each.to_dict() for each in comparisons.within(older)] == [
        each.to_dict() for each in comparisons.within(whole)
    ]
    assert [profile_document.read(each) for each in older.profiles] == [
        profile_document.read(each) for each in whole.profiles
    ]


def test_the_example_without_a_field_is_reported_and_compared_as_with_it(examples, gnet, tmp_path):
    documents = []
    for directory in examples:
        status, out, err = gnet("report", directory, "--json")
        assert (status, err) == (0, "")
        documents.append(json.loads(out) | {"directory": ""})
    assert documents[0] == documents[1]
    whole, older = examples
    again = shutil.copytree(whole, tmp_path / "again")
    pairs = []
    for sides in ((whole, again), (whole, older), (older, again)):
        _status, out, _err = gnet("compare", *sides, "--json")
        pairs.append(json.loads(out) | {"base": "", "new": ""})
    assert pairs == [pairs[0]] * 3


@pytest.mark.parametrize("version", READABLE_FORMAT_VERSIONS)
@pytest.mark.parametrize("field", FIELDS)
def test_a_run_reads_the_same_without_a_field(run_directory, field, version):
    for execution in ("graph", "eager"):
        values = dataclasses.replace(BEFORE, execution=execution)
        run_directory.add(values, [1.0] * 3, [1.1] * 3, format_version=version)
    run_directory.document["format_version"] = version
    run_directory.write()
    whole = records.load_run(run_directory.path)
    leave_out(run_directory.path, field)
    older = records.load_run(run_directory.path)
    assert older.rows == whole.rows
    assert older.configs == whole.configs
    assert [row.status for row in older.rows] == ["ok", "ok"]
    assert comparisons.between(whole, older).only_base == []
    if version == RUN_FORMAT_VERSION:
        previous = records.read_run_document(run_directory.path)
        standing = resuming.standing_of(run_directory.path, previous, states_of(*whole.configs.values()), 2)
        assert standing.lost == ()
        assert [len(state.raw) for state in standing.states.values()] == [2, 2]


@pytest.mark.parametrize("field", FIELDS)
def test_a_raw_file_without_a_field_is_not_that_of_a_case_with_another_value(run_directory, field):
    config = dataclasses.replace(BEFORE, **{field: OTHER[field]})
    run_directory.add(config, [1.0] * 3)
    raw = run_directory.document["cases"][0]["raw"][0]
    run_directory.spoil(raw, lambda benchmark: benchmark["extra_info"]["config"].pop(field))
    (row,) = records.load_run(run_directory.path).rows
    assert row.status == "failed"
    assert f"config is not that of {config.name}, which has {field} {OTHER[field]!r} and not " in row.note
    assert repr(getattr(BEFORE, field)) in row.note


@pytest.mark.parametrize("field", FIELDS)
def test_a_run_without_a_field_is_not_gone_on_with_under_another_value(run_directory, field):
    config = dataclasses.replace(BEFORE, **{field: OTHER[field]})
    run_directory.add(config, [1.0] * 3)
    del run_directory.document["cases"][0]["config"][field]
    run_directory.write()
    previous = records.read_run_document(run_directory.path)
    # Where the default is another value than was measured, the case has another name too.
    renamed = field in migrations.BEFORE
    why = "has other cases" if renamed else rf"another configuration \({field} .* not {OTHER[field]!r}\)"
    with pytest.raises(GnetError, match=rf"^resume: .* {why}"):
        resuming.standing_of(run_directory.path, previous, states_of(config), 1)


@pytest.mark.parametrize("field", FIELDS)
def test_a_profile_reads_and_compares_the_same_without_a_field(tmp_path, environment, field):
    sides = []
    for name, values in (("whole", BEFORE.to_dict()), ("older", without(BEFORE.to_dict(), field))):
        profile = profile_of(environment, config=values)
        (tmp_path / name).mkdir()
        run = {"format_version": RUN_FORMAT_VERSION, "kind": "profile"} | profile
        (tmp_path / name / "run.json").write_text(json.dumps(run))
        (tmp_path / name / "profile.json").write_text(json.dumps(profile))
        assert profile_document.read(profile).config == BEFORE
        sides.append(comparison.load(tmp_path / name))
    assert comparison.compare(*sides).other_configs == []


@pytest.mark.parametrize("fields", [(), *((field,) for field in FIELDS), tuple(FIELDS)], ids=str)
def test_a_training_session_goes_on_from_files_without_a_field(tmp_path, fields):
    session = dataclasses.replace(SESSION, config=BEFORE)
    session.write(tmp_path, {"version": "2.21"})
    rewritten(tmp_path / "train.json", lambda document: [document["config"].pop(field) for field in fields])
    older = Session.read(tmp_path)  # a state is signed with what train.json says, which an older version wrote itself
    save_state(tmp_path / "state.npz", older, [Variable(value) for value in VALUES], State(records=RECORDS))
    assert recorded_session(tmp_path).config == BEFORE
    session.require_same(Session.read(tmp_path), tmp_path)
    state = load_state(tmp_path / "state.npz", Session.read(tmp_path), [Variable(value) for value in VALUES])
    assert state.records == RECORDS
    digests = {each.digest(VALUES, "") for each in (session, older)}
    assert len(digests) == (2 if fields else 1)


@pytest.mark.parametrize("field", FIELDS)
def test_a_training_session_does_not_go_on_under_another_value(tmp_path, field):
    session = dataclasses.replace(SESSION, config=dataclasses.replace(BEFORE, **{field: OTHER[field]}))
    before = dataclasses.replace(SESSION, config=BEFORE)
    before.write(tmp_path, {})
    rewritten(tmp_path / "train.json", lambda document: document["config"].pop(field))
    with pytest.raises(GnetError, match=rf"^{field}: {OTHER[field]!r} differs from the session in "):
        session.require_same(Session.read(tmp_path), tmp_path)


@given(st.sets(st.sampled_from(FIELDS)), st.sets(st.sampled_from(FIELDS)))
def test_what_is_left_out_means_what_was_measured_before(changed, left_out):
    values = dataclasses.replace(BEFORE, **{field: OTHER[field] for field in changed})
    read = migrations.read_config(without(values.to_dict(), *left_out))
    assert read.differences(values).keys() == changed & left_out
    assert StepConfig.from_dict(values.overrides()) == values


def test_what_a_worker_is_told_is_what_is_not_the_default():
    assert StepConfig().overrides() == {}
    assert dataclasses.replace(BEFORE, seed=3).overrides() == {"layers": "keras", "seed": 3}


def test_a_fresh_field_orphans_nothing(monkeypatch):
    fields = [("optimizer", str, "adam")]
    newer = dataclasses.make_dataclass("StepConfig", fields, bases=(StepConfig,), frozen=True, kw_only=True)
    monkeypatch.setattr(migrations, "StepConfig", newer)
    run = records.load_run(EXAMPLE)
    assert {row.status for row in run.rows} == {"ok", "unsupported"}
    assert {values.to_dict()["optimizer"] for values in run.configs.values()} == {"adam"}


def test_a_case_is_renamed_where_the_default_is_another_than_what_was_measured(run_directory):
    run_directory.add(BEFORE, [1.0] * 3, source="old")
    named = run_directory.document["cases"][0]["case"]
    leave_out(run_directory.path, "layers")
    called = f"{StepConfig().name}@old"
    rewritten(run_directory.path / "run.json", lambda document: document["cases"][0].update(case=called))
    run = records.load_run(run_directory.path)
    assert [row.case for row in run.rows] == [named]
    assert run.rows[0].status == "ok"
    assert list(run.configs) == list(run.processes) == [named]


@pytest.mark.parametrize("odd", [{"turbo": 1}, {"batch_size": -1}])
def test_a_case_that_was_not_measured_and_cannot_be_read_is_left_alone(run_directory, odd):
    run_directory.add(StepConfig(), status=None, note="interrupted")
    run_directory.document["cases"][0]["config"] = odd
    run_directory.write()
    assert records.load_run(run_directory.path).unmeasured == [(StepConfig().name, "interrupted")]


@pytest.mark.parametrize(
    ("suite", "means"),
    [
        (("throughput", None, None), {"view": "speed"}),
        (("execution", "execution", "graph"), {"view": "comparison"}),
        (("batch-size", "batch_size", None), {"view": "scaling"}),
        (("batches", "batch_size", 8), {"view": "comparison"}),
        (("parts", "part", "train"), {"view": "parts"}),
        (("auxiliary", "aux_weight", 0.3), {"view": "comparison", "costs": "the auxiliary losses"}),
        (("frameworks", "framework", "tensorflow"), {"view": "comparison", "base_fields": {"execution": "graph"}}),
        (("sources", "source", "old"), {"view": "comparison"}),
        (("aa", "source", ""), {"view": "comparison", "varies": None}),
        (("odd", None, 3), {"view": "speed", "base": None}),
    ],
)
def test_a_suite_from_before_there_were_views_has_the_one_that_its_report_had(run_directory, suite, means):
    older = dict(zip(("name", "varies", "base"), suite, strict=True)) | {"question": "?"}
    run_directory.document["suites"] = [older]
    run_directory.add(StepConfig(), [1.0])
    (suite,) = records.read_run_document(run_directory.path).suites
    assert msgspec.to_builtins(suite) == {"base_fields": {}, "costs": "", "scaling": None, **older, **means}


def test_a_run_of_format_version_3_is_known_by_the_time_of_its_start(run_directory):
    run_directory.add(StepConfig(), [1.0], format_version=3)
    run_directory.document["format_version"] = 3
    run_directory.write()
    run = records.load_run(run_directory.path)
    assert run.document.run == run_directory.document["created"]
    assert [row.status for row in run.rows] == ["ok"]


MEANINGS: dict[str, Any] = {
    "suites": [],
    "layers": "keras",
    "widths": "published",
    "replicates": None,
    "image_size": None,
    "data": "synthetic",
    "seed": 0,
    "profile": False,
    "aa": False,
    "python": [],
    "against": None,
    "execution": None,
    "precision": None,
    "batch_size": None,
    "worker_memory": None,
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_that_a_run_was_not_asked_for_has_the_value_that_means_so(tmp_path, name):
    beside = {"preset": "full", "device": "gpu:0"}  # these stand beside the options as well
    options = {option: value for option, value in OPTIONS.items() if option != name}
    current = migrations.current_run({"options": options, **beside})["options"]
    request = resuming.require_options(tmp_path / "run.json", current, 2**30)
    assert request.to_dict() == OPTIONS | {
        "memory": None,
        "until": "fixed" if name == "replicates" else None,
        "budget": None,
        "case": [],
        "settings": [],
        "sources": None,
        "base": None,
        "replicas": None,
        "workers": None,
        name: (MEANINGS | beside)[name],
    }


@pytest.mark.parametrize("data", ["synthetic", "digits"])
def test_a_run_from_before_data_had_a_fingerprint_has_none(run_directory, data):
    run_directory.add(StepConfig(data=data), [1.0])
    assert records.read_run_document(run_directory.path).data_fingerprint == ""
