"""Run directories whose fields are of every wrong kind: a report of them or one clear line, and never a traceback."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.plan.suites import PlannedCase
from gnet_core.profile import comparison as profile_comparison
from gnet_core.report import comparison
from gnet_core.report import profile_comparison as profile_comparison_report
from gnet_core.report import run as report
from gnet_core.report.markdown import to_markdown
from gnet_core.report.summary import Summary
from gnet_core.results import gates, records, run_document
from gnet_core.run import resuming
from gnet_core.run.standing import CaseState
from tests.conftest import Faults, environment_of
from tests.stored import TRACED, markdown, processes, store_profile, terminal

SLICE, WHOLE = 25, 2000
"""Spoilings of each walk that are tried: among the tests, and in the whole campaign."""

WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 2**70, -(2**63), 0.0, -0.5, 1e308, -1e308, 5e-324, float("nan"), float("inf")),
    *("", "x", "0", "=1+1", "\x00", "\ud800", "é" * 300, "../../x", "gpu:7", "2026-01-01", "9" * 5000),
    *([], [None], [[]], [1], ["x"], [{}], {}, {"x": None}, {"": {}}, {"x": {"x": [1e308]}}),
)


def paths(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of a JSON document, however deep; of a list its first items stand for the others."""
    yield at
    items: Any = ()
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document[:2])
    for key, value in items:
        yield from paths(value, (*at, key))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """The document with another value there, or with the field left out where it is Ellipsis."""
    if not at:
        return value
    other = copy.copy(document)
    if len(at) == 1 and value is ...:
        del other[at[0]]
    else:
        other[at[0]] = changed(document[at[0]], at[1:], value)
    return other


def spoilings(document: Any, faults: Faults) -> list[tuple[tuple[Any, ...], Any]]:
    """A field and what takes its place, the same each time."""
    every = [(at, value) for at in paths(document) for value in (*WRONG, ...) if at or value is not ...]
    return faults.sample(every, SLICE, WHOLE)


def tell(directory: Path, other: records.Run | None = None) -> None:
    """Say all that gnet says of a run. Raises GnetError where that cannot be done."""
    run = records.load_run(directory)
    json.dumps(report.to_json(Summary(run)), allow_nan=False)
    markdown(run).encode()
    terminal(run).encode()
    report.to_csv(run).encode()
    gates.check_run(run, ("missing", "failed", "not-finite", "other-work"))
    if other is not None:
        for base, new in ((run, other), (other, run)):
            compared = comparison.compare(base, new, 0.02, across_machines=True, require_common=False)
            json.dumps(comparison.to_json(compared, gates.GateResult()), allow_nan=False)
            to_markdown(comparison.document(compared, gates.GateResult())).encode()


@pytest.fixture
def stored(run_directory):
    """A run with every kind of field: two sources and one again, a profile, peaks, a case that failed."""
    document = run_directory.document
    document["environments"] = {"old": document["environment"], "new": copy.deepcopy(document["environment"])}
    document["suites"] = document["suites"][:3] + [
        {"name": name, "question": "?", "varies": "source", "base": "old"} for name in ("sources", "aa")
    ]
    document["options"] |= {"profile": True, "preset": "quick", "device": "auto", "batch_size": [8], "seed": 0}
    document["options"] |= {"python": ["old=a", "new=b"], "layers": "fused", "data": "synthetic", "replicates": None}
    document["options"] |= dict.fromkeys(("execution", "precision", "image_size"))
    document["peaks"] = [{"float32": {"flop_per_second": 2e11, "operation": "conv 3×3"}}]
    for source, seconds in (("old", 1.0), ("new", 1.1)):
        run_directory.add(StepConfig(batch_size=8), *processes(seconds), source=source, suites=("execution",))
    run_directory.add(StepConfig(batch_size=8), *processes(1.02), source="again", suites=("aa",))
    run_directory.add(StepConfig(batch_size=16), source="old", status="failed", note="crashed")
    run_directory.add(StepConfig(batch_size=32), source="old", status=None)
    store_profile(run_directory, TRACED)
    tell(run_directory.path, records.load_run(run_directory.path))
    return run_directory


def escapes(document: Any, path: Path, faults: Faults, tell: Callable[[], Any]) -> list[str]:
    """What escapes from `tell` that is no GnetError, for each spoiling of the document in the file."""
    found = []
    for at, value in spoilings(document, faults):
        faults.count("mutated files")
        path.write_text(json.dumps(changed(document, at, value)), encoding="utf-8")
        try:
            tell()
        except GnetError:
            pass
        except Exception as error:
            found.append(f"{at}: {value!r:.60}: {type(error).__name__}: {error}")
    return found


def test_every_field_of_run_json_may_be_anything(stored, faults):
    whole = records.load_run(stored.path)
    assert not escapes(stored.document, stored.path / "run.json", faults, lambda: tell(stored.path, whole))


def test_every_field_of_run_json_may_be_anything_for_a_run_that_goes_on(stored, faults):
    stored.document |= {"run": stored.document["created"], "code": {"old": {}, "new": {}}, "data_fingerprint": ""}
    stored.document["options"] |= {"suites": ["execution"], "against": None, "aa": True}
    stored.write()
    run = stored.path / "run.json"
    states = [
        CaseState(
            case=PlannedCase(
                config=StepConfig.from_dict(case["config"]), suites=tuple(case["suites"]), source=case["source"]
            )
        )
        for case in stored.document["cases"]
    ]

    now = dict.fromkeys(("old", "new"), environment_of(stored.document["environment"]))

    def read() -> None:
        document = records.read_run_document(stored.path)
        resuming.require_options(run, document.options, document.memory_bytes)
        resuming.require_same_code(stored.path, document.code, {"old": {}, "new": {}})
        resuming.require_same_environments(stored.path, document.environments, now)
        resuming.standing_of(stored.path, document, states, 3)

    read()
    assert not escapes(stored.document, run, faults, read)


@pytest.mark.parametrize(
    ("option", "value"),
    [("suites", [1]), ("python", [None]), ("execution", [["graph"]]), ("precision", [{}]), ("batch_size", ["8"])],
)
def test_an_option_whose_items_are_of_another_kind_is_refused_by_its_name(stored, option, value):
    stored.document["options"][option] = value
    stored.write()
    with pytest.raises(GnetError, match=rf"run\.json: options: field '{option}\[0\]' is"):
        records.read_run_document(stored.path)


def test_a_run_that_names_raw_files_without_end_is_refused(stored):
    stored.document["cases"][0]["raw"] = [f"raw/{number}.json" for number in range(run_document.MAX_RAW_FILES + 1)]
    stored.write()
    with pytest.raises(GnetError, match="more than 10000 raw files"):
        records.load_run(stored.path)


def test_every_field_of_a_raw_file_may_be_anything_and_costs_no_other_row(stored, faults):
    path = stored.path / stored.document["cases"][0]["raw"][0]

    def look() -> None:
        try:
            tell(stored.path)
        except GnetError as error:
            raise AssertionError("the whole run is refused") from error

    assert not escapes(json.loads(path.read_text()), path, faults, look)


def test_every_field_of_a_profile_may_be_anything(stored, faults):
    path = stored.path / "traces" / TRACED.name / PROFILE_FILE
    whole = profile_comparison.load(stored.path)

    def look() -> None:
        tell(stored.path)
        compared = profile_comparison.compare(whole, profile_comparison.load(stored.path))
        json.dumps(profile_comparison_report.to_json(compared), allow_nan=False)
        to_markdown(profile_comparison_report.document(compared)).encode()

    assert not escapes(json.loads(path.read_text()), path, faults, look)
