"""Each view answers for any field of StepConfig, and a column appears for whatever differs between a section's rows."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from gnet_core.config import StepConfig
from gnet_core.report import run as report
from gnet_core.report.fields import field_words, setting_words, value_words
from gnet_core.report.summary import Summary
from gnet_core.results import records
from tests.conftest import RunDirectory
from tests.results.test_older_files import OTHER as CHANGED
from tests.stored import processes
from tests.svg import words

OTHER: dict[str, Any] = {**CHANGED, "layers": "keras", "framework": "jax"}
FIELDS = [field for field in OTHER if field not in ("device", "seed")]
"""All but the seed, which a case's name leaves out, and the device, of which a run has one."""


def answered(directory: RunDirectory, view: str, field: str, **more: Any) -> Any:
    """The section of a suite of that view which varies the field, whose default is twice as fast as the other value."""
    base = getattr(StepConfig, field)
    compared = base if view in ("comparison", "parts") else None
    suite = {"name": "new", "question": "?", "view": view, "varies": field, "base": compared}
    suite |= {"base_fields": {}, "costs": ""}
    directory.document["suites"] = [suite | more]
    for value, seconds in ((base, 1.0), (OTHER[field], 2.0 if view != "parts" else 0.5)):
        config = dataclasses.replace(StepConfig(), **{field: value})
        seconds *= config.batch_size / StepConfig.batch_size
        directory.add(config, *processes(seconds), suites=("new",))
    (section,) = Summary(records.load_run(directory.path)).sections
    return section


def cells(section: Any, heading: str) -> list[str]:
    table = section.short_table()
    return [row[table.headings.index(heading)].text for row in table.rows]


@pytest.mark.parametrize("view", ["comparison", "scaling", "parts", "speed"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_view_answers_for_any_field(run_directory, view, field):
    section = answered(run_directory, view, field)
    values = [getattr(StepConfig, field), OTHER[field]]
    assert cells(section, field_words(field)) == [value_words(value) for value in values]
    assert section.fields.count(field) == 1
    text = " ".join(" ".join(sentence) for sentence in section.answers())
    assert "No answer" not in text
    in_words = [setting_words(field, value) for value in values]
    plain = [value if isinstance(value, str) else setting_words(field, value) for value in values]
    assert any(word in text for word in (*in_words, *plain))
    picture = section.picture()
    assert picture.title
    assert any(word.partition(",")[0] in " ".join(words(picture)) for word in (*map(value_words, values), *plain))
    assert re.search(r"\d+\.\d+ images/s|\d+ ms|\d\.\d+×", picture.description)
    findings = section.findings()
    assert bool(findings) == (view != "speed")


def test_a_comparison_says_the_field_in_words_and_how_the_row_is_called_without_it(run_directory):
    section = answered(run_directory, "comparison", "image_size")
    (answer,) = section.answers()
    assert answer.point == f"image size {OTHER['image_size']} is SLOWER than image size 224:"
    assert answer.rest.endswith("graph, float32, batch 32.")


def test_what_something_costs_is_a_share_of_the_step(run_directory):
    section = answered(run_directory, "comparison", "dropout", costs="dropout")
    (answer,) = section.answers()
    assert answer.point.endswith("of a step goes to dropout:")
    assert cells(section, "× dropout on") == ["1", "0.500"]


def test_several_fields_that_differ_have_a_column_each_and_what_does_not_differ_is_stated_once(run_directory):
    run_directory.document["suites"] = run_directory.document["suites"][:1]
    for number, (size, momentum) in enumerate(((96, 0.9), (96, 0.99), (128, 0.99))):
        config = StepConfig(image_size=size, bn_momentum=momentum, widths="paper", batch_size=8)
        run_directory.add(config, *processes(1.0 + number))
    (section,) = Summary(records.load_run(run_directory.path)).sections
    assert cells(section, "image size") == ["96", "96", "128"]
    assert cells(section, "batch-norm momentum") == ["0.9", "0.99", "0.99"]
    assert section.short_table().shared == "execution graph, precision float32, batch 8, widths paper"
    named = [section.named(row) for row in section.rows]
    assert named[0] == "graph, float32, batch 8, image size 96, widths paper, batch-norm momentum 0.9"
    assert len(set(named)) == 3
    heading = report.to_csv(section.run).splitlines()[0]
    assert heading.endswith(",run,bn_momentum")


def test_a_field_that_only_one_value_of_a_run_has_is_not_reported_of_every_row(run_directory):
    run_directory.add(StepConfig(image_size=96, seed=3, classes=10), *processes(1.0))
    (section,) = Summary(records.load_run(run_directory.path)).sections
    assert section.named(section.rows[0], whole=True) == "graph, float32, batch 32"


def test_the_speed_of_small_images_does_not_stand_for_that_of_large_ones(run_directory):
    answered(run_directory, "comparison", "image_size")
    run_directory.add(StepConfig(image_size=96), *processes(0.1), suites=("new",))
    fastest = report.to_json(Summary(records.load_run(run_directory.path)))["findings"][0]
    largest = max(224, OTHER["image_size"])
    assert f"image size {largest}:" in fastest
    assert "320.0" not in fastest
