"""time_to_accuracy.json refuses by field whatever is wrong or does not fit together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gnet_core.config import GnetError
from gnet_core.time_to_accuracy import document as documents
from tests.time_to_accuracy.documents import LOST, WAITING, stored, written

TIMES: dict[str, list[float | None]] = {"float32": [20.0, 22.0], "mixed_bfloat16": [10.0, None]}


def test_a_document_is_read_as_it_was_written_and_sessions_are_a_table(tmp_path: Path) -> None:
    document = written(tmp_path, stored(TIMES))
    documents.write(tmp_path, document)
    assert documents.read(tmp_path) == document
    table = pd.read_csv(tmp_path / "sessions.csv")
    assert table["order"].tolist() == [1, 2, 3, 4]
    assert table["precision"].tolist() == ["float32", "mixed_bfloat16", "mixed_bfloat16", "float32"]
    assert table["reached_seconds"].tolist()[:2] == [20.0, 10.0]
    assert pd.isna(table["reached_seconds"][2])
    assert table["final_accuracy"].tolist() == [0.99, 0.99, 0.8, 0.99]


def change(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain.update(changes)


def change_session(number: int = 0, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain["sessions"][number].update(changes)


def change_reached(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain["sessions"][0]["reached"].update(changes)


def change_config(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain["cases"][number]["config"].update(changes)


def change_options(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plain: plain["options"].update(changes)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (change(format_version=2), "'format_version' is 2; it has to be one of 1"),
        (change(target=1.5), "'target' is 1.5; it has to be a fraction above 0"),
        (change(sessions="none"), "'sessions' is 'none'; it has to be a list"),
        (change(cases=[]), "one configuration or more"),
        (lambda plain: plain["sessions"].pop(), "'sessions' is not each of 2 configurations with each of 2 seeds"),
        (lambda plain: plain["sessions"].reverse(), "'sessions' is not each of 2 configurations"),
        (change_options(seeds=3), "'sessions' is not each of 2 configurations with each of 3 seeds"),
        (change_options(seeds=0), "'options' has a number of seeds"),
        (change_options(epochs="x"), "options: field 'epochs' is 'x'; it has to be a whole number"),
        (change_config(0, batch_size=0), "batch_size: 0 will not do"),
        (change_config(1, image_size=96), r"'cases\[1\]' is not of a configuration of its own"),
        (change_config(0, learning_rate=1.0), r"'cases\[0\]' is not of a configuration of its own"),
        (change_session(status="well"), r"'sessions\[0\].status' is 'well'; it has to be one of waiting"),
        (change_session(test_accuracy=[2.0]), "a fraction from 0 to 1"),
        (change_session(test_accuracy=[0.1]), "is finished after 1 epochs of 4"),
        (change_session(test_accuracy=[0.1] * 5, steps=50), "has 5 epochs of 4"),
        (change_session(steps=41), "has 4 epochs of 4 and 41 steps"),
        (change_session(wall_time=None), "has no wall time"),
        (change_session(reached=None), "reached the target after epoch 3 and does not say when"),
        (change_session(status="waiting"), "is waiting after 1 processes"),
        (change_session(processes=0), "is finished after 0 processes"),
        (change_reached(epoch=2), "did not reach the target after epoch 2"),
        (change_reached(step=31), "did not reach the target after epoch 3, step 31"),
        (change_reached(seconds=31.0), "reached the target after 31.0 s of 30.0 s"),
        (change_reached(seconds=0.0), "one in which its target was not reached"),
        (change_reached(setup_seconds=21.0), "one in which its target was not reached"),
    ],
)
def test_a_document_that_lies_is_refused_by_field(
    spoil: Callable[[dict[str, Any]], None], complaint: str, tmp_path: Path
) -> None:
    plain = stored(TIMES)
    spoil(plain)
    with pytest.raises(GnetError, match=rf"time_to_accuracy\.json.*{complaint}"):
        written(tmp_path, plain)


def test_a_configuration_as_published_is_refused(tmp_path: Path) -> None:
    plain = stored({"float32": [20.0]})
    plain["cases"][0]["config"]["as_published"] = True
    name = f"{plain['cases'][0]['case']}-as_published=True"
    plain["cases"][0]["case"] = plain["sessions"][0]["case"] = name
    with pytest.raises(GnetError, match="as published, which cannot learn"):
        written(tmp_path, plain)


def test_sessions_that_are_to_come_or_were_lost_are_none_that_lie(tmp_path: Path) -> None:
    plain = stored(TIMES)
    plain["sessions"][2].update(LOST)
    plain["sessions"][3].update(WAITING)
    document = written(tmp_path, plain)
    assert not document.complete
    assert document.sessions[2].final_accuracy is None


def test_a_session_that_ends_at_its_target_is_finished_where_that_was_asked_for(tmp_path: Path) -> None:
    plain = stored({"float32": [20.0]})
    plain["options"]["stop_at_target"] = True
    plain["sessions"][0].update(test_accuracy=[0.1, 0.2, 0.99], steps=30)
    assert written(tmp_path, plain).complete
