"""A history out of run directories: which figures are of one series, and what becomes of directories that lie."""

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.results import records
from gnet_core.results.history import CASES_FILE, History, load_history
from tests.conftest import RunDirectory
from tests.histories import FIRST_DAY, store_run, store_table
from tests.stored import processes

CONFIG = StepConfig(batch_size=8)
XLA = StepConfig(batch_size=8, execution="xla")
NOW = FIRST_DAY + datetime.timedelta(days=1000)


@pytest.fixture
def store(tmp_path, environment):
    """Stores a run by its name and its day, in one folder."""

    def make(name: str, day: float, seconds: dict[StepConfig, float] | None = None, **document: Any) -> RunDirectory:
        around = document.pop("environment", environment)
        return store_run(tmp_path / "runs" / name, around, day, seconds or {CONFIG: 1.0}, **document)

    return make


def into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def read(*directories: Path) -> History:
    return load_history(directories, NOW)


def speeds(history: History, config: StepConfig = CONFIG) -> list[float | None]:
    (series,) = (series for series in history.series if series.key.config == config)
    return [point.images_per_second for point in series.points]


def test_a_folder_of_runs_is_read_in_the_order_of_their_times(store, tmp_path):
    store("a", 2, {CONFIG: 2.0, XLA: 1.0})
    store("b", 0, {CONFIG: 1.0})
    store("c", 1, {CONFIG: 4.0})
    history = read(tmp_path / "runs")
    assert [run.directory.name for run in history.runs] == ["b", "c", "a"]
    assert speeds(history) == pytest.approx([8.0, 2.0, 4.0])
    assert speeds(history, XLA) == pytest.approx([8.0])
    assert (history.notes, history.unread) == ([], [])


def test_single_runs_are_read_as_well_and_each_once(store, tmp_path):
    first, second = store("a", 0).path, store("b", 1).path
    assert len(read(first, second).runs) == 2
    history = read(first, tmp_path / "runs", first)
    assert len(history.runs) == 2
    assert history.notes == []


def test_a_point_is_what_the_raw_files_say(store, tmp_path):
    directory = store("a", 0)
    (row,) = records.load_run(directory.path).rows
    ((point,),) = (series.points for series in read(tmp_path / "runs").series)
    assert (point.images_per_second, point.low, point.high, point.processes) == (
        row.images_per_second,
        row.images_per_second_ci_low,
        row.images_per_second_ci_high,
        row.replicates,
    )
    assert (point.status, point.commit) == ("ok", "0123456789abcdef")
    assert point.log_error == pytest.approx(0.005 / 3**0.5, rel=0.05)


def test_raw_files_are_not_needed_where_there_is_the_table_of_cases(store, tmp_path):
    shutil.rmtree(store("a", 0).path / "raw")
    history = read(tmp_path / "runs")
    assert speeds(history) == pytest.approx([8.0])
    assert history.unread == []


LIES: dict[str, Callable[[str], bytes]] = {
    "of another run": lambda text: text.replace("run of a", "run of b").encode(),
    "without a case": lambda text: text.partition("\n")[0].encode(),
    "a case twice": lambda text: (text + text.partition("\n")[2]).encode(),
    "another case": lambda text: text.replace("graph-float32-b8", "graph-float32-b9").encode(),
    "another status": lambda text: text.replace(",ok,", ",failed,").encode(),
    "fewer processes": lambda text: text.replace(",ok,3,", ",ok,2,").encode(),
    "no number": lambda text: text.replace(",ok,3,", ",ok,many,").encode(),
    "no columns": lambda _text: b"case\nx\n",
    "a longer line": lambda text: (text.rstrip("\n") + ",1,2,3\n").encode(),
    "a shorter line": lambda text: text.rpartition(",ok,")[0].encode(),
    "nothing": lambda _text: b"",
    "not UTF-8": lambda text: text.encode() + b"\xff",
    "quotes that do not end": lambda text: text.replace("gnet bench", '"gnet bench').encode(),
    "endless": lambda text: text.encode() + b"x" * 2**23,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_table_that_is_not_that_of_the_run_is_passed_over_for_the_raw_files(store, tmp_path, lie):
    path = store("a", 0).path / CASES_FILE
    text = path.read_text()
    lying = LIES[lie](text)
    assert lying != text.encode()
    path.write_bytes(lying)
    history = read(tmp_path / "runs")
    assert speeds(history) == pytest.approx([8.0])
    assert history.unread == []


@pytest.mark.parametrize("figure", ["nan", "inf", "-1", "0", "1e300", ""])
def test_a_figure_that_cannot_be_is_looked_up_in_the_raw_files(store, tmp_path, figure):
    path = store("a", 0).path / CASES_FILE
    headings, row = path.read_text().splitlines()
    cells = row.split(",")
    cells[headings.split(",").index("images_per_second")] = figure
    path.write_text(f"{headings}\n{','.join(cells)}\n")
    assert speeds(read(tmp_path / "runs")) == pytest.approx([8.0])


@pytest.mark.parametrize("spoil", [Path.unlink, into_a_folder])
def test_without_a_table_the_raw_files_are_read(store, tmp_path, spoil):
    spoil(store("a", 0).path / CASES_FILE)
    assert speeds(read(tmp_path / "runs")) == pytest.approx([8.0])


def test_figures_that_are_nowhere_are_a_gap_and_said(store, tmp_path):
    store("a", 0)
    spoilt = store("b", 1).path
    shutil.rmtree(spoilt / "raw")
    (spoilt / CASES_FILE).unlink()
    history = read(tmp_path / "runs")
    assert speeds(history) == [pytest.approx(8.0), None]
    assert [point.status for point in history.series[0].points] == ["ok", "failed"]
    (line,) = history.unread
    assert str(spoilt) in line


def test_rows_without_a_figure_of_the_work_asked_for_are_gaps_with_their_reason(store, tmp_path):
    store("a", 0)
    extras: dict[str, dict[str, Any]] = {
        "failed": {"status": "failed", "note": "it crashed"},
        "not finite": {"loss_last": None},
        "other work": {"losses_without_dropout": [[0, 9.0], [1, 3.0]]},
    }
    for day, (name, extra) in enumerate(extras.items(), start=1):
        directory = store(name, day, {StepConfig(batch_size=8, execution="eager"): 1.0})
        made = [] if "status" in extra else processes(1.0)
        directory.add(CONFIG, *made, run=directory.document["run"], **extra)
        store_table(directory)
    (series,) = (series for series in read(tmp_path / "runs").series if series.key.config == CONFIG)
    assert [point.status for point in series.points] == ["ok", "failed", "not finite", "ok"]
    assert [point.status for point in series.measured] == ["ok", "ok"]
    eager = next(series for series in read(tmp_path / "runs").series if series.key.config.execution == "eager")
    assert [point.status for point in eager.points][-1] == "other work"


def changed(environment: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    """The environment with another value in a field."""
    other: dict[str, Any] = json.loads(json.dumps(environment))
    inner: Any = other
    for field in path[:-1]:
        inner = inner[field]
    inner[path[-1]] = to
    return other


GPU = {"name": "GPU", "memory_bytes": 2**34, "driver": "580.1"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("machine", "processor"), "Another Processor"),
        (("machine", "usable_threads"), 4),
        (("machine", "memory_bytes"), 32 * 2**30),
        (("machine", "gpus"), [GPU]),
        (("machine", "environment_variables"), {"OMP_NUM_THREADS": "1"}),
        (("tensorflow", "version"), "2.20.0"),
    ],
)
def test_what_decides_a_speed_parts_series(store, tmp_path, environment, field, value):
    store("a", 0)
    store("b", 1, environment=changed(environment, *field, to=value))
    store("c", 2)
    history = read(tmp_path / "runs")
    assert [len(series.points) for series in history.series] == [2, 1]
    assert history.series[0].key != history.series[1].key
    assert len(history.runs) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("machine", "commit"), "another"),
        (("machine", "memory_bytes"), 16 * 2**30 - 4096),
        (("machine", "available_memory_bytes"), 2**30),
        (("machine", "load_1_minute"), 9.0),
        (("machine", "environment_variables"), {"LD_LIBRARY_PATH": "/elsewhere"}),
    ],
)
def test_what_does_not_decide_it_parts_none(store, tmp_path, environment, field, value):
    store("a", 0)
    store("b", 1, environment=changed(environment, *field, to=value))
    (series,) = read(tmp_path / "runs").series
    assert len(series.points) == 2


def test_a_driver_parts_series(store, tmp_path, environment):
    for day, driver in enumerate(("580.1", "580.1", "590.2")):
        store(f"run {day}", day, environment=changed(environment, "machine", "gpus", to=[GPU | {"driver": driver}]))
    history = read(tmp_path / "runs")
    assert [(series.key.setup.driver, len(series.points)) for series in history.series] == [("580.1", 2), ("590.2", 1)]


def test_the_seed_parts_no_series_and_every_other_field_does(store, tmp_path):
    store("a", 0, {StepConfig(batch_size=8, seed=1): 1.0})
    store("b", 1, {StepConfig(batch_size=8, seed=2): 1.0})
    store("c", 2, {StepConfig(batch_size=8, aux_weight=0.0): 1.0})
    assert [len(series.points) for series in read(tmp_path / "runs").series] == [2, 1]


def test_sources_are_series_of_their_own_with_the_environment_of_each(store, tmp_path, environment):
    older = changed(environment, "tensorflow", "version", to="2.19.0")
    directory = store("a", 0, environments={"old": older, "new": environment})
    for source in ("old", "new"):
        directory.add(CONFIG, *processes(1.0), source=source, run=directory.document["run"])
    store_table(directory)
    frameworks = {series.key.source: series.key.setup.framework for series in read(tmp_path / "runs").series}
    assert frameworks == {"": "TensorFlow 2.21.0", "old": "TensorFlow 2.19.0", "new": "TensorFlow 2.21.0"}


def test_copies_of_a_run_count_once_and_are_said(store, tmp_path):
    original = store("a", 0).path
    shutil.copytree(original, original.with_name("copy"))
    history = read(tmp_path / "runs")
    assert len(history.runs) == 1
    (note,) = history.notes
    assert note == f"Copies of one run count once: {original.with_name('copy')} of {original}."


def test_runs_from_the_future_are_left_out_and_said(store, tmp_path):
    store("a", 0)
    late = store("b", 1000.5).path
    history = read(tmp_path / "runs")
    assert [run.directory.name for run in history.runs] == ["a"]
    (note,) = history.notes
    assert str(late) in note
    assert "from the future" in note


def test_a_run_that_began_this_minute_is_none_of_the_future(store, tmp_path):
    store("a", 1000 + 30 / 86_400)
    assert len(read(tmp_path / "runs").runs) == 1


def test_a_clock_that_went_back_is_said_and_times_stand_as_they_were_recorded(store, tmp_path):
    store("a", 0.02, time_spent={"timing": 3600.0})
    store("b", 0.01, time_spent={"timing": 3600.0})
    store("c", 1)
    history = read(tmp_path / "runs")
    assert [run.directory.name for run in history.runs] == ["b", "a", "c"]
    (note,) = history.notes
    assert "machine 1 overlap in time" in note
    assert f"{tmp_path / 'runs' / 'b'} and {tmp_path / 'runs' / 'a'}" in note


def test_runs_of_two_machines_may_overlap(store, tmp_path, environment):
    store("a", 0.01, time_spent={"timing": 3600.0})
    other = changed(environment, "machine", "processor", to="Another")
    store("b", 0.02, time_spent={"timing": 3600.0}, environment=other)
    assert read(tmp_path / "runs").notes == []


def test_a_time_without_a_zone_is_taken_as_utc_and_one_that_is_none_leaves_the_run_out(store, tmp_path):
    store("a", 0)
    store("b", 0, created="2026-01-03T00:00:00")
    store("c", 0, created="yesterday")
    history = read(tmp_path / "runs")
    assert [run.directory.name for run in history.runs] == ["a", "b"]
    assert history.runs[1].created == datetime.datetime(2026, 1, 3, tzinfo=datetime.UTC)
    without_zone, no_time = history.notes
    assert "has no zone" in without_zone
    assert "'yesterday'" in no_time


def into_a_link_that_leads_out(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda path: path.write_text("{"),
    "another format": lambda path: path.write_text('{"format_version": 99}'),
    "no run": lambda path: path.write_text('{"format_version": 4}'),
    "a folder": into_a_folder,
    "a link that leads out": into_a_link_that_leads_out,
}


@pytest.mark.parametrize("spoil", UNREADABLE)
def test_a_directory_that_cannot_be_read_is_one_line_and_costs_itself_alone(store, tmp_path, spoil):
    store("a", 0)
    spoilt = store("b", 1).path / "run.json"
    UNREADABLE[spoil](spoilt)
    history = read(tmp_path / "runs")
    assert speeds(history) == pytest.approx([8.0])
    (line,) = history.unread
    assert str(spoilt) in line
    assert "\n" not in line


def test_a_configuration_that_cannot_be_read_costs_its_run(store, tmp_path):
    store("a", 0)
    directory = store("b", 1)
    directory.document["cases"][0]["config"]["execution"] = "turbo"
    directory.write()
    history = read(tmp_path / "runs")
    assert [run.directory.name for run in history.runs] == ["a"]
    (line,) = history.unread
    assert "cases[0].config" in line


def test_what_is_no_run_and_no_folder_of_runs_is_said(store, tmp_path):
    run = store("a", 0).path
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (run.parent / "0-history").mkdir()
    history = read(tmp_path / "nowhere", tmp_path / "empty", tmp_path / "file", run.parent)
    assert len(history.runs) == 1
    nowhere, empty, file = history.unread
    assert nowhere.startswith(f"{tmp_path / 'nowhere'}: it cannot be read")
    assert empty == f"{tmp_path / 'empty'}: it is neither a run directory of gnet bench nor a folder of them"
    assert file.startswith(f"{tmp_path / 'file'}: it cannot be read")
    assert history.notes == [f"Folders without a run in them are passed over: {run.parent / '0-history'}."]


def test_a_profile_is_passed_over_with_a_note(store, tmp_path):
    store("a", 0)
    profile = tmp_path / "runs" / "profile"
    profile.mkdir()
    (profile / "run.json").write_text(json.dumps({"format_version": 4, "kind": "profile"}))
    history = read(tmp_path / "runs")
    assert history.notes == [f"{profile}: it holds a profile and no run, so it is passed over."]
    assert history.unread == []


def test_a_run_of_the_format_before_is_read_with_those_of_today(store, tmp_path):
    store("a", 200)
    shutil.copytree(Path(__file__).parents[2] / "reports" / "example", tmp_path / "runs" / "example")
    history = read(tmp_path / "runs")
    assert {run.directory.name for run in history.runs} == {"a", "example"}
    assert history.unread == []


def test_images_that_changed_begin_a_series(store, tmp_path):
    images, config = "/images", StepConfig(batch_size=8, data="/images")
    store("a", 0, {config: 1.0, CONFIG: 1.0}, data_fingerprint="one")
    store("b", 1, {config: 1.0, CONFIG: 1.0}, data_fingerprint="one")
    store("c", 2, {config: 1.0, CONFIG: 1.0}, data_fingerprint="two")
    parted = {
        (series.key.config.data, series.key.data_fingerprint): len(series.points)
        for series in read(tmp_path / "runs").series
    }
    assert parted == {(images, "one"): 2, (images, "two"): 1, ("synthetic", ""): 3}


def test_a_gpu_is_named_though_a_build_for_cpus_ran_first(store, tmp_path, environment):
    machine = changed(environment, "machine", "gpus", to=[GPU])
    sees = changed(machine, "tensorflow", "gpus", to=[{"device": "gpu:0", "name": "A Fast GPU"}])
    on_gpu = StepConfig(batch_size=8, device="gpu:0")
    blind = store("a", 0, {CONFIG: 1.0}, environment=machine)
    blind.add(on_gpu, status="failed", note="it sees no GPU")
    store("b", 1, {CONFIG: 1.0, on_gpu: 0.1}, environment=sees)
    history = read(tmp_path / "runs")
    assert [len(series.points) for series in history.series] == [2, 2]
    labels = {series.key.config.device: series.key.setup.label for series in history.series}
    assert labels["gpu:0"].startswith("A Fast GPU in ")
    assert labels["cpu"].startswith("Test Processor")


def test_two_machines_may_begin_a_run_in_one_second(store, tmp_path, environment):
    """In format version 3 that second is the identity of a run."""
    other = changed(environment, "machine", "processor", to="Another")
    store("a", 0, run=FIRST_DAY.isoformat())
    store("b", 0, run=FIRST_DAY.isoformat(), environment=other)
    history = read(tmp_path / "runs")
    assert (len(history.runs), history.notes) == (2, [])


@pytest.mark.parametrize("first", ["a", "c"])
def test_of_copies_the_complete_one_counts(store, tmp_path, first):
    whole = store("b", 0, {CONFIG: 1.0, XLA: 1.0}).path
    partial = whole.with_name(first)
    shutil.copytree(whole, partial)
    document = json.loads((partial / "run.json").read_text())
    document |= {"complete": False, "cases": document["cases"][:1]}
    (partial / "run.json").write_text(json.dumps(document))
    history = read(tmp_path / "runs")
    assert [run.directory for run in history.runs] == [whole]
    assert len(history.series) == 2
    assert history.notes == [f"Copies of one run count once: {partial} of {whole}."]


def test_runs_without_a_place_in_time_are_listed(store, tmp_path):
    store("a", 0)
    ahead = store("b", 1000.5).path
    never = store("c", 0, created="yesterday").path
    assert set(read(tmp_path / "runs").without_time) == {ahead, never}


def test_an_odd_cell_that_a_history_does_not_use_rejects_no_table(store, tmp_path):
    directory = store("a", 0).path
    headings, row = (directory / CASES_FILE).read_text().splitlines()
    cells = row.split(",")
    cells[headings.split(",").index("image_size")] = "224.0"
    (directory / CASES_FILE).write_text(f"{headings}\n{','.join(cells)}\n")
    shutil.rmtree(directory / "raw")
    history = read(tmp_path / "runs")
    assert speeds(history) == pytest.approx([8.0])
    assert history.unread == []


def test_runs_are_of_one_kind_by_options_and_sources_and_by_frameworks_and_variables(store, tmp_path, environment):
    options: dict[str, Any] = {"suites": ["throughput"], "replicates": 5, "seed": 1}
    store("a", 0)
    store("b", 1, options=options)
    store("c", 2, options=options | {"replicates": 8, "seed": 2})
    store("d", 3, environment=changed(environment, "tensorflow", "version", to="2.20.0"))
    store("e", 4, environment=changed(environment, "machine", "environment_variables", to={"OMP_NUM_THREADS": "1"}))
    a, b, c, d, e = read(tmp_path / "runs").runs
    assert a.request != b.request == c.request
    assert a.request == d.request == e.request
    assert a.software == b.software
    assert len({a.software, d.software, e.software}) == 3


def test_each_source_is_part_of_what_was_asked_for_also_one_that_could_not_be_measured(store, tmp_path):
    store("a", 0, sources=[{"name": "old"}, {"name": "new"}])
    store("b", 1, sources=[{"name": "old"}, {"name": "new", "missing": "it cannot be imported"}])
    store("c", 2, sources=[{"name": "old"}])
    a, b, c = read(tmp_path / "runs").runs
    assert a.request == b.request != c.request
