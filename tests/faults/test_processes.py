"""Real runs of processes, disturbed from outside: signals, killed workers, concurrent runs, other environments, full
disks, and code that changes while it is measured. Every run ends, leaves no process behind, tells the truth and can be
gone on with.
"""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from tests.faults import checkout as house
from tests.pictures import write_folder

SECONDS = 8.0
"""About what a whole run takes here; signals come anywhere within."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return house.make_checkout(tmp_path_factory.mktemp("faults") / "checkout")


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """What is done to a run, and when."""

    after_seconds: float
    signals: tuple[str, ...]
    """To gnet itself, or to one of its workers where the name begins with "worker:"; a number is a pause in seconds."""


KINDS = [
    *(("INT",), ("TERM",), ("HUP",), ("QUIT",), ("KILL",)),
    *(("INT", "0.2", "INT"), ("HUP", "TERM"), ("STOP", "0.5", "INT", "CONT"), ("STOP", "0.3", "KILL")),
    *(("worker:KILL",), ("worker:STOP", "KILL"), ("worker:KILL", "INT"), ("worker:STOP", "TERM")),
]


def disturbances(count):
    chance = random.Random(20261125)
    return [Disturbance(chance.uniform(0.5, SECONDS), KINDS[number % len(KINDS)]) for number in range(count)]


def workers_of(run):
    try:
        children = psutil.Process(run.pid).children()
        return [child for child in children if "--gnet-case" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def disturb(run, disturbance):
    """Wait for the moment, unless the run ends before it, and send the signals."""
    try:
        run.wait(disturbance.after_seconds)
    except subprocess.TimeoutExpired:
        for word in disturbance.signals:
            to_worker, _, name = word.rpartition(":")
            if name[0].isdigit():
                time.sleep(float(name))
                continue
            for number in [worker.pid for worker in workers_of(run)][:1] if to_worker else [run.pid]:
                os.kill(number, getattr(signal, f"SIG{name}"))


def ended(run, limit_seconds=100):
    """Its status and what it said. A run that hangs is ended, and fails the test."""
    try:
        out, err = run.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise
    return run.returncode, out, err


def require_true(checkout, directory, status, err, temporary):
    """What holds of every run, however it ended: no traceback, no orphan, a directory that tells the truth."""
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert not orphans(temporary)
    if not (directory / "run.json").exists():
        assert status != 0
        return
    document = house.read(directory)
    if document["complete"]:  # also where its report was cut short
        assert not house.why_not_whole(directory) or "lost" in str(document["cases"])
    reported, _, said = house.gnet(checkout, "report", str(directory))
    assert (reported in (0, 3), "Traceback" in said) == (True, False), said


def orphans(temporary, wait_seconds=5.0):
    """The processes of the run that are still there: each has its folder for temporary files in its environment."""
    end = time.monotonic() + wait_seconds
    while alive := [process for process in psutil.process_iter() if belongs(process, temporary)]:
        if time.monotonic() > end:
            return [process.cmdline() for process in alive]
        time.sleep(0.05)
    return []


def belongs(process, temporary):
    try:
        return process.environ().get("TMPDIR") == str(temporary) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def go_on(checkout, directory, temporary):
    """The same run again, to its end."""
    way = ["--resume", str(directory)] if (directory / "run.json").exists() else ["--out", str(directory)]
    words = way if way[0] == "--resume" else [*house.WORDS[1:], *way]
    status, _, err = house.gnet(checkout, "bench", *words, TMPDIR=str(temporary))
    assert status == 0, err


def test_signals_at_any_moment_lose_nothing_and_leave_nothing_behind(tmp_path, checkout, faults):
    for number, disturbance in enumerate(faults.slice_of(disturbances(130), 2)):
        directory, temporary = tmp_path / f"run {number}", tmp_path / f"temporary {number}"
        temporary.mkdir()
        try:
            run = house.start(checkout, *house.WORDS, "--out", str(directory), TMPDIR=str(temporary))
            disturb(run, disturbance)
            status, _, err = ended(run)
            require_true(checkout, directory, status, err, temporary)
            if "KILL" not in disturbance.signals:
                assert not list(temporary.iterdir())
            kept = house.finished_files(directory)
            go_on(checkout, directory, temporary)
            if "lost" in str([case["note"] for case in house.read(directory)["cases"]]):
                go_on(checkout, directory, temporary)
            assert not house.why_not_whole(directory)
            assert {name: (directory / name).read_bytes() for name in kept} == kept
            assert not list(directory.glob(".*"))
        except BaseException as error:
            error.add_note(f"{disturbance} in {directory}")
            raise
        faults.count("signals")
        shutil.rmtree(directory)


def test_of_runs_that_want_one_directory_one_gets_it(tmp_path, checkout, faults):
    pairs = ["fresh, fresh", "fresh, resume", "resume, resume", "report, resume"]
    for number, pair in enumerate(faults.slice_of(pairs * 10, 1)):
        directory = tmp_path / f"run {number}"
        first, second = pair.split(", ")
        if "resume" in (first, second):  # there has to be something to go on with
            run = house.start(checkout, *house.WORDS, "--out", str(directory))
            while not (directory / "run.json").exists() and run.poll() is None:
                time.sleep(0.02)
            if first == "fresh":
                both = [run, house.start(checkout, "bench", "--resume", str(directory))]
            else:
                run.send_signal(signal.SIGINT)
                ended(run)
                both = [start(checkout, word, directory) for word in (first, second)]
        else:
            both = [start(checkout, word, directory) for word in (first, second)]
        answers = [ended(run) for run in both]
        assert not ["Traceback" for _, _, err in answers if "Traceback" in err]
        statuses = sorted(status for status, _, _ in answers)
        refused = [err for status, _, err in answers if status == 2]
        # The second may also have come so late that nothing was left to do.
        assert statuses in ([0, 2], [0, 0], [0, 3]), answers
        assert statuses != [0, 0] or pair != "fresh, fresh"
        assert all("is writing into it" in err or "has files in it already" in err for err in refused)
        if refused and "resume" in pair:  # which may have been for the report's sake
            go_on(checkout, directory, tmp_path)
        assert not house.why_not_whole(directory)
        faults.count("concurrent runs")


def start(checkout, word, directory):
    words = {
        "fresh": [*house.WORDS, "--out", str(directory)],
        "resume": ["bench", "--resume", str(directory)],
        "report": ["report", str(directory)],
    }
    return house.start(checkout, *words[word])


VARIABLES = {
    "PYTEST_PLUGINS": ["no_such_plugin", "xdist"],
    "PYTEST_ADDOPTS": ["--no-such-option", "-x --collect-only"],
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": ["1"],
    "PYTEST_CURRENT_TEST": ["x"],
    "PYTHONWARNINGS": ["error", "nonsense"],
    "PYTHONSAFEPATH": ["1"],
    "PYTHONHASHSEED": ["0", "17"],
    "PYTHONINSPECT": ["1"],
    "PYTHONOPTIMIZE": ["1", "2"],
    "PYTHONIOENCODING": ["ascii", "cp437"],
    "PYTHONUTF8": ["0"],
    "PYTHONUNBUFFERED": ["1"],
    "LC_ALL": ["C", "nonsense", "de_DE.ISO-8859-1"],
    "GIT_DIR": ["/nowhere"],
    "GIT_INDEX_FILE": ["/nowhere/index"],
    "GIT_WORK_TREE": ["/nowhere"],
    "COVERAGE_PROCESS_START": ["/nowhere"],
    "FORCE_COLOR": ["1"],
    "PY_COLORS": ["1"],
    "NO_COLOR": ["1"],
    "COLUMNS": ["1", "nonsense"],
    "TERM": ["dumb", ""],
    "MPLBACKEND": ["nonsense", "TkAgg"],
    "MPLCONFIGDIR": ["/nowhere"],
    "HOME": ["/nowhere", ""],
    "KERAS_HOME": ["/nowhere"],
    "KERAS_BACKEND": ["jax", "nonsense"],
    "TF_XLA_FLAGS": ["--tf_xla_auto_jit=2"],
    "TF_CPP_MIN_LOG_LEVEL": ["nonsense", "0"],
    "OMP_NUM_THREADS": ["1", "nonsense"],
    "TQDM_DISABLE": ["1"],
    "TQDM_MININTERVAL": ["0", "nonsense"],
    "TQDM_ASCII": ["x"],
}


def environments(count):
    chance = random.Random(count)
    names = sorted(VARIABLES)
    alone = [{name: value} for name in names for value in VARIABLES[name]]
    mixed = [
        {name: chance.choice(VARIABLES[name]) for name in chance.sample(names, chance.randint(2, 8))}
        for _ in range(count)
    ]
    return [*alone, *mixed]


def test_variables_that_are_meant_for_others_change_nothing(tmp_path, checkout, faults):
    for number, variables in enumerate(faults.slice_of(environments(30), 1)):
        directory = tmp_path / f"run {number}"
        # With PYTHONSAFEPATH the folder that gnet is started in is no place that Python looks for code in.
        found = {**variables, "PYTHONPATH": str(checkout)}
        status, _, err = house.gnet(checkout, *house.WORDS, "--out", str(directory), **found)
        assert (status, house.why_not_whole(directory)) == (0, ""), (variables, err)
        faults.count("environments")


CHANGES = {
    "a sleep": lambda folder: slow_down(folder / "gnet_core" / "run" / "timer.py"),
    "nonsense": lambda folder: (folder / "gnet_core" / "run" / "worker.py").write_text("not Python"),
    "a benchmark gone": lambda folder: (folder / "benchmarks" / "bench_execution.py").unlink(),
    "another conftest": lambda folder: (folder / "benchmarks" / "conftest.py").write_text("raise SystemExit(7)"),
    "no pyproject": lambda folder: (folder / "pyproject.toml").unlink(),
    "a pytest.ini": lambda folder: (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n"),
    "a git checkout": lambda folder: subprocess.run(["git", "-C", folder, "rm", "-rq", "benchmarks"], check=True),
}


def slow_down(file):
    file.write_text(file.read_text() + "\ntime.sleep(5)\n")


def test_code_that_changes_while_a_run_goes_on_does_not_reach_it(tmp_path, checkout, faults):
    for number, change in enumerate(faults.slice_of(sorted(CHANGES), 1)):
        folder, directory = tmp_path / f"checkout {number}", tmp_path / f"run {number}"
        shutil.copytree(checkout, folder)
        run = started_until_a_worker_is_at_work(folder, directory)
        if number % 2 == 0:
            CHANGES[change](folder)
            status, _, err = ended(run)
            assert (status, house.why_not_whole(directory)) == (0, ""), (change, err)
        else:
            run.send_signal(signal.SIGINT)
            ended(run)
            CHANGES[change](folder)
            status, _, err = house.gnet(folder, "bench", "--resume", str(directory))
            assert status in (2, 70), (change, err)
            subprocess.run(["git", "-C", folder, "reset", "--hard", "--quiet"], check=True)
            (folder / "pytest.ini").unlink(missing_ok=True)
            status, _, err = house.gnet(folder, "bench", "--resume", str(directory))
            assert (status, house.why_not_whole(directory)) == (0, ""), (change, err)
        faults.count("changes of code")


def started_until_a_worker_is_at_work(folder, directory):
    run = house.start(folder, *house.WORDS, "--out", str(directory))
    while not list(directory.glob("raw/*.r1.log")) and run.poll() is None:
        time.sleep(0.02)
    return run


def test_a_report_is_written_by_the_code_that_the_run_began_with(tmp_path, checkout):
    folder, directory = tmp_path / "checkout", tmp_path / "run"
    shutil.copytree(checkout, folder)
    run = started_until_a_worker_is_at_work(folder, directory)
    for path in (folder / "gnet_core").rglob("*.*"):
        path.write_text("neither Python nor a template {{")
    status, _, err = ended(run)
    assert (status, house.why_not_whole(directory)) == (0, ""), err
    assert "<!DOCTYPE html>" in (directory / "report.html").read_text()


FOLDERS = [
    "a[b]::c",
    "with space",
    "ünï",
    "-dash",
    "per%cent",
    "new\nline",
    "quotes'\"",
    "x*?{1,2}",
    "#a;b&c|d$e",
    "~",
    "a=b",
]
NOT_UTF_8 = os.fsdecode(b"caf\xe9")
"""As a Latin-1 system wrote it."""


def test_folders_of_any_name_work(tmp_path, checkout, faults):
    for name in faults.slice_of(FOLDERS, 1):
        folder = tmp_path / name / "checkout"
        shutil.copytree(checkout, folder)
        temporary = tmp_path / name / "temporary"
        temporary.mkdir()
        directory = tmp_path / name / "run"
        status, _, err = house.gnet(folder, *house.WORDS, "--out", str(directory), TMPDIR=str(temporary))
        assert (status, house.why_not_whole(directory)) == (0, ""), (name, err)
        faults.count("folders")


@pytest.mark.parametrize("where", ["out", "checkout", "data"])
def test_what_a_runs_files_cannot_hold_is_refused_before_anything_is_measured(tmp_path, checkout, where):
    odd = tmp_path / NOT_UTF_8
    odd.mkdir()
    folder = odd / "checkout" if where == "checkout" else checkout
    words = [*house.WORDS]
    if where == "out":
        words += ["--out", str(odd / "run")]
    elif where == "data":
        words += ["--out", str(tmp_path / "run"), "--data", str(write_folder(odd / "pictures"))]
    else:
        shutil.copytree(checkout, folder)
    status, out, err = house.gnet(folder, *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnet: {'data' if where == 'data' else 'out'}: ")
    assert "is not UTF-8" in err
    assert err.count("\n") == 1
    assert not (odd / "run").exists()
    assert not (tmp_path / "run").exists()


def test_data_whose_name_makes_file_names_too_long_is_refused_before_anything_is_measured(tmp_path, checkout):
    pictures = write_folder(tmp_path / ("p" * 230))
    status, _, err = house.gnet(checkout, *house.WORDS, "--out", str(tmp_path / "run"), "--data", str(pictures))
    assert status == 2
    assert "shorter name" in err or "short name" in err
    assert not (tmp_path / "run").exists()


def mount(folder, kibibytes, *options):
    """A disk of that size in the folder. Skips the test where only an administrator may do that."""
    words = ["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={kibibytes}k"]), "none", str(folder)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        pytest.skip(f"no disk of a given size can be mounted here: {answer.stderr.strip()}")


def test_a_full_disk_costs_a_line_and_no_finished_work(tmp_path, checkout, faults):
    chance = random.Random(7)
    sizes = [chance.randint(4, 160) for _ in range(30)]
    for number, kibibytes in enumerate(faults.slice_of(sizes, 1)):
        disk, temporary = tmp_path / f"disk {number}", tmp_path / f"temporary {number}"
        temporary.mkdir()
        disk.mkdir()
        mount(disk, kibibytes)
        try:
            directory = disk / "run"
            status, _, err = house.gnet(checkout, *house.WORDS, "--out", str(directory), TMPDIR=str(temporary))
            assert status in (0, 2, 3), (kibibytes, err)  # the largest may have room for all
            kept = house.finished_files(directory)
            mount(disk, 10_000, "remount")
            require_true(checkout, directory, status, err, temporary)
            go_on(checkout, directory, temporary)
            if "lost" in str([case["note"] for case in house.read(directory)["cases"]]):
                go_on(checkout, directory, temporary)
            assert not house.why_not_whole(directory)
            assert {name: (directory / name).read_bytes() for name in kept} == kept
            assert not list(directory.glob("**/.partial*"))
        except BaseException as error:
            error.add_note(f"a disk of {kibibytes} KiB")
            raise
        finally:
            subprocess.run(["umount", str(disk)], check=True)
        faults.count("full disks")
