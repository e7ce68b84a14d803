"""Two runs side by side: verdicts, what they have to be read with, and the gate."""

import copy
import csv
import functools
import io
import itertools
import json
import math
import re
import shutil
from html.parser import HTMLParser

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.report import comparison, terms
from gnet_core.results import records
from gnet_core.text import inert
from tests.conftest import TORCH_SECTION, RunDirectory
from tests.svg import outside_references

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
def gnet(gnet):
    """Calls `gnet compare`: exit status, stdout, stderr."""
    return functools.partial(gnet, "compare")


def refused(answer, *parts):
    status, out, err = answer
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("gnet: ")
    for part in parts:
        assert part in err


def compared(base, new):
    base_run, new_run = (records.load_run(directory.path) for directory in (base, new))
    return comparison.compare(base_run, new_run, 0.02, across_machines=False)


def test_the_whole_of_a_printed_comparison(gnet, base, new):
    status, out, err = gnet(base.path, new.path)
    assert (status, err) == (0, "")
    assert (
        out
        == f"""\
- BASE: {base.path}
- NEW: {new.path}

Verdicts:
All with float32, batch 8, margin 2.0%, mode sequential, processes 3+3:

case   BASE images/s  NEW images/s  × BASE    95 % of ×  verdict     detectable effect
-----  -------------  ------------  ------  -----------  ----------  -----------------
graph            8.0           6.7   0.833  0.831–0.835  SLOWER                   2.1%
xla              4.0           4.0    1.00    0.93–1.08  UNRESOLVED                11%

UNRESOLVED in xla: The interval holds 1 and reaches beyond the margin of 2 %; about 25 more processes a side, each in \
a cohort of its own, would probably tell.

How far to trust them:
The two runs were timed one after the other: the machine's drift between them is part of every ratio. Where its \
speed wanders, two runs of the same code are told apart in about one comparison of six. \
gnet bench --against REV compares two revisions in turns, which takes it out.

Processes of identical code in BASE differed by 0.1% one after the other (standard deviation).

Processes of identical code in NEW differed by 1.7% one after the other (standard deviation).

No figures in NEW for:
eager, float32, batch 8: failed, because

Only NEW has figures for:
graph, float32, batch 16

What it comes to:
Of 2 cases NEW is SLOWER in 1, UNRESOLVED in 1; furthest from BASE is graph, 0.833× (0.831–0.835), timed one after \
the other.
"""
    )


@pytest.mark.parametrize(
    ("gates", "status", "lines"),
    [
        ("slower", 1, ["Gate failed: slower: graph-float32-b8-i224-synthetic-cpu\n"]),
        ("missing", 1, ["Gate failed: missing: eager-float32-b8-i224-synthetic-cpu\n"]),
        ("unresolved", 1, ["Gate failed: unresolved: xla-float32-b8-i224-synthetic-cpu\n"]),
        ("slower,missing", 1, ["Gate failed: slower: ", "Gate failed: missing: "]),
    ],
)
def test_a_gate_that_fails_is_named_and_makes_the_exit_status_1(gnet, base, new, gates, status, lines):
    ended, out, err = gnet(base.path, new.path, "--fail-on", gates)
    assert (ended, err) == (status, "")
    for line in lines:
        assert line in out
    assert out.count("Gate failed") == len(lines)


def test_a_gate_that_holds_is_silent(gnet, base, tmp_path, environment):
    same = RunDirectory(tmp_path / "same", environment)
    for case, seconds in ((GRAPH, 1.0), (XLA, 1.5), (EAGER, 3.0)):
        same.add(case, *three(seconds))
    status, out, _ = gnet(base.path, same.path, "--fail-on", "slower,missing,unresolved")
    assert status == 0
    assert "Gate" not in out
    assert "NEW is FASTER in 1, SAME in 2" in out


def test_a_wider_margin_makes_differences_the_same(gnet, base, new):
    assert gnet(base.path, new.path, "--margin", "25", "--fail-on", "slower,unresolved")[0] == 0


def test_json_is_one_document_with_all_of_it(gnet, base, new):
    status, out, _ = gnet(base.path, new.path, "--fail-on", "slower", "--json")
    document = json.loads(out)
    assert status == 1
    assert document["failed_gates"] == {"slower": [GRAPH.name]}
    assert [(row["variant"], row["verdict"]) for row in document["comparisons"]] == [
        (GRAPH.name, "SLOWER"),
        (XLA.name, "UNRESOLVED"),
    ]
    assert (document["margin"], document["across_machines"], document["same_samples"]) == (0.02, False, False)
    assert document["only_base"] == [EAGER.name]
    assert document["reservations"] == {"base": [], "new": []}


def test_other_hardware_is_refused_by_what_differs_unless_requested(gnet, base, new):
    new.document["environment"]["machine"] |= {"processor": "Faster Processor", "cores": 64}
    new.write()
    refused(
        gnet(base.path, new.path), "processor: Test Processor → Faster Processor; cores: 4 → 64", "--across-machines"
    )
    status, out, _ = gnet(base.path, new.path, "--across-machines")
    assert status == 0
    assert out.splitlines()[-1].startswith("ACROSS MACHINES: the hardware differs")
    assert "- processor: Test Processor → Faster Processor (hardware)\n" in out


def test_other_software_is_reported(gnet, base, new):
    new.document["environment"]["tensorflow"]["version"] = "2.19.0"
    new.write()
    status, out, _ = gnet(base.path, new.path)
    assert status == 0
    assert "The environments differ:\nTensorFlow: 2.21.0 → 2.19.0 (software)\n" in out


@pytest.mark.parametrize("own", ["both", "new"])
def test_what_differs_in_a_peers_interpreter_is_reported_wherever_its_rows_were_measured(gnet, base, new, own):
    def of_torch(directory, version, *, alone):
        machine = copy.deepcopy(directory.document["environment"]["machine"])
        machine["packages"] = {"gnet": "0.1.0", "keras": "3.15.1", "torch": version}
        if alone:
            machine["python"] = "3.13.0"
            theirs = {"machine": machine, "tensorflow": None, "torch": TORCH_SECTION}
            directory.document["environments"] = {"": directory.document["environment"], "torch": theirs}
        else:
            directory.document["environment"]["machine"] = machine
            directory.document["environments"] = {"": directory.document["environment"] | {"torch": TORCH_SECTION}}
        directory.add(StepConfig(framework="torch", execution="eager", batch_size=8), [1.0] * 3)

    of_torch(base, "2.12.0", alone=own == "both")
    of_torch(new, "2.13.0", alone=True)
    status, out, _ = gnet(base.path, new.path)
    assert status == 0
    assert "torch: 2.12.0 → 2.13.0" in out
    assert "3.13.0" not in out
    assert "TensorFlow:" not in out


def test_what_a_name_leaves_out_is_reported_where_it_differs(base, tmp_path, environment):
    other = RunDirectory(tmp_path / "other", environment)
    other.add(StepConfig(batch_size=8, seed=7), *three(1.0))
    assert comparison.other_configs(compared(base, other)) == ["seed: 0 → 7 (1 case)"]


def test_the_spread_of_identical_code_is_reported(gnet, base, new):
    new.document["suites"].append({"name": "aa", "question": "Identical?", "varies": "source", "base": ""})
    new.add(GRAPH, *three(1.2, wobble=0.011), suites=("aa",), source="again")
    _, out, _ = gnet(base.path, new.path)
    assert "in NEW differed by 0.7% in turns and 1.6% one after the other (standard deviation)." in out
    assert "Processes of identical code in BASE differed by 0.1% one after the other (standard deviation)." in out


def test_reservations_about_either_run_are_reported(gnet, base, new):
    base.document["preset"] = "smoke"
    base.write()
    _, out, _ = gnet(base.path, new.path)
    assert "BASE is not to be quoted:\nthe preset smoke only shows that everything works" in out


def test_a_run_compared_with_itself_or_a_copy_is_reported_last(gnet, base, tmp_path):
    shutil.copytree(base.path, tmp_path / "copy")
    for other in (base.path, tmp_path / "copy"):
        status, out, _ = gnet(base.path, other)
        assert status == 0
        assert out.splitlines()[-1].startswith("BASE and NEW hold the same samples")


def test_two_runs_without_a_measured_case_in_common_are_refused(gnet, base, tmp_path, environment):
    other = RunDirectory(tmp_path / "other", environment)
    other.add(StepConfig(batch_size=16), *three(1.0))
    other.add(GRAPH, status="failed", note="because")
    refused(gnet(base.path, other.path), f"{other.path}: it has figures for no case that {base.path} has figures for")


def test_a_profile_is_refused_by_name(gnet, base, tmp_path):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "run.json").write_text('{"kind": "profile"}')
    for words in ([], ["--across-machines", base.path]):
        why = "it holds a profile; name directories of gnet bench, or compare two profiles with --profiles"
        refused(gnet(*words, base.path, tmp_path / "profile"), f"{tmp_path / 'profile'}: {why}")


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
    (base.path / "run.json").write_text('{"format_version": 3, "created": ')
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


# --out: what is written beside what is printed


class Page(HTMLParser):
    """The page as a reader gets it, with its markup."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        self.text.append(text)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def written(gnet, base, new, tmp_path):
    """Compares BASE with NEW and gives the directory that was written."""

    def write(*words, out="out"):
        status, _, err = gnet(base.path, new.path, "--out", tmp_path / out, *words)
        assert (status, err) == (0, "")
        return tmp_path / out

    return write


def page_of(directory):
    return Page((directory / "compare.html").read_text(encoding="utf-8"))


def test_with_out_it_prints_the_same_and_where_the_page_is(gnet, base, new, tmp_path):
    printed = gnet(base.path, new.path)[1]
    assert gnet(base.path, new.path, "--out", tmp_path / "a" / "b") == (
        0,
        f"{printed}\nReport: {tmp_path}/a/b/compare.html\n",
        "",
    )
    files = sorted(str(path.relative_to(tmp_path / "a" / "b")) for path in (tmp_path / "a" / "b").rglob("*"))
    assert files == ["compare.html", "compare.md", "comparison.csv", "plots", "plots/forest.svg"]


def test_json_stays_one_document_also_with_out(gnet, base, new, tmp_path):
    alone = gnet(base.path, new.path, "--json")[1]
    assert gnet(base.path, new.path, "--json", "--out", tmp_path / "out")[1] == alone
    assert (tmp_path / "out" / "compare.html").exists()


def test_a_directory_with_files_in_it_is_not_written_into(gnet, base, new, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    refused(gnet(base.path, new.path, "--out", tmp_path / "full"), f"out: {tmp_path}/full has files in it already")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_a_gate_that_fails_is_in_the_documents_too(gnet, base, new, tmp_path):
    assert gnet(base.path, new.path, "--out", tmp_path / "out", "--fail-on", "slower")[0] == 1
    text = f"slower: {GRAPH.name}"
    assert f"## Gates that failed\n\n{text}\n" in (tmp_path / "out" / "compare.md").read_text()
    assert text in "".join(page_of(tmp_path / "out").text)


def test_the_whole_of_the_markdown(written, base, new):
    new.document["environment"]["tensorflow"]["version"] = "2.19.0"
    new.write()
    machine = "Test Processor, 8 of 8 threads, 16 GiB, TensorFlow"
    text = (written() / "compare.md").read_text()
    lines = re.sub(r" *\| *", "|", re.sub(r"\|[:-][-|:]*\|\n", "", text))
    expected = "\n".join("- **{}** {}".format(*term) for term in terms.HOW_TO_READ_RATIOS.lines)
    assert (
        lines
        == f"""\
# Two runs compared

- **BASE:** {inert(base.path)}
- **NEW:** {inert(new.path)}

## What it comes to

Of 2 cases NEW is SLOWER in 1, UNRESOLVED in 1; furthest from BASE is graph, 0.833× (0.831–0.835), timed one after the \
other.

## Verdicts

![Ratios of images a second on a log axis, margin ±2 %. graph: 0.833× (0.831–0.835) SLOWER; \
xla: 1.00× (0.93–1.08) UNRESOLVED.](plots/forest.svg)

All with float32, batch 8, margin 2.0%, mode sequential, processes 3+3:

|case|BASE images/s|NEW images/s|× BASE|95 % of ×|verdict|detectable effect|
|graph|8.0|6.7|0.833|0.831–0.835|SLOWER|2.1%|
|xla|4.0|4.0|1.00|0.93–1.08|UNRESOLVED|11%|

**UNRESOLVED in xla:** The interval holds 1 and reaches beyond the margin of 2 %; about 25 more processes a side, each \
in a cohort of its own, would probably tell.

## How far to trust them

The two runs were timed one after the other: the machine's drift between them is part of every ratio. Where its \
speed wanders, two runs of the same code are told apart in about one comparison of six. \
gnet bench --against REV compares two revisions in turns, which takes it out.

Processes of identical code in BASE differed by 0.1% one after the other (standard deviation).

Processes of identical code in NEW differed by 1.7% one after the other (standard deviation).

## No figures in NEW for

eager, float32, batch 8: failed, because

## Only NEW has figures for

graph, float32, batch 16

## The environments differ

**TensorFlow:** 2.21.0 → 2.19.0 (software)

## What is compared

|what|BASE|NEW|
|machine|{machine} 2.21.0|{machine} 2.19.0|
|commit|0123456789abcdef|0123456789abcdef|
|started|2026-01-02T03:04:05+00:00|2026-01-02T03:04:05+00:00|
|preset|quick|quick|
|seed|0|0|

## How to read it

{expected}
"""
    )


def test_environments_that_do_not_differ_are_called_alike(written, new):
    assert comparison.ALIKE in (written() / "compare.md").read_text()
    assert comparison.ALIKE in "".join(page_of(written(out="again")).text)
    new.document["environment"]["tensorflow"]["version"] = "2.19.0"
    new.write()
    assert comparison.ALIKE not in (written(out="other") / "compare.md").read_text()


def test_what_only_new_has_says_why_base_has_not(written, base):
    base.add(StepConfig(batch_size=16), status="oom", note="full")
    assert "\ngraph, float32, batch 16: oom, full\n" in (written() / "compare.md").read_text()


def test_the_csv_has_a_line_a_case_with_both_speeds(written):
    lines = list(csv.DictReader(io.StringIO((written() / "comparison.csv").read_text())))
    assert list(lines[0])[:7] == [
        *("case", "base_images_per_second", "new_images_per_second", "verdict", "ratio", "low", "high")
    ]
    assert [(line["case"], line["base_images_per_second"], line["verdict"]) for line in lines] == [
        (GRAPH.name, "8.0", "SLOWER"),
        (XLA.name, "4.0", "UNRESOLVED"),
    ]


def test_the_page_needs_nothing_but_itself(written):
    page = page_of(written())
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img", "base", "form")
        for name, value in attributes.items():
            if name.rpartition(":")[2] in ("src", "href", "action", "srcset", "data"):
                assert value.startswith(("#", "data:")), (tag, name, value)
            assert not name.startswith("on")
    text = (written(out="again") / "compare.html").read_text()
    assert "url(" not in text.replace("url(#", "")
    assert "@import" not in text


def test_the_page_holds_all_that_the_terminal_says(gnet, written, base, new):
    text = " ".join("".join(page_of(written()).text).split())
    for line in gnet(base.path, new.path)[1].splitlines():
        for cell in re.split(r"  +", line.removeprefix("- ").rstrip(":")):
            assert cell in text or set(cell) == {"-"}, line


def test_headings_and_pictures_can_be_used_by_a_screen_reader(written):
    page = page_of(written())
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.all("svg")
    for picture in page.all("svg"):
        assert picture["role"] == "img"
        assert "0.833×" in picture["aria-label"]
    assert page.all("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_plot_is_a_picture_of_its_own_and_the_same_each_time(written):
    first, second = (written(out=out) for out in ("one", "two"))
    svg = (first / "plots" / "forest.svg").read_bytes()
    assert svg == (second / "plots" / "forest.svg").read_bytes()
    assert outside_references(svg) == []
    names = ("compare.html", "compare.md", "comparison.csv")
    assert [(first / name).read_bytes() for name in names] == [(second / name).read_bytes() for name in names]


HOSTILE = "</svg></table><script>alert(1)</script>|`b`\n# [x](http://y)\x1b[2J"


@pytest.mark.parametrize("text", [HOSTILE, "x" * 2**20, HOSTILE * 2**14])
def test_hostile_text_is_inert_in_every_file(written, new, text):
    document = new.document
    document["preset"] = text
    document["environment"]["tensorflow"]["git"] = text
    document["environment"]["machine"] |= {"commit": text, "environment_variables": {"TF_X": text}}
    document["cases"][2]["note"] = text
    document["cases"][2]["config"]["data"] = text
    new.write()
    out = written()
    whole = (out / "compare.html").read_text()
    page = Page(whole)
    assert not page.all("script")
    assert len(page.all("svg")) == whole.count("</svg>") == 1
    assert not [link for link in page.all("a") if link.get("href", "").startswith("http")]
    markdown = (out / "compare.md").read_text()
    assert "<script" not in markdown.replace(r"\<script", "")
    assert "[x](" not in markdown.replace(r"\[x\](", "")
    for path in out.rglob("*.*"):
        assert "\x1b" not in path.read_text()
        assert path.stat().st_size < 200_000


def printed(gnet, *words):
    status, out, err = gnet(*words)
    assert (status, err) == (0, "")
    return out


def runs_of(tmp_path, environment, step_seconds):
    """Separate runs of one case, each of three processes that agree with each other far better than the runs do."""
    runs = []
    for number, seconds in enumerate(step_seconds):
        directory = RunDirectory(tmp_path / f"run {number}", environment)
        directory.document["created"] = f"2026-01-02T03:04:0{number}+00:00"
        directory.add(
            GRAPH, *([2 * seconds * factor] * 2 for factor in (0.999, 1.0, 1.001)), run=directory.document["created"]
        )
        runs.append(directory)
    return runs


def test_with_several_runs_of_the_base_each_run_counts_once(gnet, tmp_path, environment):
    *bases, alike, other = runs_of(tmp_path, environment, [1.0, 1.05, 0.95, 1.04, 1.6])
    words = [bases[0].path, alike.path, "--json"]
    (single,) = json.loads(printed(gnet, *words))["comparisons"]
    assert single["verdict"] == "SLOWER"
    words += ["--like-base", bases[1].path, "--like-base", bases[2].path]
    (result,) = json.loads(printed(gnet, *words))["comparisons"]
    # 1.00, 1.05 and 0.95 s against 1.04 s: standard deviation 5 %, so 5 % × sqrt(1 + 1/3) of error and 2 degrees.
    assert (result["verdict"], result["base_processes"], result["variant_processes"]) == ("UNRESOLVED", 9, 3)
    assert result["spread"] == pytest.approx(0.05, rel=0.01)
    assert math.log(result["high"] / result["low"]) == pytest.approx(2 * 4.303 * 0.05 * math.sqrt(4 / 3), rel=0.01)
    words[1] = other.path
    document = json.loads(printed(gnet, *words))
    assert document["comparisons"][0]["verdict"] == "SLOWER"
    assert document["like_base"] == [str(base.path) for base in bases[1:]]
    text = printed(gnet, *(word for word in words if word != "--json"))
    assert f"Further runs of BASE:\n- {bases[1].path}\n- {bases[2].path}\n" in text
    assert "Each run counts once: how far the 3 runs of BASE are from each other" in text
    assert "told apart in about one comparison of six" not in text


def test_two_runs_of_the_base_are_too_few(gnet, tmp_path, environment):
    bases = runs_of(tmp_path, environment, [1.0, 1.05, 1.6])
    text = printed(gnet, bases[0].path, bases[2].path, "--like-base", bases[1].path)
    assert "2 runs of base; how far separate runs differ takes at least 3." in text


def test_a_run_that_is_not_like_the_base_is_refused_by_what_differs(gnet, tmp_path, environment):
    base, new, other = runs_of(tmp_path, environment, [1.0, 1.05, 1.1])
    refused(gnet(base.path, new.path, "--like-base", base.path), "like_base", "is the same run as")
    other.document["environments"] = {"": copy.deepcopy(environment)}
    other.document["environments"][""]["tensorflow"]["version"] = "2.19.1"
    other.write()
    refused(gnet(base.path, new.path, "--like-base", other.path), "like_base", "TensorFlow: 2.21.0 → 2.19.1")


def test_doubts_about_a_further_run_of_the_base_are_reported(gnet, tmp_path, environment):
    base, further, new = runs_of(tmp_path, environment, [1.0, 1.05, 1.1])
    further.document["complete"] = False
    further.write()
    text = printed(gnet, base.path, new.path, "--like-base", further.path)
    assert f"{further.path} is not to be quoted:\nthe run was interrupted" in text


def test_text_from_a_run_gives_the_terminal_no_orders(gnet, tmp_path, environment):
    base, new = (RunDirectory(tmp_path / name, copy.deepcopy(environment)) for name in ("base", "new"))
    base.add(GRAPH, *three(1.0))
    new.add(GRAPH, *three(1.0), losses_without_dropout=[[0, 4.0], [1, 99.0]])
    (case,) = base.document["cases"]
    case["source"] = "\x1b[2J" + "x" * 10**5
    base.write()
    text = printed(gnet, base.path, new.path)
    assert "\x1b" not in text
    assert len(text) < 5000
