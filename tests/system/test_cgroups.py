"""The limits of control groups, in file systems that are made up as the kernel and containers lay them out."""

import os
from pathlib import Path

import pytest

from gnet_core.system.cgroups import ControlGroups, Throttling

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1_MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:15 - cgroup cgroup rw,memory"
V1_CPU = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"


class FileSystem:
    """A root with /proc/self and groups in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)

    def proc(self, cgroup: str, *mounts: str) -> None:
        (self.root / "proc/self/cgroup").write_text(cgroup)
        (self.root / "proc/self/mountinfo").write_text("\n".join(mounts) + "\n")

    def group(self, place: str, **files: str) -> None:
        """A group's folder; a file's dots are written as two underscores."""
        folder = self.root / place.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)

    @property
    def groups(self) -> ControlGroups:
        return ControlGroups(self.root)


@pytest.fixture
def files(tmp_path):
    return FileSystem(tmp_path)


def test_version_2_has_all_limits_in_one_tree_and_the_smallest_around_a_process_counts(files):
    files.proc("0::/kube/pod/container\n", V2_MOUNT)
    files.group("/sys/fs/cgroup")  # the root has no such files
    files.group("/sys/fs/cgroup/kube", memory__max="9000\n", memory__current="8000\n", cpu__max="400000 100000\n")
    files.group("/sys/fs/cgroup/kube/pod", memory__max="4000\n", memory__current="1000\n", cpu__max="50000 100000\n")
    files.group("/sys/fs/cgroup/kube/pod/container", memory__max="max\n", cpu__max="max 100000\n")
    assert files.groups.memory_limit_bytes() == 4000
    assert files.groups.memory_left_bytes() == 1000  # of the outermost, whose other children hold the rest
    assert files.groups.cpu_quota_cores() == 0.5


def test_version_1_has_a_tree_for_each_controller(files):
    files.proc("5:cpuacct,cpu:/docker/abc\n4:memory:/user/service\n1:name=systemd:/\n", V1_CPU, V1_MEMORY)
    unlimited = "9223372036854771712\n"
    files.group("/sys/fs/cgroup/memory", memory__limit_in_bytes=unlimited, memory__usage_in_bytes="90000\n")
    files.group("/sys/fs/cgroup/memory/user", memory__limit_in_bytes="7000\n", memory__usage_in_bytes="2000\n")
    files.group("/sys/fs/cgroup/memory/user/service", memory__limit_in_bytes=unlimited)
    files.group("/sys/fs/cgroup/cpu,cpuacct", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    files.group("/sys/fs/cgroup/cpu,cpuacct/docker/abc", cpu__cfs_quota_us="150000\n", cpu__cfs_period_us="100000\n")
    assert files.groups.memory_limit_bytes() == 7000
    assert files.groups.memory_left_bytes() == 5000
    assert files.groups.cpu_quota_cores() == 1.5


def test_both_versions_side_by_side_are_looked_at(files):
    unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    files.proc("4:memory:/a\n0::/b\n", V1_MEMORY, unified)
    files.group("/sys/fs/cgroup/memory/a", memory__limit_in_bytes="5000\n", memory__usage_in_bytes="1000\n")
    files.group("/sys/fs/cgroup/unified/b", cpu__max="30000 10000\n")
    assert files.groups.memory_limit_bytes() == 5000
    assert files.groups.cpu_quota_cores() == 3.0


def test_a_container_that_sees_its_own_group_as_the_top_finds_its_limit_there(files):
    files.proc("0::/\n", V2_MOUNT)
    files.group("/sys/fs/cgroup", memory__max="3000\n", memory__current="1000\n", cpu__max="50000 100000\n")
    assert files.groups.memory_left_bytes() == 2000
    assert files.groups.cpu_quota_cores() == 0.5


@pytest.mark.parametrize(
    ("path", "top"), [("/docker/abc", "/docker/abc"), ("/docker/abc/inner", "/other"), ("/../..", "/"), ("/gone", "/")]
)
def test_a_group_that_is_mounted_elsewhere_or_not_to_be_seen_is_the_one_that_is_mounted(files, path, top):
    files.proc(f"4:memory:{path}\n", V1_MEMORY.replace("0:32 /", f"0:32 {top}"))
    files.group("/sys/fs/cgroup/memory", memory__limit_in_bytes="3000\n", memory__usage_in_bytes="1000\n")
    assert files.groups.memory_limit_bytes() == 3000


def test_a_part_of_the_tree_may_be_mounted_anywhere_under_a_name_with_spaces(files):
    files.proc("0::/box/in:ner\n", r"31 23 0:28 /box /my\040groups rw - cgroup2 none rw")
    files.group("/my groups", memory__max="6000\n", memory__current="0\n")
    files.group("/my groups/in:ner", memory__max="8000\n", memory__current="7000\n")
    assert files.groups.memory_limit_bytes() == 6000
    assert files.groups.memory_left_bytes() == 1000


def test_of_several_mounts_the_one_that_shows_the_group_is_taken(files):
    elsewhere = V2_MOUNT.replace("/sys/fs/cgroup", "/elsewhere").replace("0:28 /", "0:28 /other")
    files.proc("0::/a\n", elsewhere, V2_MOUNT)
    files.group("/elsewhere", cpu__max="10000 100000\n")
    files.group("/sys/fs/cgroup/a", cpu__max="20000 100000\n")
    assert files.groups.cpu_quota_cores() == 0.2


def test_files_that_the_kernel_can_drop_are_still_to_be_had(files):
    files.proc("0::/a\n", V2_MOUNT)
    stat = "anon 500\nfile 1500\ninactive_file 1200\n"
    files.group("/sys/fs/cgroup/a", memory__max="3000\n", memory__current="2000\n", memory__stat=stat)
    assert files.groups.memory_left_bytes() == 2200


def test_memory_high_is_a_limit_as_well_and_nothing_is_left_beyond_one(files):
    files.proc("0::/a\n", V2_MOUNT)
    files.group("/sys/fs/cgroup/a", memory__max="9000\n", memory__high="4000\n", memory__current="5000\n")
    assert files.groups.memory_limit_bytes() == 4000
    assert files.groups.memory_left_bytes() == 0


def test_stops_are_summed_over_the_groups_around_a_process_in_seconds(files):
    files.proc("0::/a/b\n", V2_MOUNT)
    files.group("/sys/fs/cgroup", cpu__stat="usage_usec 5\n")
    files.group("/sys/fs/cgroup/a", cpu__stat="usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 2500000\n")
    files.group("/sys/fs/cgroup/a/b", cpu__stat="nr_periods 9\nnr_throttled 1\nthrottled_usec 500000\n")
    assert files.groups.throttling() == Throttling(4, 3.0)


def test_version_1_counts_stops_in_nanoseconds(files):
    files.proc("5:cpu:/a\n", V1_CPU)
    files.group("/sys/fs/cgroup/cpu,cpuacct/a", cpu__stat="nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\n")
    assert files.groups.throttling() == Throttling(3, 2.5)


@pytest.mark.parametrize(
    ("cgroup", "mount"),
    [("", ""), ("nonsense\n\n::\n0::\n", "no mount - at all\n - \n"), ("0::/a\n", ""), ("0::/a\n", "31 23 - cgroup2")],
)
def test_a_system_without_files_of_limits_has_no_limits(files, cgroup, mount):
    files.proc(cgroup, mount)
    assert files.groups.memory_limit_bytes() is None
    assert files.groups.memory_left_bytes() is None
    assert files.groups.cpu_quota_cores() is None
    assert files.groups.throttling() is None


def test_without_proc_nothing_is_known(tmp_path):
    assert ControlGroups(tmp_path).memory_limit_bytes() is None


@pytest.mark.parametrize("quota", ["max", "", "x y", "50000 0", "-1 100000", "0 100000", "50000"])
def test_a_quota_that_is_none_limits_nothing(files, quota):
    files.proc("0::/a\n", V2_MOUNT)
    files.group("/sys/fs/cgroup/a", cpu__max=quota, memory__max="lots", cpu__stat="nr_throttled many\n")
    assert files.groups.cpu_quota_cores() is None
    assert files.groups.memory_limit_bytes() is None


def test_a_pipe_in_place_of_a_file_is_not_waited_for(files):
    files.proc("0::/a\n", V2_MOUNT)
    files.group("/sys/fs/cgroup/a")
    os.mkfifo(files.root / "sys/fs/cgroup/a/cpu.max")
    assert files.groups.cpu_quota_cores() is None


def test_this_process_has_limits_that_make_sense():
    groups = ControlGroups()
    limit, left, cores = groups.memory_limit_bytes(), groups.memory_left_bytes(), groups.cpu_quota_cores()
    assert limit is None or left is None or 0 <= left <= limit
    assert cores is None or cores > 0
