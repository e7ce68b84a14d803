"""What holds of any bytes, text and values that come from outside: an answer or one clear refusal, and nothing else."""

import io
import json
import shutil
import threading

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.image_headers import HeaderError, picture_header
from gnet_core.files import csv_text
from gnet_core.plan.request import BenchRequest
from gnet_core.report import run as report
from gnet_core.report.summary import Summary
from gnet_core.results import records
from gnet_core.run import resuming
from gnet_core.run.endings import reason
from gnet_core.run.protocol import Channel, ChannelClosed
from gnet_core.system import cgroups, git
from gnet_core.system import settings as case_settings
from tests.conftest import RunDirectory
from tests.stored import markdown

TEXT = some.text(max_size=200)
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | TEXT,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def many(request):
    """Hypothesis' settings: few examples, the same each time, or many in the whole campaign."""
    whole = request.config.option.faults == "all"
    return settings(
        max_examples=1000 if whole else 20,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def spoiled(content: bytes) -> some.SearchStrategy[bytes]:
    """The content with bytes changed, put in, taken out, or its end cut off."""
    places = some.integers(0, len(content) - 1)

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        changed = content
        for place, count, new in edits:
            changed = changed[:place] + new + changed[place + count :]
        return changed

    edits = some.lists(some.tuples(places, some.integers(0, 40), some.binary(max_size=6)), min_size=1, max_size=4)
    numbers = some.lists(
        some.tuples(places, some.just(1), some.sampled_from([b"9", b"-", b"e", b".", b"1e308", b"null", b"[", b"{}"])),
        min_size=1,
        max_size=6,
    )
    return some.one_of(edits.map(change), numbers.map(change), places.map(lambda place: content[:place]))


@pytest.fixture
def whole_run(tmp_path, environment):
    directory = RunDirectory(tmp_path / "whole", environment)
    for execution in ("graph", "xla"):
        config = StepConfig(execution=execution)
        directory.add(config, [1.0, 1.1, 1.2], [1.0, 1.05, 1.1], suites=("execution",))
    return directory


@pytest.mark.parametrize("kind", ["run.json", "raw", "turns.csv"])
def test_a_run_with_any_spoiled_file_is_told_or_refused(tmp_path, whole_run, many, faults, kind):
    name = whole_run.document["cases"][0]["raw"][0] if kind == "raw" else kind
    spoiled_run = tmp_path / "spoiled"
    shutil.copytree(whole_run.path, spoiled_run)

    @many
    @given(spoiled((whole_run.path / name).read_bytes()))
    def check(content):
        (spoiled_run / name).write_bytes(content)
        faults.count("mutated files")
        try:
            run = records.load_run(spoiled_run)
            markdown(run)
            json.dumps(report.to_json(Summary(run)), allow_nan=False)
        except GnetError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most examples raise nothing

    check()


def test_options_of_a_run_may_be_anything(tmp_path, many, faults):
    recorded = BenchRequest().to_dict()
    names = some.sampled_from(sorted(recorded))

    @many
    @given(some.dictionaries(names, JSON), JSON)
    def check(changes, memory):
        options = recorded | changes
        faults.count("mutated files")
        try:
            resuming.require_options(tmp_path / "run.json", options, memory)
        except GnetError as error:
            assert str(error).startswith(str(tmp_path))  # noqa: PT017 - it need not raise

    check()


def test_a_worker_may_say_anything(many, faults):
    @many
    @given(some.binary(max_size=300))
    def check(said):
        ours, theirs = Channel.pair()
        faults.count("messages")
        with ours, theirs:
            theirs._socket.sendall(said)
            theirs.close()
            try:
                while True:
                    assert isinstance(ours.receive(1), dict)
            except ChannelClosed:
                pass

    check()
    assert threading.active_count() >= 1


def test_a_log_may_hold_anything(many):
    @many
    @given(some.text(max_size=2000))
    def check(log):
        told = reason(log)
        assert told
        assert "\n" not in told
        assert len(told) <= 300

    check()


def test_a_cell_may_hold_anything(many):
    @many
    @given(TEXT | some.from_regex(r"[=+\-@;' ]{0,3}[0-9a-z=@'\"]{0,6}", fullmatch=True))
    def check(cell):
        printable = "".join(each if each.isprintable() else " " for each in cell)
        text = csv_text.to_csv(pd.DataFrame({"a": [cell], "b": ["x"]}))
        read = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)["a"][0]
        assert csv_text.restored(read) == printable
        assert not read.lstrip().startswith(("=", "@"))

    check()


def test_an_environment_may_hold_anything(many, faults):
    names = some.sampled_from(
        ["KERAS_BACKEND", "KERAS_HOME", "TF_XLA_FLAGS", "XLA_FLAGS", "GNET_LEFT_OUT", "JAX_ENABLE_X64"]
    )
    values = TEXT.filter(lambda text: "\0" not in text) | some.just("--tf_xla_auto_jit=2 --xla_gpu_autotune_level=0")

    @many
    @given(some.dictionaries(names, values))
    def check(environ):
        faults.count("environments")
        case_settings.hold(environ)
        assert environ["KERAS_BACKEND"] == "tensorflow"
        assert not [name for name in environ if case_settings.defined_by_case(name) and name not in case_settings.SET]
        held = dict(environ)
        case_settings.hold(environ)
        assert environ == held

    check()


def test_an_image_may_begin_with_anything(many, faults):
    starts = some.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b""])

    @many
    @given(starts, some.binary(max_size=200))
    def check(start, rest):
        faults.count("mutated files")
        try:
            header = picture_header(io.BytesIO(start + rest))
        except HeaderError:
            return
        assert min(header[1:4]) >= 0
        assert 1 <= header.orientation <= 8

    check()


def test_control_groups_may_say_anything(tmp_path, many, faults):
    for folder in ("proc/self", "sys/fs/cgroup/a"):
        (tmp_path / folder).mkdir(parents=True)
    lines = some.lists(
        some.sampled_from(["0::/a", "4:memory,cpu:/a", "1 2 0:3 / /sys/fs/cgroup rw - cgroup2 c rw"]) | TEXT
    )
    numbers = some.sampled_from(["max", "max 100000", "50000 100000", "-1", "0", "1", "9" * 30, "nonsense", ""])

    @many
    @given(lines, lines, numbers, numbers)
    def check(groups, mounts, memory, cpu):
        faults.count("control groups")
        (tmp_path / "proc/self/cgroup").write_text("\n".join(groups), errors="replace")
        (tmp_path / "proc/self/mountinfo").write_text("\n".join(mounts), errors="replace")
        (tmp_path / "sys/fs/cgroup/a/memory.max").write_text(memory)
        (tmp_path / "sys/fs/cgroup/a/memory.current").write_text(memory)
        (tmp_path / "sys/fs/cgroup/a/cpu.max").write_text(cpu)
        found = cgroups.ControlGroups(tmp_path)
        limit, left, quota = found.memory_limit_bytes(), found.memory_left_bytes(), found.cpu_quota_cores()
        assert limit is None or limit >= 0
        assert left is None or left >= 0
        assert quota is None or quota > 0

    check()


def test_a_copys_commit_is_what_its_file_says(tmp_path, many):
    @many
    @given(some.from_regex(r"[0-9a-f]{40}(\+changes)?", fullmatch=True))
    def check(commit):
        (tmp_path / git.COMMIT_FILE).write_text(commit)
        assert git.commit(tmp_path) == commit

    check()
