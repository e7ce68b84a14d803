"""One new file in benchmarks/ is all that a benchmark takes: it is run for real, and read in every form of its report.

Only the train step is none; it sleeps as long as `SECONDS` says of its case.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gnet_core.results.records import Row
from tests.faults import checkout as house

WORDS = ["--preset", "smoke", "--device", "cpu", "--replicates", "3", "--batch-size", "2", "--memory", str(2**33)]

BENCHMARK = '''
"""{question}"""

import dataclasses

from gnet_core.plan.suites import Suite


def cases(sweep):
    return [dataclasses.replace(case, {field}=value) for case in sweep.cases() for value in {values}]


SUITE = Suite(name="{name}", question="{question}", cases=cases, varies="{field}", {more})


def bench_it(benchmark, case, timer):
    timer.time_train_step(benchmark, case)
'''
SECONDS = "0.002 * (config.image_size / 96) ** 2 * (1 + 5 * (config.bn_momentum - 0.9))"


@pytest.fixture(scope="module")
def house_of_suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = house.CASE.replace("time.sleep(0.002)", "time.sleep(self.seconds)")
    case = case.replace("        self.steps = 0\n", f"        self.steps = 0\n        self.seconds = {SECONDS}\n", 1)
    assert "self.seconds = " in case
    assert "sleep(self.seconds)" in case
    return house.make_checkout(tmp_path_factory.mktemp("suites") / "checkout", case=case)


class Report:
    """What a run of one added suite says in each form."""

    def __init__(self, checkout: Path, directory: Path, field: str, values: tuple[Any, ...], more: str) -> None:
        name, question = field.replace("_", "-"), "Does it matter?"
        text = BENCHMARK.format(field=field, values=values, more=more, name=name, question=question)
        added = checkout / "benchmarks" / f"bench_{field}.py"
        added.write_text(text)
        try:
            status, self.terminal, err = house.gnet(checkout, "bench", name, *WORDS, "--out", str(directory))
        finally:
            added.unlink()
        assert status == 0, err
        self.directory, self.name = directory, name
        self.markdown = (directory / "report.md").read_text()
        self.page = (directory / "report.html").read_text()
        rows = csv.reader(io.StringIO((directory / "cases.csv").read_text()))
        self.headings, *self.rows = list(rows)
        status, out, err = house.gnet(checkout, "report", str(directory), "--json")
        assert status == 0, err
        self.json: dict[str, Any] = json.loads(out)

    def column(self, heading: str) -> list[str]:
        """The cells of a column of the short table, as Markdown has it."""
        section = self.markdown.partition(f"## {self.name}: ")[2]
        lines = [line for line in section.partition("<details>")[0].splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        index = cells[0].index(heading)
        return [line[index] for line in cells[2:]]

    def has_everywhere(self, text: str) -> bool:
        forms = (self.markdown.replace("**", "").replace("\\", ""), self.terminal)
        return all(text in " ".join(form.split()) for form in forms) and text in _text_of(self.page)


def _text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", "", page).split()).replace("&#39;", "'")


def measured(checkout: Path, tmp_path: Path, *what: Any) -> Report:
    return Report(checkout, tmp_path / "run", *what)


def test_a_comparison_of_image_sizes_is_told_in_every_form(house_of_suites, tmp_path):
    report = measured(house_of_suites, tmp_path, "image_size", (96, 192), "base=96")
    assert report.column("image size") == ["96", "192"]
    assert report.column("verdict") == ["", "SLOWER"]
    assert re.search(r"All with execution graph, precision float32, batch 2:", report.markdown)
    (said,) = [
        each for each in report.json["findings"] if each.startswith("image size 192 is SLOWER than image size 96")
    ]
    assert report.has_everywhere(said)
    assert report.json["findings"][0].endswith("batch 2, image size 192: " + report.json["findings"][0].split(": ")[-1])
    picture = (report.directory / "plots" / "image-size.svg").read_text()
    assert "image size 192 is SLOWER than image size 96" in " ".join(re.sub(r"<[^>]+>", " ", picture).split())
    assert "![" in report.markdown
    assert report.headings[: report.headings.index("run") + 1] == list(Row.__dataclass_fields__)
    assert report.headings[-1] == "run"  # image_size has had a column ever since
    assert [row[report.headings.index("image_size")] for row in report.rows] == ["96", "192"]
    (suite,) = json.loads((report.directory / "run.json").read_text())["suites"]
    assert (suite["view"], suite["varies"], suite["base"]) == ("comparison", "image_size", 96)


def test_the_scaling_views_axis_is_whatever_varies(house_of_suites, tmp_path):
    report = measured(house_of_suites, tmp_path, "image_size", (96, 128, 192), 'view="scaling"')
    assert report.column("image size") == ["96", "128", "192"]
    (said,) = [each for each in report.json["findings"] if "the smallest, is the most" in each]
    assert re.search(
        r"with graph, float32, batch 2, image size 96, the smallest, is the most; .* at image size 192", said
    )
    assert report.has_everywhere(said)
    picture = re.sub(r"<[^>]+>", " ", (report.directory / "plots" / "image-size.svg").read_text())
    assert {"96", "128", "192"} <= set(picture.split())
    assert "image size in pixels a side" in " ".join(picture.split())


def test_a_field_that_nothing_was_written_for_is_told_as_well(house_of_suites, tmp_path):
    report = measured(house_of_suites, tmp_path, "bn_momentum", (0.9, 0.99), "base=0.9")
    assert report.column("batch-norm momentum") == ["0.9", "0.99"]
    assert report.headings[-2:] == ["run", "bn_momentum"]
    assert [row[-1] for row in report.rows] == ["0.9", "0.99"]
    assert [row["bn_momentum"] for row in report.json["rows"]] == [0.9, 0.99]
    (said,) = [each for each in report.json["findings"] if "than batch-norm momentum 0.9:" in each]
    assert said.startswith("batch-norm momentum 0.99 is SLOWER than batch-norm momentum 0.9:")
    assert report.has_everywhere(said)
    assert (report.directory / "plots" / "bn-momentum.svg").exists()


@pytest.mark.parametrize(
    ("field", "more", "why"),
    [
        (
            "image_size",
            'view="table"',
            "view: 'table' is unknown; use one of comparison, scaling, devices, parts, speed",
        ),
        ("speed", "base=1", "varies: 'speed' is unknown; use one of execution, precision, part,"),
        ("image_size", "base=66", "image_size: 66 will not do; use a whole number of at least 67"),
        (
            "image_size",
            'view="comparison"',
            "base: None will not do beside view 'comparison'; name a value of image_size",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_in_one_line(house_of_suites, field, more, why):
    added = house_of_suites / "benchmarks" / "bench_wrong.py"
    added.write_text(BENCHMARK.format(field=field, values=(96,), more=more, name="wrong", question="?"))
    try:
        status, _, err = house.gnet(house_of_suites, "bench", "wrong", *WORDS)
    finally:
        added.unlink()
    assert (status, len(err.splitlines())) == (2, 1), err
    assert f"benchmarks: bench_wrong.py: {why}" in err
