"""The GPU of a run in its report, from turns that are made up."""

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.report import gpu as gpu_report
from gnet_core.report import run as report
from gnet_core.report.summary import Summary
from gnet_core.results import records
from gnet_core.results.gpu_summary import Spread
from tests.stored import markdown, terminal

GRAPH = StepConfig(device="gpu:0", batch_size=64)
EAGER = StepConfig(device="gpu:0", batch_size=64, execution="eager")

WORKING = {
    "gpu_samples": 40,
    "gpu_sm_clock_hz": 1.41e9,
    "gpu_sm_clock_change": 0.0,
    "gpu_power_watts": 690.0,
    "gpu_power_limit_watts": 700.0,
    "gpu_temperature_celsius": 61.0,
    "gpu_throttle_reasons": "power cap",
    "gpu_power_cap_share": 0.98,
    "gpu_energy_joules": 1280.0,
}


def working(**changes):
    return WORKING | {f"gpu_{name}": value for name, value in changes.items()}


def figures(row):
    return row.gpu_power_watts, row.gpu_sm_clock_hz, row.images_per_joule


@pytest.fixture
def gpu_run(run_directory):
    run_directory.document["device"] = "gpu:0"
    return run_directory


def load(directory):
    return records.load_run(directory.path)


def test_a_case_has_the_median_turns_power_and_clock_and_the_images_of_a_joule(gpu_run):
    clocks = [1.3e9, 1.4e9, 1.5e9]
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda number: working(sm_clock_hz=clocks[number], power_watts=600 + number))
    run = load(gpu_run)
    (row,) = run.rows
    assert figures(row) == (601.0, 1.4e9, 2 * 64 / 1280)
    gpu = run.gpu_by_case[row.case]
    assert gpu == run.gpu
    assert gpu.sm_clock_hz == Spread(median=1.4e9, low=1.3e9, high=1.5e9)


def test_a_turn_without_energy_leaves_its_images_out_too(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda number: working(energy_joules=None if number else 1280.0))
    assert load(gpu_run).rows[0].images_per_joule == 2 * 64 / 1280


def test_each_case_has_its_own_gpu_and_the_run_has_both(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda _number: working())
    gpu_run.add(EAGER, [1.0] * 3, gpu=lambda _number: working(power_watts=300.0, power_cap_share=0.0))
    run = load(gpu_run)
    assert [row.gpu_power_watts for row in run.rows] == [690.0, 300.0]
    assert run.gpu.turns == 6
    assert run.gpu.power_watts == Spread(median=495.0, low=300.0, high=690.0)
    assert run.gpu.power_cap_share == pytest.approx(0.49)


OLD = {"gpu_sm_clock_hz": 0.3e9, "gpu_power_watts": 80.0, "gpu_throttle_reasons": "", "gpu_energy_joules": 1280.0}


def test_a_run_that_looked_at_its_gpu_after_the_turns_has_its_energy_alone(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda _number: OLD)
    run = load(gpu_run)
    assert figures(run.rows[0]) == (None, None, 2 * 64 / 1280)
    assert (run.gpu, run.gpu_by_case) == (None, {})


def test_a_table_that_lost_some_of_these_columns_tells_the_others(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda _number: {"gpu_samples": 40, "gpu_power_watts": 690.0})
    run = load(gpu_run)
    assert figures(run.rows[0]) == (690.0, None, None)
    assert (run.gpu.lowered_turns, run.gpu.settling_turns, run.gpu.power_cap_share) == ({}, 0, None)


@pytest.mark.parametrize(
    ("column", "lie"),
    [
        ("power_watts", 0),
        ("power_watts", 4294967.295),
        ("power_watts", "much"),
        ("sm_clock_hz", 0),
        ("sm_clock_hz", 4.294967295e15),
    ],
)
def test_a_figure_that_cannot_be_is_none(gpu_run, column, lie):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda _number: working(**{column: lie}))
    assert getattr(load(gpu_run).rows[0], f"gpu_{column}") is None


def told_of(directory):
    run = load(directory)
    return gpu_report.lines(run, Summary(run).sequential), gpu_report.by_case(run)


def test_a_gpu_at_its_power_limit_is_told_of_once(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda number: working(power_watts=690.0 + number))
    lines, cases = told_of(gpu_run)
    assert lines == [
        "While a block was timed the GPU drew 691 W (690–692), ran at 1.41 GHz, was at 61 °C: the median of 3 turns, "
        "and in parentheses the lowest and the highest.",
        "It ran at its power limit of 700 W for 98% of that time.",
    ]
    assert cases.headings == ["case", "W", "GHz", "°C", "at its limit", "images/J"]
    assert tuple(cell.text for cell in cases.rows[0])[1:] == ("691 (690–692)", "1.41", "61", "98%", "0.10")


def test_slowdowns_and_clocks_that_had_not_settled_are_told_with_their_turns(gpu_run):
    def gpu(number):
        hot = (
            "power cap, too hot (software), power brake" if number == 0 else "too hot (software)" if number == 1 else ""
        )
        return working(throttle_reasons=hot, sm_clock_change=-0.2 if number == 3 else 0.04)

    gpu_run.add(GRAPH, [1.0] * 4, gpu=gpu)
    lines, cases = told_of(gpu_run)
    assert lines[2:] == [
        "What else lowered its clock, of 4 turns: too hot (software) in 2, power brake in 1.",
        "In 1 of 4 turns its clock had not settled: in the block's first quarter it was more than 4% off the rest's.",
    ]
    assert tuple(cell.text for cell in cases.rows[0])[-2:] == (
        "1 of 4",
        "too hot (software) 2 of 4, power brake 1 of 4",
    )


def test_what_the_driver_does_not_tell_is_left_out(gpu_run):
    untold = dict.fromkeys(set(WORKING) - {"gpu_samples", "gpu_temperature_celsius"})
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda _number: WORKING | untold)
    lines, cases = told_of(gpu_run)
    assert [line.partition(":")[0] for line in lines] == ["While a block was timed the GPU was at 61 °C"]
    assert cases.headings == ["case", "°C"]


def test_a_gpu_of_which_nothing_is_told_is_said_to_be_so(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3)
    lines, cases = told_of(gpu_run)
    assert lines == ["NVML told nothing of the GPU while it worked, so its clock, power and throttling are not known."]
    assert cases.rows == []


SEQUENTIAL = f"Comparisons are sequential where workers did not fit together: those of {EAGER.name}"


@pytest.mark.parametrize(
    ("memory", "sentences"),
    [
        (
            {"free_bytes": 2**36, "budget_bytes": 2**35, "note": ""},
            ["Of the 64.0 GiB that were free of its memory 32.0 GiB were planned for workers that are alive together."],
        ),
        ({"free_bytes": None, "budget_bytes": 0, "note": "NVML tells nothing"}, ["NVML tells nothing."]),
    ],
)
def test_what_did_not_fit_into_the_memory_together_is_told_where_it_changed_a_comparison(gpu_run, memory, sentences):
    gpu_run.document["gpu_memory"] = memory
    gpu_run.add(GRAPH, [1.0] * 3, [1.0] * 3, suites=("execution",))
    gpu_run.add(EAGER, [1.0] * 3, [1.0] * 3, suites=("execution",), sequential=True)
    assert told_of(gpu_run)[0][1:] == [*sentences, f"{SEQUENTIAL}."]
    gpu_run.document["cohorts"][0]["workers"].append(f"{EAGER.name}.r1")
    gpu_run.write()
    assert told_of(gpu_run)[0][-1] == (f"{SEQUENTIAL}; crowded out by others and measured again alone: {EAGER.name}.")


def test_memory_of_which_no_figure_can_be_is_refused(gpu_run):
    gpu_run.document["gpu_memory"] = {"free_bytes": "1", "budget_bytes": 0, "note": ""}
    gpu_run.add(GRAPH, [1.0] * 3, suites=("execution",))
    with pytest.raises(
        GnetError, match=r"gpu_memory\.free_bytes' is '1'; it has to be a whole number, 0 or more or null"
    ):
        load(gpu_run)


def test_memory_that_decided_nothing_is_not_told(gpu_run):
    gpu_run.document["gpu_memory"] = {"free_bytes": 2**36, "budget_bytes": 2**35, "note": ""}
    for config in (GRAPH, EAGER):
        gpu_run.add(config, [1.0] * 3, suites=("execution",))
    assert len(told_of(gpu_run)[0]) == 1


def test_a_run_on_a_cpu_says_nothing_of_a_gpu(run_directory):
    run_directory.add(StepConfig(), [1.0] * 3)
    assert told_of(run_directory)[0] == []
    assert "The GPU while it worked" not in markdown(load(run_directory))


def test_every_form_of_the_report_tells_of_the_gpu(gpu_run):
    gpu_run.add(GRAPH, [1.0] * 3, gpu=lambda _number: working(throttle_reasons="<b>hot</b>"))
    run = load(gpu_run)
    report.write(Summary(run))
    page = (gpu_run.path / "report.html").read_text(encoding="utf-8")
    for text in (markdown(run), page, terminal(run)):
        assert "drew 690 W" in text
    for text in (markdown(run), page):
        assert "The GPU while it worked" in text
        assert "<b>hot" not in text
    assert report.to_json(Summary(run))["rows"][0]["gpu_power_watts"] == 690.0
    assert ",gpu_power_watts,gpu_sm_clock_hz," in report.to_csv(run).splitlines()[0]
