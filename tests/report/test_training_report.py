"""A training session as a reader sees it, from its stored document alone."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.report import training as reporting
from gnet_core.report.html import to_html
from gnet_core.report.markdown import to_markdown
from gnet_core.report.terminal import to_terminal
from gnet_core.training.document import SAMPLE_SIDE, read_training
from gnet_core.training.ledger import WallTime
from gnet_core.training.recipe import PLAIN, RECIPE
from tests.conftest import MACHINE, TENSORFLOW
from tests.svg import parsed, words

HOSTILE = "<script>alert(1)</script>|a|`b`\n# [x](http://y)\x1b[2J"


def pixels() -> str:
    size = SAMPLE_SIDE * SAMPLE_SIDE * 3
    return base64.b64encode((bytes(range(256)) * (size // 256 + 1))[:size]).decode()


def record(epoch: int, accuracy: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_loss": 1.0 / epoch,
        "train_accuracy": accuracy,
        "test_loss": 1.5 / epoch,
        "test_accuracy": accuracy,
        "epoch_seconds": 2.0,
        "images_per_second": 80.0,
        "skipped_steps": 0,
    }


def stored(classes: int = 3, **changes: Any) -> dict[str, Any]:
    """Of the last class one image in ten is taken for the first."""
    names = [f"class {number}" for number in range(classes)]
    confusion = [{"label": label, "said": label, "images": 10 - (label == classes - 1)} for label in range(classes)]
    document = {
        "format_version": 1,
        "created": "2026-11-26T12:00:00+00:00",
        "environment": copy.deepcopy({"machine": MACHINE, "tensorflow": TENSORFLOW}),
        "config": StepConfig(data="digits", classes=classes, image_size=72).to_dict(),
        "recipe": dataclasses.asdict(RECIPE),
        "epochs": 3,
        "steps_per_epoch": 5,
        "data_set": {"data": "digits", "class_names": names, "train_images": 160, "test_images": 10 * classes},
        "history": [record(1, 0.5), record(2, 0.98), record(3, 0.97)],
        "wall_time": dataclasses.asdict(WallTime(imports=1.0, train=8.0, test=1.0)),
        "wall_seconds": 10.0,
        "target": 0.975,
        "reached": {"epoch": 2, "step": 10, "seconds": 7.5},
        "confusion": [*confusion, {"label": classes - 1, "said": 0, "images": 1}],
        "samples": [
            {"label": 0, "said": 0, "probability": 0.9, "pixels": pixels()},
            {"label": 2, "said": 0, "probability": 0.8, "pixels": pixels()},
        ],
    }
    return document | changes


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def write_and_read(**changes: Any) -> Any:
        (tmp_path / "training.json").write_text(json.dumps(stored(**changes)))
        return read_training(tmp_path)

    return write_and_read


def text_of(training: Any) -> str:
    return to_terminal(reporting.document(training, with_pictures=False))


def test_the_report_says_what_it_came_to_and_when_the_target_was_reached(read: Any) -> None:
    text = text_of(read())
    assert "Test accuracy 97.00% after epoch 3, the last; best 98.00% after epoch 2." in text
    assert "The target of 97.50% was reached after epoch 2, step 10, 7.5 s." in text
    assert "The target of 97.50% was not reached." in text_of(read(reached=None))
    assert "target" not in text_of(read(reached=None, target=None))


def test_classes_are_listed_the_worst_first_with_what_they_were_taken_for(read: Any) -> None:
    text = text_of(read())
    assert re.search(r"class 2 +class 0 +1 +10%", text)
    assert text.index("class 2  ", text.index("Accuracy by class")) < text.index("class 0  ", text.index("Accuracy by"))
    assert re.search(r"class 2 +90.0% +9 +10", text)


def test_the_ledger_sums_to_the_wall_time_or_says_that_it_does_not(read: Any) -> None:
    assert "The entries sum to 10.00 s of 10.00 s of wall time (0.0% apart)." in text_of(read())
    assert "more than 1%: do not quote them" in text_of(read(wall_seconds=10.5))


def test_as_published_the_report_says_why_it_collapses(read: Any) -> None:
    config = StepConfig(data="digits", classes=3, image_size=72, as_published=True).to_dict()
    text = text_of(read(config=config, recipe=dataclasses.asdict(PLAIN)))
    assert "ln 3 = 1.099" in text
    assert "33.33%" in text
    assert "cannot learn" in text
    assert "collapses" not in text_of(read())


def pictures(training: Any) -> dict[str, Any]:
    from gnet_core.report.document import pictures_in

    document = reporting.document(training)
    return {picture.name: picture for picture in pictures_in([*document.summary, *document.sections])}


def test_a_learning_rate_that_stays_has_no_highest(read: Any) -> None:
    def title(training: Any) -> str:
        return " ".join(words(pictures(training)["learning-rate"]))

    assert re.search(r"The learning rate is [\d.]+ throughout", title(read(recipe=dataclasses.asdict(PLAIN))))
    assert "after a highest of" in title(read())


def test_the_pictures_are_whole_and_the_sheet_marks_right_and_wrong(read: Any) -> None:
    drawn = pictures(read())
    assert drawn.keys() == {"curves", "learning-rate", "confusion", "accuracy-by-class", "sheet"}
    for picture in drawn.values():
        parsed(picture.svg)
        assert not re.search(r'(href|src)="(?!#|data:image/png;base64,)', picture.svg)
    said = words(drawn["sheet"])
    assert any("✓ class 0 90%" in word for word in said)
    assert any("✗ class 0 80%" in word for word in said)
    assert "9" in words(drawn["confusion"])


def test_of_many_classes_there_is_no_heat_map_but_the_pairs(read: Any) -> None:
    training = read(classes=47)
    assert "confusion" not in pictures(training)
    assert re.search(r"class 46 +class 0 +1 +10%", text_of(training))


def test_the_files_need_nothing_else_and_can_be_written_again(read: Any, tmp_path: Path) -> None:
    training = read()
    for _ in range(2):
        reporting.write(tmp_path, training)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 5
    assert not re.search(r'(src|href)="https?:', page)
    assert (tmp_path / "plots" / "curves.svg").exists()
    assert (tmp_path / "report.md").read_text().startswith("# What GoogleNet")


def test_hostile_names_stay_text(read: Any) -> None:
    data_set = {"data": HOSTILE, "class_names": [HOSTILE] * 3, "train_images": 1, "test_images": 30}
    document = reporting.document(read(data_set=data_set))
    assert "<script" not in to_html(document)
    assert "<script" not in to_markdown(document).replace("\\<script", "")
    assert "\x1b" not in to_terminal(document)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"history": []}, "field 'history' is \\[\\]; it has to be a list of one epoch or more"),
        ({"history": [record(2, 0.5)]}, "'history\\[0\\]' is of epoch 2; it has to be of 1"),
        ({"confusion": [{"label": 0, "said": 3, "images": 1}]}, "'confusion\\[0\\]' is of a class beyond the 3"),
        ({"confusion": [{"label": 0, "said": 0, "images": 0}]}, "images' is 0; it has to be a whole number, 1 or more"),
        ({"samples": [{"label": 0, "said": 0, "probability": 2, "pixels": pixels()}]}, "a fraction from 0 to 1"),
        ({"samples": [{"label": 0, "said": 0, "probability": 1, "pixels": "AAAA"}]}, "bytes in base 64"),
        ({"samples": [{"label": 0, "said": 0, "probability": 1, "pixels": "?"}]}, "bytes in base 64"),
        ({"config": {"batch_size": 0}}, "batch_size: 0 will not do"),
        ({"format_version": 2}, "field 'format_version' is 2; it has to be one of 1"),
        ({"wall_seconds": float("nan")}, "NaN is no number"),
    ],
)
def test_a_document_that_is_none_is_refused_by_field(read: Any, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(GnetError, match=rf"training\.json.*{complaint}"):
        read(**changes)
