"""Two stored profiles side by side, and the command that compares them."""

from __future__ import annotations

import json
import re

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.files.whole import RUN_FORMAT_VERSION
from gnet_core.profile import comparison
from gnet_core.profile.document import COUNTINGS
from gnet_core.report import profile_comparison as profile_comparison_report
from gnet_core.report.html import to_html
from gnet_core.report.markdown import to_markdown
from gnet_core.report.terminal import to_terminal
from tests.report.test_profile_report import HOSTILE, Page
from tests.traces import document


def part(name, direction, seconds):
    return {"part": name, "direction": direction, "occurrences": 2, "self_seconds": seconds, "share": 0.5}


def operation(kind, seconds):
    return {"operation": kind, "occurrences": 2, "self_seconds": seconds, "share": 0.5}


@pytest.fixture
def profiles(tmp_path, environment):
    """Writes two directories of gnet profile: of graph in BASE, of XLA in NEW."""

    def write(name, stored):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        run = {"format_version": RUN_FORMAT_VERSION, "kind": "profile"} | stored
        (directory / "run.json").write_text(json.dumps(run))
        (directory / "profile.json").write_text(json.dumps(stored))
        return directory

    base = document(
        environment,
        parts=[part("stem", "forward", 0.2), part("stem", "backward", 0.4), part("main", "forward", 0.4)],
        operations=[operation("_FusedConv2D", 0.4), operation("Conv2D", 0.2), operation("Mul", 0.4)],
    )
    new = document(
        environment,
        config=StepConfig(batch_size=8, execution="xla").to_dict(),
        parts=[part("stem", "forward", 0.1), part("stem", "backward", 1.0), part("pool_3", "forward", 0.02)],
        operations=[operation("Conv2D", 0.3), operation("SelectAndScatter", 0.82)],
    )
    return write, base, new


def compared(profiles):
    write, base, new = profiles
    sides = [comparison.load(write(name, stored)) for name, stored in (("base", base), ("new", new))]
    return comparison.compare(*sides)


def times_of(changes):
    return [(change.name, pytest.approx(change.base_seconds), pytest.approx(change.new_seconds)) for change in changes]


def test_differences_are_of_one_step_and_the_largest_comes_first(profiles):
    result = compared(profiles)
    assert times_of(result.parts) == [("stem", 0.3, 0.55), ("main", 0.2, 0.0), ("pool_3", 0.0, 0.01)]
    assert result.parts[0].difference == pytest.approx(0.25)
    assert result.parts[0].ratio == pytest.approx(0.55 / 0.3)
    assert result.parts[2].ratio is None
    assert times_of(result.by_direction)[0] == ("stem backward", 0.2, 0.5)


def test_a_type_that_a_library_renamed_is_compared_with_its_own(profiles):
    assert times_of(compared(profiles).operations) == [
        ("SelectAndScatter", 0.0, 0.41),
        ("Mul", 0.2, 0.0),
        ("Conv2D", 0.3, 0.15),
    ]


def test_the_answer_names_what_grew_and_what_shrank(profiles):
    assert profile_comparison_report.answer(compared(profiles)) == (
        "NEW spends 60 ms more inside operations a step than BASE. "
        "By type of operation, slower SelectAndScatter +410 ms; faster Mul −200 ms, Conv2D −150 ms. "
        "By part of the network, slower stem +250 ms, pool_3 +10 ms; faster main −200 ms."
    )


def test_the_answer_turns_when_the_profiles_are_swapped(profiles):
    write, base, new = profiles
    swapped = profile_comparison_report.answer(compared((write, new, base)))
    assert swapped.startswith("NEW spends 60 ms less inside operations a step than BASE.")
    assert swapped.endswith("By part of the network, slower main +200 ms; faster stem −250 ms, pool_3 −10 ms.")


def test_no_comparison_calls_itself_a_verdict(profiles):
    text = to_terminal(profile_comparison_report.document(compared(profiles)))
    assert "taken under the profiler" in text
    for verdict in ("FASTER", "SLOWER", "SAME", "UNRESOLVED"):
        assert verdict not in text


def test_other_batches_are_compared_by_the_image_and_it_is_said(profiles):
    write, base, new = profiles
    new = new | {"config": StepConfig(batch_size=16).to_dict()}
    result = compared((write, base, new))
    assert times_of(result.parts)[0] == ("main", 0.025, 0.0)
    assert "an image than BASE" in profile_comparison_report.answer(result)
    assert any("of one image" in caveat for caveat in profile_comparison_report.caveats(result))
    assert any("batch_size: 8 → 16" in caveat for caveat in profile_comparison_report.caveats(result))


def test_other_image_sizes_are_refused(profiles):
    write, base, new = profiles
    with pytest.raises(GnetError, match=r"new: image_size is 96, in .*base it is 224"):
        compared((write, base, new | {"config": StepConfig(batch_size=8, image_size=96).to_dict()}))


def test_other_machines_are_labelled(profiles):
    write, base, new = profiles
    other = json.loads(json.dumps(new))
    other["environment"]["machine"]["processor"] = "Another Processor"
    result = compared((write, base, other))
    assert result.across_machines
    assert any(caveat.startswith("ACROSS MACHINES") for caveat in profile_comparison_report.caveats(result))
    assert any("Another Processor" in caveat for caveat in profile_comparison_report.caveats(result))


def test_times_that_were_counted_in_different_ways_are_told(profiles):
    write, base, new = profiles
    same, other = (compared((write, base, new | {"note": note})) for note in (base["note"], "Counted otherwise."))
    assert not any("in different ways" in caveat for caveat in profile_comparison_report.caveats(same))
    assert any("NEW: Counted otherwise." in caveat for caveat in profile_comparison_report.caveats(other))


def test_the_same_counting_in_the_words_of_an_earlier_version_is_the_same(profiles):
    write, base, new = profiles
    base["note"] = "Self time of the device's kernels, each counted to the eager operation that launched it."
    result = compared((write, base, new | {"counting": "launched kernels", "note": COUNTINGS["launched kernels"]}))
    assert not result.shared_out


def test_times_that_were_counted_in_different_ways_add_up_to_the_steps(profiles):
    write, base, new = profiles
    new = new | {"note": "Counted otherwise."}
    new["trace"]["untraced_step_seconds"] = [0.7, 0.7]
    result = compared((write, base, new))
    assert result.shared_out
    for changes in (result.parts, result.by_direction, result.operations):
        assert sum(change.base_seconds for change in changes) == pytest.approx(0.5)
        assert sum(change.new_seconds for change in changes) == pytest.approx(0.7)
    assert times_of(result.parts)[0] == ("stem", 0.3, pytest.approx(0.7 * 1.1 / 1.12))
    answer = profile_comparison_report.answer(result)
    assert answer.startswith(
        "NEW takes 200 ms more a step than BASE, without the profiler. The two traces count time in different ways, so "
        "here every figure is a share of its own side's time inside operations, taken of its step without the profiler."
    )
    assert "slower stem +387 ms" in answer
    assert profile_comparison_report.pictures(result)[0].title.startswith("stem changed most, +387 ms")
    caveats = profile_comparison_report.caveats(result)
    assert profile_comparison_report.SHARED_OUT in caveats
    assert profile_comparison_report.SUMMED not in caveats
    assert profile_comparison_report.to_json(result)["shares_of_the_untraced_step"] is True


def test_shares_of_steps_of_other_batches_are_of_one_image(profiles):
    write, base, new = profiles
    new = new | {"note": "Counted otherwise.", "config": StepConfig(batch_size=16).to_dict()}
    result = compared((write, base, new))
    assert sum(change.base_seconds for change in result.parts) == pytest.approx(0.5 / 8)
    assert sum(change.new_seconds for change in result.parts) == pytest.approx(0.5 / 16)
    assert "less an image than BASE" in profile_comparison_report.answer(result)


def test_a_profile_against_itself_has_changed_nothing(profiles):
    write, base, _ = profiles
    result = compared((write, base, base))
    assert profile_comparison_report.answer(result) == (
        "NEW spends as long inside operations a step as BASE. "
        "Nothing changed, by type of operation or by part of the network."
    )
    parts, operations = profile_comparison_report.pictures(result)
    assert parts.title.startswith("No part changed: ")
    assert operations.title == "No type of operation changed"
    assert (
        "−0" not in to_terminal(profile_comparison_report.document(result)) + parts.description + operations.description
    )


def test_times_that_cannot_be_divided_have_no_ratio(profiles, tmp_path):
    write, base, new = profiles
    base["operations"], base["parts"] = [operation("Mul", 1e-320)], [part("stem", "forward", 1e-320)]
    new["operations"] = [operation("Mul", 1.0)]
    for note in (base["note"], "Counted otherwise."):
        result = compared((write, base, new | {"note": note}))
        assert note != base["note"] or result.operations[0].ratio is None
        out = tmp_path / f"out-{result.shared_out}"
        out.mkdir()
        profile_comparison_report.write(result, out)
        assert "inf" not in (out / "comparison.json").read_text().lower().replace("information", "")


def test_a_note_of_megabytes_is_cut_and_harmless(profiles):
    write, base, _ = profiles
    stored = base | {"operations": [], "parts": [], "note": f"\x1b[2J{'x' * 1_000_000}"}
    with pytest.raises(GnetError) as refused:
        comparison.load(write("base", stored))
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 2000


def test_profiles_without_parts_are_compared_by_type_alone(profiles):
    write, base, new = profiles
    result = compared((write, base, new | {"parts": []}))
    assert result.parts == []
    assert len(profile_comparison_report.pictures(result)) == 1
    assert any(
        caveat.startswith("By part of the network: not available")
        for caveat in profile_comparison_report.caveats(result)
    )
    assert profile_comparison_report.answer(result).endswith("faster Mul −200 ms, Conv2D −150 ms.")


def test_a_profile_without_operations_is_refused_with_its_reason(profiles):
    write, base, new = profiles
    with pytest.raises(GnetError, match=r"new: its trace tells no operations to compare by\. It was empty"):
        compared((write, base, new | {"operations": [], "parts": [], "note": "It was empty."}))


def test_a_run_with_one_trace_stands_for_its_profile(profiles, run_directory):
    _, base, _ = profiles
    run_directory.add(StepConfig(batch_size=8), [1.0])
    with pytest.raises(GnetError, match=r"run: it holds no profile; name a directory of gnet profile"):
        comparison.load(run_directory.path)
    for number, name in enumerate(("first", "second")):
        folder = run_directory.path / "traces" / name
        folder.mkdir(parents=True)
        (folder / "profile.json").write_text(json.dumps(base))
        if number == 0:
            assert comparison.load(run_directory.path)[1] == folder
    with pytest.raises(GnetError, match=r"run: it holds 2 profiles"):
        comparison.load(run_directory.path)


def test_a_profile_that_cannot_be_read_is_refused_by_directory_and_field(profiles):
    write, base, _ = profiles
    directory = write("bad", base | {"operations": 3})
    with pytest.raises(GnetError, match=r"bad: profile\.json: field 'operations' is 3"):
        comparison.load(directory)
    (directory / "profile.json").unlink()
    with pytest.raises(GnetError, match=r"profile\.json: there is no such file"):
        comparison.load(directory)


def test_the_pictures_show_differences_by_part_in_the_order_of_a_step(profiles):
    parts, operations = profile_comparison_report.pictures(compared(profiles))
    assert parts.title.startswith("stem changed most, +250 ms")
    assert parts.description.index("stem") < parts.description.index("pool_3") < parts.description.index("main")
    assert operations.title == "SelectAndScatter changed most, +410 ms"


def test_the_files_say_the_same_and_the_page_needs_nothing_else(profiles, tmp_path):
    result = compared(profiles)
    (tmp_path / "out").mkdir()
    profile_comparison_report.write(result, tmp_path / "out")
    files = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    plots = ["plots/profile-operations-compared.svg", "plots/profile-parts-compared.svg"]
    assert files == ["comparison.json", *plots, "report.html", "report.md"]
    markdown, page = ((tmp_path / "out" / name).read_text() for name in ("report.md", "report.html"))
    answer = profile_comparison_report.answer(result)
    assert answer in page.replace("&#39;", "'")
    assert answer.replace("_", r"\_") in markdown
    assert re.search(r"\| stem +\| +300 \| +550 \| +\+250 \| +1\.83 \|", markdown)
    assert [each for each in Page(page).addresses if not each.startswith("#")] == []
    assert json.loads((tmp_path / "out" / "comparison.json").read_text()) == profile_comparison_report.to_json(result)


def test_hostile_names_are_inert(profiles):
    write, base, new = profiles
    new["operations"].append(operation(HOSTILE, 9.0))
    result = compared((write, base, new))
    page = to_html(profile_comparison_report.document(result))
    assert "<script" not in page
    assert "\x1b" not in page + to_terminal(profile_comparison_report.document(result))
    markdown = to_markdown(profile_comparison_report.document(result))
    assert "<script>" not in markdown.replace(r"\<script\>", "")
    assert "[x](" not in markdown.replace(r"\[x\](", "")


@pytest.fixture
def gnet(gnet, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return gnet


def test_compare_profiles_prints_writes_and_ends_well(profiles, gnet, tmp_path):
    write, base, new = profiles
    directories = write("base", base), write("new", new)
    status, out, err = gnet("compare", "--profiles", *directories, "--out", tmp_path / "out")
    assert (status, err) == (0, "")
    assert "slower stem +250 ms" in out
    assert str(tmp_path / "out" / "report.html") in out
    assert (tmp_path / "out" / "report.html").is_file()
    status, out, err = gnet("compare", "--profiles", *directories, "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["parts"][0]["name"] == "stem"
    assert len(list((tmp_path / "reports").glob("*-compare-profiles/report.md"))) == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--fail-on", "slower"], "fail_on: "),
        (["--margin", "2"], "margin: "),
        (["--across-machines"], "across_machines: "),
        (["--like-base", "base"], "like_base: "),
        (["--out", "base"], "out: "),
    ],
)
def test_compare_profiles_refuses_what_asks_for_verdicts_and_a_directory_with_files(profiles, gnet, words, part):
    write, base, new = profiles
    status, out, err = gnet("compare", "--profiles", write("base", base), write("new", new), *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"gnet: {part}")
    assert err.count("\n") == 1


def test_compare_profiles_refuses_what_is_no_directory_of_ours(profiles, gnet, tmp_path):
    write, base, _ = profiles
    status, _, err = gnet("compare", "--profiles", write("base", base), tmp_path / "nothing")
    assert status == 2
    assert "nothing/run.json: there is no such file" in err
