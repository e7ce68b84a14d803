"""Two runs side by side: verdicts, what they have to be read with, and the gate."""

import copy
import json
import shutil
import sys

import pytest

from gnet_core import cli, compare_report, records
from gnet_core.config import GnetError, StepConfig
from tests.conftest import RunDirectory

GRAPH, XLA, EAGER = (StepConfig(batch_size=8, execution=execution) for execution in ("graph", "xla", "eager"))


def three(seconds, wobble=0.001):
    """Three processes of two blocks each, of two steps that take about that long."""
    return [[2 * seconds * (1 + wobble * number)] * 2 for number in (-1, 0, 1)]


@pytest.fixture
def base(tmp_path, environment):
    directory = RunDirectory(tmp_path / "base", copy.deepcopy(environment))
    directory.add(GRAPH, *three(1.0))
    directory.add(XLA, *three(2.0))
    directory.add(EAGER, *three(3.0))
    return directory


@pytest.fixture
def new(tmp_path, environment):
    directory = RunDirectory(tmp_path / "new", copy.deepcopy(environment))
    directory.add(GRAPH, *three(1.2))
    directory.add(XLA, *three(2.0, wobble=0.03))
    directory.add(EAGER, status="failed", note="because")
    directory.add(StepConfig(batch_size=16), *three(1.0))
    return directory


@pytest.fixture
def gnet(monkeypatch, capsys):
    """Calls `gnet compare`: exit status, stdout, stderr."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["gnet", "compare", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call


def refused(answer, *parts):
    status, out, err = answer
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("gnet: ")
    for part in parts:
        assert part in err


def compared(base, new):
    base_run, new_run = (records.load_run(directory.path) for directory in (base, new))
    return compare_report.compare(base_run, new_run, 0.02, across_machines=False)


def test_the_whole_of_what_is_said(gnet, base, new):
    status, out, err = gnet(base.path, new.path)
    assert (status, err) == (0, "")
    assert (
        out
        == f"""\
BASE {base.path}
NEW  {new.path}

case                                   BASE images/s    NEW images/s    × BASE    95 % of ×  verdict       margin    \
smallest effect  mode          processes
-----------------------------------  ---------------  --------------  --------  -----------  ----------  --------  \
-----------------  ----------  -----------
graph-float32-b8-i224-synthetic-cpu              8.0             6.7     0.833  0.831–0.835  SLOWER          2.0%  \
             2.1%  sequential          3+3
xla-float32-b8-i224-synthetic-cpu                4.0             4.0      1.00    0.93–1.08  UNRESOLVED      2.0%  \
              11%  sequential          3+3

xla-float32-b8-i224-synthetic-cpu: The interval holds 1 and reaches beyond the margin of 2 %; about 25 more processes \
a side, each in a cohort of its own, would probably tell.

The two runs were timed one after the other: the machine's weather between them is part of every ratio. Where its \
speed wanders, two runs of the same code are told apart in about one comparison of six. \
gnet bench --against REV compares two revisions in turns, which takes it out.

Processes of identical code in BASE differed by 0.1% one after the other (standard deviation).

Processes of identical code in NEW differed by 1.7% one after the other (standard deviation).

No figures in NEW for:
  eager-float32-b8-i224-synthetic-cpu: failed, because

Only NEW has figures for:
  graph-float32-b16-i224-synthetic-cpu
"""
    )


@pytest.mark.parametrize(
    ("gates", "status", "said"),
    [
        ("slower", 1, ["Gate failed: slower: graph-float32-b8-i224-synthetic-cpu\n"]),
        ("missing", 1, ["Gate failed: missing: eager-float32-b8-i224-synthetic-cpu\n"]),
        ("unresolved", 1, ["Gate failed: unresolved: xla-float32-b8-i224-synthetic-cpu\n"]),
        ("slower,missing", 1, ["Gate failed: slower: ", "Gate failed: missing: "]),
    ],
)
def test_a_gate_that_fails_is_named_and_makes_the_exit_status_1(gnet, base, new, gates, status, said):
    ended, out, err = gnet(base.path, new.path, "--fail-on", gates)
    assert (ended, err) == (status, "")
    for each in said:
        assert each in out
    assert out.count("Gate failed") == len(said)


def test_a_gate_that_holds_is_silent(gnet, base, tmp_path, environment):
    same = RunDirectory(tmp_path / "same", environment)
    for case, seconds in ((GRAPH, 1.0), (XLA, 1.5), (EAGER, 3.0)):
        same.add(case, *three(seconds))
    status, out, _ = gnet(base.path, same.path, "--fail-on", "slower,missing,unresolved")
    assert status == 0
    assert "Gate" not in out
    assert out.count("SAME") == 2
    assert out.count("FASTER") == 1


def test_a_wider_margin_makes_differences_the_same(gnet, base, new):
    assert gnet(base.path, new.path, "--margin", "25", "--fail-on", "slower,unresolved")[0] == 0


def test_json_is_one_document_with_all_of_it(gnet, base, new):
    status, out, _ = gnet(base.path, new.path, "--fail-on", "slower", "--json")
    document = json.loads(out)
    assert status == 1
    assert document["failed_gates"] == {"slower": [GRAPH.name]}
    assert [(each["variant"], each["verdict"]) for each in document["comparisons"]] == [
        (GRAPH.name, "SLOWER"),
        (XLA.name, "UNRESOLVED"),
    ]
    assert (document["margin"], document["across_machines"], document["same_samples"]) == (0.02, False, False)
    assert document["only_base"] == [EAGER.name]
    assert document["reservations"] == {"base": [], "new": []}


def test_other_hardware_is_refused_by_what_differs_unless_asked_for(gnet, base, new):
    new.document["environment"]["machine"] |= {"processor": "Faster Processor", "cores": 64}
    new.write()
    refused(
        gnet(base.path, new.path), "processor: Test Processor → Faster Processor; cores: 4 → 64", "--across-machines"
    )
    status, out, _ = gnet(base.path, new.path, "--across-machines")
    assert status == 0
    assert out.splitlines()[0].startswith("ACROSS MACHINES: the hardware differs")
    assert "  processor: Test Processor → Faster Processor\n" in out


def test_other_software_is_told(gnet, base, new):
    new.document["environment"]["tensorflow"]["version"] = "2.19.0"
    new.write()
    status, out, _ = gnet(base.path, new.path)
    assert status == 0
    assert "The environments differ:\n  TensorFlow: 2.21.0 → 2.19.0\n" in out


def test_what_a_name_leaves_out_is_told_where_it_differs(base, tmp_path, environment):
    other = RunDirectory(tmp_path / "other", environment)
    other.add(StepConfig(batch_size=8, seed=7), *three(1.0))
    assert compared(base, other).other_configs == ["seed: 0 → 7 (1 case)"]


def test_the_spread_of_identical_code_is_told(gnet, base, new):
    new.document["suites"].append({"name": "aa", "question": "Identical?", "varies": "source", "base": ""})
    new.add(GRAPH, *three(1.2, wobble=0.011), suites=("aa",), source="again")
    _, out, _ = gnet(base.path, new.path)
    assert "in NEW differed by 0.7% in turns and 1.6% one after the other (standard deviation)." in out
    assert "Processes of identical code in BASE differed by 0.1% one after the other (standard deviation)." in out


def test_reservations_about_either_run_are_told(gnet, base, new):
    base.document["preset"] = "smoke"
    base.write()
    _, out, _ = gnet(base.path, new.path)
    assert "BASE is not to be quoted:\n  the preset smoke only shows that everything works" in out


def test_a_run_compared_with_itself_or_a_copy_is_told_first(gnet, base, tmp_path):
    shutil.copytree(base.path, tmp_path / "copy")
    for other in (base.path, tmp_path / "copy"):
        status, out, _ = gnet(base.path, other)
        assert status == 0
        assert out.startswith("BASE and NEW hold the same samples")


def test_two_runs_without_a_measured_case_in_common_are_refused(gnet, base, tmp_path, environment):
    other = RunDirectory(tmp_path / "other", environment)
    other.add(StepConfig(batch_size=16), *three(1.0))
    other.add(GRAPH, status="failed", note="because")
    refused(gnet(base.path, other.path), f"{other.path}: it has figures for no case that {base.path} has figures for")


def test_a_profile_is_refused_by_name(gnet, base, tmp_path):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "run.json").write_text('{"kind": "profile"}')
    refused(gnet(base.path, tmp_path / "profile"), f"{tmp_path / 'profile'}: it holds a profile")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--margin", "much"], ["margin: 'much'"]),
        (["--margin", "0"], ["margin: '0'"]),
        (["--margin", "-2"], ["margin: '-2'"]),
        (["--margin", "nan"], ["margin: 'nan'"]),
        (["--margin", "100"], ["margin: '100'"]),
        (["--fail-on", "faster"], ["fail_on: 'faster' is unknown; use one of slower, missing, unresolved"]),
        (["--fail-on", "slower,"], ["fail_on: ''"]),
        (["--turbo"], ["No such option"]),
    ],
)
def test_bad_options_are_one_clear_line(gnet, base, new, words, parts):
    refused(gnet(base.path, new.path, *words), *parts)


def test_a_directory_that_is_no_run_is_one_clear_line(gnet, base, tmp_path):
    refused(gnet(base.path, tmp_path / "nowhere"), "nowhere/run.json: there is no such file")
    refused(gnet(base.path), "Missing argument 'NEW'")
    (base.path / "run.json").write_text('{"format_version": 2, "created": ')
    refused(gnet(base.path, base.path), "run.json: it cannot be read as JSON")


def test_a_spoiled_raw_file_is_a_case_that_is_missing(gnet, base, new):
    new.spoil(f"raw/{GRAPH.name}.r1.json", lambda raw: raw["stats"].update(data=[-1.0, 2.0]))
    status, out, _ = gnet(base.path, new.path, "--fail-on", "missing")
    assert status == 1
    assert f"Gate failed: missing: {GRAPH.name}, {EAGER.name}" in out


def test_a_difference_in_hardware_is_an_error_of_the_library_too(base, new):
    new.document["environment"]["machine"]["cores"] = 2
    new.write()
    with pytest.raises(GnetError, match="cores: 4 → 2"):
        compared(base, new)
