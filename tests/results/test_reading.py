"""Run directories from strangers: what is read of them, and documents that nothing worse replaces."""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.files import bounded, whole
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.profile import comparison, xprof
from gnet_core.report import documents
from gnet_core.report import run as report
from gnet_core.results import looks, records
from gnet_core.results.turns import TURNS_FILE
from gnet_core.stats.verdicts import MIN_PROCESSES
from gnet_core.system import claims
from tests.conftest import CREATED
from tests.stored import TRACED, processes, store_profile

ROOT = Path(__file__).parents[2]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def run(run_directory):
    run_directory.add(StepConfig(batch_size=8), *processes(1.0))
    run_directory.add(StepConfig(batch_size=16), *processes(2.0))
    store_profile(run_directory, TRACED)
    return run_directory.path


@pytest.fixture
def reported(run, gnet):
    """That run, with its documents."""
    assert gnet("report", run)[0] == 0
    return run


def contents(directory: Path) -> dict[str, bytes]:
    """Every document of a report, by name."""
    names = (*report.DOCUMENTS, *(f"plots/{path.name}" for path in (directory / "plots").iterdir()))
    return {name: (directory / name).read_bytes() for name in names}


def pipe(path: Path, _elsewhere: Path) -> None:
    os.mkfifo(path)


def device(path: Path, _elsewhere: Path) -> None:
    path.symlink_to("/dev/zero")


def endless(path: Path, _elsewhere: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


def folder(path: Path, _elsewhere: Path) -> None:
    path.mkdir()


def loop(path: Path, _elsewhere: Path) -> None:
    path.symlink_to(path.name)


def link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


KINDS = [pipe, device, endless, folder, loop, link]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def replaced(request, tmp_path):
    """Puts something that is no regular file of the directory in the place of a file."""

    def replace(path: Path) -> None:
        kept = tmp_path / "elsewhere"
        shutil.copy(path, kept)
        path.unlink()
        request.param(path, kept)

    return replace


def test_a_run_json_that_is_no_file_of_the_directory_is_refused(run, gnet, replaced):
    replaced(run / "run.json")
    for words in (["report", run], ["compare", run, run], ["compare", run, run, "--profiles"]):
        status, out, err = gnet(*words)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "run.json: it " in err


def test_a_raw_file_that_is_none_costs_its_row_the_figures_and_no_document(reported, gnet, replaced):
    before = contents(reported)
    name = f"raw/{StepConfig(batch_size=8).name}.r1.json"
    replaced(reported / name)
    status, out, err = gnet("report", reported)
    assert status == 3
    assert "8.0 images/s" not in out.partition("throughput")[0]
    assert "batch 16" in out
    assert "its documents were not written" in err
    assert name in err
    assert contents(reported) == before


def test_a_table_of_turns_that_is_no_file_is_refused(reported, gnet, replaced):
    before = contents(reported)
    replaced(reported / TURNS_FILE)
    assert gnet("report", reported)[0] == 2
    assert contents(reported) == before


def test_a_profile_that_is_no_file_costs_the_run_no_document(reported, gnet, replaced):
    before = contents(reported)
    replaced(reported / "traces" / TRACED.name / PROFILE_FILE)
    status, out, err = gnet("report", reported)
    assert status == 3
    assert "8.0 images/s" in out
    assert PROFILE_FILE in err
    assert contents(reported) == before
    with pytest.raises(GnetError):
        comparison.load(reported)


def test_a_document_is_written_in_place_of_whatever_lies_there_but_a_folder(run, gnet, replaced):
    assert gnet("report", run)[0] == 0
    replaced(run / "report.html")
    status, _, err = gnet("report", run)
    if (run / "report.html").is_dir():
        assert (status, "a folder where a document belongs" in err) == (2, True)
    else:
        assert status == 0
        assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")
        assert not (run / "report.html").is_symlink()


@pytest.mark.parametrize("name", ["raw", "traces"])
def test_a_folder_that_is_a_link_out_of_the_run_is_not_read(run, gnet, tmp_path, name):
    (run / name).rename(tmp_path / "moved")
    (run / name).symlink_to(tmp_path / "moved")
    status, out, _ = gnet("report", run, "--json")
    assert status == 3
    document = json.loads(out)
    assert all("leads out of" in sentence for sentence in document["unread"])
    assert [row["status"] for row in document["rows"]] == (["ok"] * 2 if name == "traces" else ["failed"] * 2)
    assert document["profiles"] == [] or name == "raw"


def test_documents_that_tell_of_a_trace_stay_where_it_is_missing(run_directory, run, gnet):
    run_directory.document["options"]["profile"] = True
    run_directory.document["profile_note"] = ""  # as a run leaves it whose trace was taken
    run_directory.write()
    assert gnet("report", run)[0] == 0
    before = contents(run)
    shutil.rmtree(run / "traces")
    status, out, err = gnet("report", run)
    assert status == 3
    assert "a trace: it is not there any more" in out
    assert "its documents were not written" in err
    assert contents(run) == before


def test_plots_that_are_a_link_are_not_written_through(reported, gnet, tmp_path):
    shutil.rmtree(reported / "plots")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "own.svg").write_text("mine")
    (reported / "plots").symlink_to(tmp_path / "target")
    status, out, err = gnet("report", reported)
    assert status == 2
    assert "8.0 images/s" in out
    assert "plots: it is a link" in err
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["own.svg"]


def test_of_a_hundred_thousand_traces_none_is_read(run, gnet):
    for number in range(bounded.MAX_FOLDERS + 1):
        (run / "traces" / str(number)).mkdir()
    status, out, _ = gnet("report", run)
    assert status == 3
    assert f"more than {bounded.MAX_FOLDERS} traces" in out


def test_a_trace_that_is_no_regular_file_or_endless_is_refused(tmp_path):
    path = tmp_path / "host.xplane.pb"
    for make in KINDS[:-1]:
        make(path, tmp_path)
        with pytest.raises(GnetError, match=r"^xplane: "), xprof.open_trace(path):
            pass
        path.rmdir() if path.is_dir() else path.unlink()
    path.write_text(POINTER)
    with pytest.raises(GnetError, match="git lfs pull"), xprof.open_trace(path):
        pass


def missing(run: Path) -> None:
    shutil.rmtree(run / "raw")


def pointers(run: Path) -> None:
    for path in (run / "raw").iterdir():
        path.write_text(POINTER)


def annexed(run: Path) -> None:
    for path in (run / "raw").iterdir():
        path.write_text("/annex/objects/SHA256E-s1--aa.json\n")


def empty(run: Path) -> None:
    for path in (run / "raw").iterdir():
        path.write_bytes(b"")


def cut(run: Path) -> None:
    path = next(iter(sorted((run / "raw").iterdir())))
    path.write_bytes(path.read_bytes()[:100])


def turns_gone(run: Path) -> None:
    (run / TURNS_FILE).unlink()


def turns_of_another_run(run: Path) -> None:
    table = pd.read_csv(run / TURNS_FILE)
    table.assign(run="another").to_csv(run / TURNS_FILE, index=False)


def older_turns(run: Path) -> None:
    lines = (run / TURNS_FILE).read_text().splitlines(keepends=True)
    (run / TURNS_FILE).write_text("".join(lines[:2]))


def another_run(run: Path) -> None:
    document = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(document | {"created": "2027-01-01T00:00:00+00:00"}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (missing, "there is no such file"),
        (pointers, "`git lfs pull`"),
        (annexed, "`git annex get`"),
        (empty, "cannot be read as JSON"),
        (cut, "cannot be read as JSON"),
        (turns_gone, "turns.csv: there is no such file"),
        (turns_of_another_run, "turns.csv: it has no turns of "),
        (older_turns, "turns.csv: it has no turns of "),
        (another_run, "the file is another's"),
    ],
)
def test_good_documents_are_not_replaced_by_worse_ones(reported, gnet, spoil, message):
    before = contents(reported)
    spoil(reported)
    for words in ([], ["--json"]):
        status, out, err = gnet("report", reported, *words)
        assert status == 3
        assert out
        assert err.count("\n") == 1
        assert message in err
        assert contents(reported) == before


def test_without_earlier_documents_what_can_be_read_is_written_and_the_status_is_3(run, gnet):
    cut(run)
    status, out, err = gnet("report", run)
    assert (status, err) == (3, "")
    assert "8.0 images/s" in out
    assert (run / "report.html").is_file()


def test_samples_that_are_void_are_a_finding_and_reported_again(run_directory, gnet):
    run_directory.add(StepConfig(batch_size=8), [1.0, 1.0], voided_blocks=[0, 1])
    for _ in range(2):
        status, out, err = gnet("report", run_directory.path)
        assert (status, err) == (3, "")
        assert "void" in out


def test_run_json_as_a_pointer_is_named(run, gnet):
    (run / "run.json").write_text(POINTER)
    status, _, err = gnet("report", run)
    assert (status, "git lfs pull" in err) == (2, True)


def test_a_comparison_names_the_pointers_that_leave_nothing_to_compare(run, gnet, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    pointers(tmp_path / "other")
    status, _, err = gnet("compare", run, tmp_path / "other")
    assert (status, "git lfs pull" in err) == (2, True)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_directory_that_may_only_be_read_is_read_out(run, gnet, monkeypatch, number):
    opening = os.open

    def only_reading(path, flags, *rest, **named):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(run)):
            raise OSError(number, os.strerror(number), str(path))
        return opening(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", only_reading)
    status, out, err = gnet("report", run)
    assert status == 0
    assert "8.0 images/s" in out
    assert err.count("\n") == 1
    assert f"its documents were not written: {run}" in err
    assert os.strerror(number) in err
    status, out, _ = gnet("report", run, "--json")
    assert (status, len(json.loads(out)["rows"])) == (0, 2)


def test_a_directory_that_another_process_writes_into_is_read_out(reported, gnet):
    before = contents(reported)
    with claims.claimed(reported):
        status, out, err = gnet("report", reported)
    assert status == 0
    assert "8.0 images/s" in out
    assert "is writing into it" in err
    assert contents(reported) == before


def test_a_disk_that_fills_up_leaves_the_earlier_documents(reported, gnet, monkeypatch):
    before, written = contents(reported), []

    @contextlib.contextmanager
    def written_whole(path):
        with whole.written_whole(path) as temporary:
            written.append(path)
            if len(written) == 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield temporary

    run = json.loads((reported / "run.json").read_text())
    (reported / "run.json").write_text(json.dumps(run | {"preset": "full"}))  # so that a new report would be another
    monkeypatch.setattr(documents, "written_whole", written_whole)
    status, out, err = gnet("report", reported)
    assert status == 2
    assert "8.0 images/s" in out
    assert err == f"gnet: {reported}: its documents were not written: No space left on device\n"
    assert len(written) == 4
    assert contents(reported) == before
    assert not list(reported.rglob(".*"))


def test_nothing_is_left_beside_the_documents(reported):
    assert not list(reported.rglob(".*"))


def test_a_run_of_format_version_4_is_known_by_its_identity(run_directory):
    run_directory.document |= {"format_version": 4, "run": "6f2c1d"}
    run_directory.add(StepConfig(batch_size=8), *processes(1.0), run="6f2c1d", format_version=4)
    run_directory.add(StepConfig(batch_size=16), *processes(1.0), run=CREATED, format_version=4)
    run = records.load_run(run_directory.path)
    assert run.document.run == "6f2c1d"
    assert [row.status for row in run.rows] == ["ok", "failed"]
    assert "run is '2026-01-02T03:04:05+00:00', but this one is 6f2c1d" in run.rows[1].note


def test_the_example_in_the_checkout_is_read_whole():
    run = records.load_run(ROOT / "reports" / "example")
    assert run.unread == []
    assert {row.status for row in run.rows} == {"ok", "unsupported"}
    assert {row.replicates >= MIN_PROCESSES for row in run.rows if row.status == "ok"} == {True}
    looks.require_consistent(run)
