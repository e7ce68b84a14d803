"""A profile as a reader sees it, from stored documents."""

from __future__ import annotations

import html.parser
import json
import re

import pytest

from gnet_core import text
from gnet_core.config import GnetError, StepConfig
from gnet_core.files.whole import RUN_FORMAT_VERSION
from gnet_core.profile import reading
from gnet_core.profile.document import read
from gnet_core.report import profile as profile_report
from gnet_core.report.html import to_html
from gnet_core.report.markdown import to_markdown
from gnet_core.report.terminal import to_terminal
from tests.traces import document

HOSTILE = "<script>alert(1)</script>|a|`b`\n# [x](http://y)\x1b[2J"


class View:
    """A report's parts, made of a stored profile."""

    def __init__(self, stored):
        profile = read(stored)
        self.answer = profile_report.answer(profile)
        self.launch_bound = profile_report.launch_bound(profile)
        self.tables = [table for table in profile_report.tables(profile) if table.blocks]
        self.pictures = profile_report.pictures(profile)
        self.notes = profile_report.notes(profile)


def view(stored):
    return View(stored)


def cells(stored, heading):
    ((grid,),) = (table.blocks for table in view(stored).tables if table.heading.startswith(heading))
    return grid.headings, [tuple(cell.text for cell in row) for row in grid.rows]


def test_the_answer_names_types_parts_and_the_backward_pass(environment):
    assert view(document(environment)).answer == (
        "100% of the time inside operations goes to Conv2D 60%, Mul 40%. "
        "By part of the network: stem 90%, optimizer 10%; backward 60% of it all."
    )


def test_the_answer_follows_the_figures(environment):
    stored = document(environment)
    stored["parts"][0]["part"], stored["parts"][2]["part"] = "main", "main"
    assert "stem 60%, main 40%" in view(stored).answer


def test_times_are_of_one_step_and_forward_and_backward_stand_apart(environment):
    headings, rows = cells(document(environment), "By part")
    assert headings == ["part", "forward ms", "backward ms", "neither ms", "ms", "share"]
    assert rows == [("stem", "150", "300", "", "450", "90.0%"), ("optimizer", "", "", "50", "50", "10.0%")]


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [
        *((2.0, "2000"), (0.1, "100"), (0.09996, "100"), (0.0123456, "12.3"), (1.2345e-3, "1.23")),
        *((4.567e-6, "0.0046"), (1e-7, "0.0001"), (1e-9, "0"), (0.0, "0"), (None, "")),
    ],
)
def test_milliseconds_have_three_digits_and_none_beyond_a_tenth_of_a_microsecond(seconds, milliseconds):
    assert text.milliseconds(seconds) == milliseconds


def test_types_of_operation_are_cut_and_the_rest_is_one_line(environment):
    rows = [
        {"operation": f"Type{number}", "occurrences": 2, "self_seconds": 0.1, "share": 0.05} for number in range(20)
    ]
    _, shown = cells(document(environment, operations=rows), "By type")
    assert len(shown) == 13
    assert shown[0] == ("Type0", "1", "50", "5.0%")
    assert shown[-1] == ("8 other types", "8", "400", "40.0%")
    _, shown = cells(document(environment, operations=rows[:13]), "By type")
    assert shown[-1][0] == "1 other type"
    _, shown = cells(document(environment, operations=rows[:12]), "By type")
    assert shown[-1][0] == "Type11"


def test_input_is_judged_in_words_with_its_number(environment):
    notes = view(document(environment)).notes
    assert any(note.startswith("Not input-bound: 1.0% of a step is input") for note in notes)
    stored = document(environment, breakdown=[{"kind": "input", "seconds": 0.3, "share": 0.5}])
    assert any(note.startswith("Highly input-bound: 50.0%") for note in view(stored).notes)


def test_the_profilers_own_overhead_is_reported(environment):
    assert (
        "A step took 500 ms without the profiler and 600 ms (+20%) under it (medians of 2 steps each, one after the "
        "other)." in (view(document(environment)).notes)
    )


@pytest.mark.parametrize(
    ("traced", "shown"), [(0.4985, "498 ms (−0.3%)"), (0.5, "500 ms (0.0%)"), (0.49999, "500 ms (0.0%)")]
)
def test_an_overhead_of_nothing_has_no_sign(environment, traced, shown):
    whole = document(environment)
    whole["trace"]["traced_step_seconds"] = [traced]
    assert f"500 ms without the profiler and {shown} under it (medians of 1 step each" in " ".join(view(whole).notes)


def test_a_cpus_memory_is_reported_as_that_of_its_allocator(environment):
    memory = {"allocator": "mklcpu", "peak_bytes": 2**29, "capacity_bytes": 2**34}
    assert (
        "TensorFlow's CPU allocator (mklcpu), which is not the whole process, held at most 0.50 GiB while the trace "
        "was taken." in view(document(environment, peak_memory=memory)).notes
    )


def kernel(name, **changes):
    return {
        "kernel": name,
        "tensor_cores": "not used",
        "occurrences": 4,
        "seconds": 0.02,
        "occupancy": 0.5,
        "share": 0.5,
    } | changes


def test_a_gpus_profile_tells_kernels_tensor_cores_launches_and_memory(environment):
    stored = document(
        environment,
        config=StepConfig(batch_size=8, device="gpu:0").to_dict(),
        breakdown=[
            {"kind": "device compute", "seconds": 0.4, "share": 0.7},
            {"kind": "idle, Python and all other", "seconds": 0.2, "share": 0.3},
        ],
        kernels=[
            kernel("void sm90_xmma<bf16>(int)", tensor_cores="used"),
            kernel("sgemm", seconds=0.005, share=0.125),
            kernel("gemm_fusion_dot_3", tensor_cores="unknown", seconds=0.015, share=0.375),
        ],
        device_time={
            "operations_seconds": 0.036,
            "kernels_seconds": 0.04,
            "unnamed_kernels_seconds": 0.003,
            "operations_cut": True,
            "kernels_cut": False,
        },
        peak_memory={"allocator": "GPU_0_bfc", "peak_bytes": 2**33, "capacity_bytes": 2**36},
        not_available=[],
    )
    _, rows = cells(stored, "The GPU's kernels")
    assert rows == [
        ("sm90_xmma<bf16>", "2", "10", "50.0%", "used", "50%"),
        ("sgemm", "2", "2.5", "12.5%", "not used", "50%"),
        ("gemm_fusion_dot_3", "2", "7.5", "37.5%", "unknown", "50%"),
    ]
    notes = " ".join(view(stored).notes)
    assert "By the trace the GPU is at work for 400 ms of a step of 500 ms (80%), timed without the profiler." in notes
    assert "input-bound" not in notes
    assert "launch-bound" not in view(stored).answer
    assert "Tensor cores, by the kernels' names, of the kernels' time: used 50%, not used 12%, unknown 38%." in notes
    assert (
        "A gap of 10%: 18 ms a step of operations against 20 ms of kernels; 1.5 ms of kernels belong to no operation, "
        "and xprof lists the longest 499 operations and leaves out the rest." in notes
    )
    assert "Memory peaked at 8.00 GiB of 64.0 GiB (GPU_0_bfc)." in notes


def launch_bound(environment, at_work, **changes):
    """The answer for a step of 500 ms in which the GPU is at work for so many seconds."""
    stored = document(
        environment,
        breakdown=[
            {"kind": "device compute", "seconds": at_work - 0.01, "share": 0.1},
            {"kind": "device to device", "seconds": 0.01, "share": 0.0},
        ],
        config=StepConfig(batch_size=1, **({"device": "gpu:0"} | changes)).to_dict(),
    )
    return view(stored)


def test_a_launch_bound_step_is_the_first_thing_that_is_reported(environment):
    result = launch_bound(environment, 0.1)
    assert result.launch_bound == (
        "Launch-bound: the GPU is at work for 100 ms of a step of 500 ms (20%) and waits for the host in the rest; a "
        "larger batch gives each kernel more to do."
    )
    assert result.answer.startswith(f"{result.launch_bound} 100% of the time inside operations goes to Conv2D")


def test_a_busy_gpu_and_a_cpu_are_not_launch_bound(environment):
    assert launch_bound(environment, 0.3).launch_bound == ""
    assert launch_bound(environment, 0.1, device="cpu").launch_bound == ""


def test_an_xla_step_is_launch_bound_without_its_command_buffers(environment):
    sentence = launch_bound(environment, 0.1, execution="xla").launch_bound
    assert sentence.endswith("That is without XLA's command buffers, which are off while a trace is taken.")


def test_a_gpus_trace_without_steps_claims_nothing_of_launches(environment):
    stored = document(environment, config=StepConfig(device="gpu:0").to_dict(), breakdown=[])
    assert view(stored).launch_bound == ""
    stored["breakdown"] = [{"kind": "device compute", "seconds": 0.0, "share": 0.0}]
    assert view(stored).launch_bound == ""


def test_kernels_are_cut_and_the_rest_is_one_line(environment):
    kernels = [kernel(f"kernel_{number}", share=0.05) for number in range(18)]
    kernels[16] |= {"tensor_cores": "used", "occupancy": 1.0, "seconds": 0.06}
    _, rows = cells(document(environment, kernels=kernels), "The GPU's kernels")
    assert len(rows) == 16
    assert rows[-1] == ("3 other kernels", "6", "50", "15.0%", "used 60%, not used 40%", "80%")
    _, rows = cells(document(environment, kernels=kernels[:16]), "The GPU's kernels")
    assert rows[-1][0] == "1 other kernel"
    _, rows = cells(document(environment, kernels=kernels[:15]), "The GPU's kernels")
    assert rows[-1][0] == "kernel_14"


def test_what_is_not_available_is_named_and_no_table_is_empty(environment):
    result = view(document(environment))
    assert all(grid.rows for table in result.tables for grid in table.blocks)
    _, rows = cells(document(environment), "Not available")
    assert rows == [("kernels", "a CPU has none")]
    assert "kernels" not in " ".join(table.heading for table in result.tables if not table.heading.startswith("Not"))


def test_a_trace_without_operations_says_why_and_draws_nothing(environment):
    result = view(document(environment, operations=[], parts=[], note="There is no table of operations. It was empty."))
    assert result.answer == "There is no table of operations. It was empty."
    assert result.pictures == []


def test_an_old_profile_is_reported_without_what_was_added(environment):
    old = document(environment)
    for field in ("parts", "breakdown", "kernels", "peak_memory", "not_available"):
        del old[field]
    result = view(old)
    assert [table.heading for table in result.tables] == ["By type of operation, in one step"]
    assert len(result.pictures) == 1


def test_the_pictures_say_their_finding_and_describe_themselves(environment):
    parts, operations = view(document(environment)).pictures
    assert parts.title == "stem takes the longest, and the backward pass 60% of the time inside operations"
    assert "stem 450 ms" in parts.description
    assert "milliseconds" in parts.svg
    assert operations.title == "Conv2D takes 60% of the time inside operations"
    for picture in (parts, operations):
        assert re.fullmatch(r"[A-Za-z0-9-]+", picture.name)
    assert parts.name != operations.name


def test_a_section_in_markdown_holds_answer_tables_and_notes(environment):
    text = to_markdown(profile_report.document(document(environment)))
    assert "\n\n**graph, float32, batch 8:** Test Processor" in text
    assert "\n\n## What it comes to\n\n100% of the time inside operations" in text
    assert "| stem      |          150 |           300 |" in text
    assert "## Not available from this trace" in text
    assert "- A step took 500 ms without the profiler" in text


def test_a_section_for_a_terminal_has_no_markup(environment):
    text = to_terminal(profile_report.document(document(environment)))
    assert "**" not in text
    assert "|" not in text
    assert "_MklNativeFusedConv2D" in text


class Page(html.parser.HTMLParser):
    """Headings, tags and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]


def page(stored):
    return to_html(profile_report.document(stored))


def test_the_page_needs_nothing_else_and_describes_its_pictures(environment):
    text = page(document(environment))
    parsed = Page(text)
    assert [address for address in parsed.addresses if not address.startswith("#")] == []
    assert "script" not in parsed.tags
    assert parsed.tags.count("h1") == 1
    assert parsed.tags.count("svg") == 2
    assert text.count('role="img" aria-label=') == 2
    assert len(text) < 2**20


def test_hostile_text_is_inert_on_the_page_and_in_markdown(environment):
    environment["machine"]["processor"] = HOSTILE
    stored = document(environment, created=HOSTILE, note=HOSTILE)
    stored["operations"][0]["operation"] = HOSTILE
    stored["not_available"] = [{"what": HOSTILE, "why": HOSTILE}]
    stored["trace"]["warnings"] = [HOSTILE, "x" * 10_000_000]
    text = page(stored)
    assert "<script" not in text
    assert "\x1b" not in text
    assert len(text) < 2**20
    markdown = to_markdown(profile_report.document(stored))
    assert "<script>" not in markdown.replace(r"\<script\>", "")
    assert "[x](" not in markdown.replace(r"\[x\](", "")
    assert "\x1b" not in markdown
    assert "\n# [x]" not in markdown
    assert len(markdown) < 2**17
    assert "\x1b" not in to_terminal(profile_report.document(stored))


def test_an_endless_environment_is_cut(environment):
    environment["machine"]["processor"] = "x|" * 1_500_000
    environment["machine"]["packages"] = {f"package-{number}": "1" for number in range(10_000)}
    stored = document(environment)
    markdown = to_markdown(profile_report.document(stored))
    assert "| processor " in markdown
    assert len(markdown) < 2**18
    assert len(page(stored)) < 2**20


@pytest.fixture
def directory(environment, tmp_path, monkeypatch):
    """A directory of gnet profile with a trace of which xprof tells what a stored document holds."""
    stored = document(environment)
    kept = {name: stored.pop(name) for name in ("step_seconds", "breakdown", "operations", "parts", "kernels", "note")}
    kept |= {name: stored.pop(name) for name in ("peak_memory", "not_available")}
    monkeypatch.setattr(reading, "tables", lambda _xplane, *, on_gpu: {**kept, "note": f"on_gpu={on_gpu}"})
    run = {"format_version": RUN_FORMAT_VERSION, "kind": "profile"} | stored
    (tmp_path / "run.json").write_text(json.dumps(run))
    return tmp_path


def test_all_that_is_reported_is_written_and_made_again_the_same(directory):
    stored = profile_report.write(directory)
    files = {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}
    plots = {f"plots/{picture.name}.svg" for picture in view(stored).pictures}
    tables = {"operations.csv", "parts.csv", "profile.json"}
    assert set(files) == {"run.json", "report.md", "report.html"} | tables | plots
    assert files["parts.csv"].splitlines()[:2] == [
        "part,direction,occurrences,self_seconds,share",
        "stem,forward,50,0.3,0.3",
    ]
    assert stored["note"] == "on_gpu=False"
    assert json.loads(files["profile.json"]) == stored
    for plot in plots:
        assert plot in files["report.md"]
    profile_report.write(directory)
    assert files == {name: (directory / name).read_text() for name in files}


def test_pictures_are_not_written_through_a_link_to_elsewhere(directory, tmp_path_factory):
    (directory / "plots").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(GnetError, match="plots: it is a link"):
        profile_report.write(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["plots", "run.json"]


def test_pictures_of_an_earlier_report_go(directory):
    (directory / "plots").mkdir()
    (directory / "plots" / "profile-parts-earlier.svg").touch()
    stored = profile_report.write(directory)
    pictures = {f"{picture.name}.svg" for picture in view(stored).pictures}
    assert {path.name for path in (directory / "plots").iterdir()} == pictures


def test_a_picture_of_a_case_with_a_long_name_is_a_file_still(directory):
    run = json.loads((directory / "run.json").read_text())
    run["config"]["data"] = "x" * 200
    (directory / "run.json").write_text(json.dumps(run))
    profile_report.write(directory)
    markdown = (directory / "report.md").read_text()
    files = list((directory / "plots").iterdir())
    assert len(files) == 2
    for file in files:
        assert len(file.name) <= 124
        assert f"](plots/{file.name})" in markdown


def test_a_profile_that_cannot_be_reported_leaves_no_file(directory):
    run = json.loads((directory / "run.json").read_text())
    run["trace"]["warnings"] = ["busy"] * 51
    (directory / "run.json").write_text(json.dumps(run))
    with pytest.raises(GnetError, match=r"'trace\.warnings' is "):
        profile_report.write(directory)
    assert [path.name for path in directory.iterdir()] == ["run.json"]


def test_what_is_no_profile_is_refused_by_its_field(environment):
    stored = document(environment)
    del stored["operations"]
    with pytest.raises(GnetError, match="field 'operations' is missing"):
        to_terminal(profile_report.document(stored))


def test_the_line_for_tensorboard_survives_a_shell(tmp_path):
    assert profile_report.tensorboard_line(tmp_path) == f"tensorboard --logdir {tmp_path}/traces"
    assert profile_report.tensorboard_line(tmp_path / "my runs").endswith("/my runs/traces'")
