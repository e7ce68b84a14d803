"""A session's files from a stranger, or damaged: refused in one line, or resumed as they were saved."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.data_set import DataSet, Split
from gnet_core.training.ledger import WallTime
from gnet_core.training.recipe import PLAIN, RECIPE
from gnet_core.training.session import (
    EpochRecord,
    PartOfEpoch,
    Session,
    State,
    load_state,
    recorded_session,
    save_state,
)

MUTATIONS = 400

VALUES = (
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.ones(3, np.float32),
    np.zeros(3, np.float32),
    np.array(7, np.int32),
    np.array([1, 2], np.uint32),
    np.array(1.5, np.float32),
)
RECORDS = [
    EpochRecord(
        epoch=epoch,
        train_loss=2.0,
        train_accuracy=0.5,
        test_loss=2.0,
        test_accuracy=0.5,
        epoch_seconds=1.0,
        images_per_second=16.0,
        skipped_steps=0,
    )
    for epoch in (1, 2, 3)
]
PART = PartOfEpoch(steps=2, loss_sum=32.5, metrics=[1.0, 2.0, 3.0, 4.0], skipped_steps=0, seconds=0.5)
STATE = State(records=RECORDS, part=PART, wall_time=WallTime(train=3.0))
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**70, 10**300, 1e308, float("nan"), float("inf")),
    *("", "\ud800", [], {}, [[]], [1] * 50),
)


class Variable:
    """As much of a Keras variable as a state needs; it notes what is assigned."""

    path = "variable"

    def __init__(self, value: np.ndarray[Any, Any]) -> None:
        self.dtype, self.shape, self._value = value.dtype.name, value.shape, value
        self.assigned: np.ndarray[Any, Any] | None = None

    def numpy(self) -> np.ndarray[Any, Any]:
        return self._value

    def assign(self, value: np.ndarray[Any, Any]) -> None:
        self.assigned = value


def variables() -> list[Variable]:
    return [Variable(value) for value in VALUES]


SPLIT = Split(np.zeros((20, 8, 8), np.uint8), (np.arange(20) % 2).astype(np.uint16))
SESSION = Session.of(
    StepConfig(data="bright", classes=2, image_size=67, batch_size=8),
    DataSet("bright", ("dark", "light"), SPLIT, SPLIT, 67),
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    SESSION.write(tmp_path, {"version": "2.21"})
    save_state(tmp_path / "state.npz", SESSION, variables(), STATE)
    return tmp_path


def members(path: Path) -> dict[str, Any]:
    with np.load(path) as state:
        return dict(state)


def rewritten(path: Path, changes: dict[str, Any], *, signed: bool = True) -> None:
    """The state with other members (None removes one), its digest made to fit as a stranger may do."""
    state = {name: value for name, value in (members(path) | changes).items() if value is not None}
    if signed and {f"arr_{number}" for number in range(len(VALUES))} | {"history"} <= set(state):
        values = [state[f"arr_{number}"] for number in range(len(VALUES))]
        if not any(value.dtype.hasobject for value in values):
            state["sha256"] = SESSION.digest(values, str(state["history"]))
    np.savez(path, **state)


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    start, end = sorted(chance.choices(range(len(content)), k=2))
    match chance.randrange(5):
        case 0:
            return content[:start]
        case 1:
            return content[:start] + content[end:]
        case 2:
            return content[:start] + chance.randbytes(chance.randrange(1, 200)) + content[start:]
        case 3:
            changed[start] ^= 1 << chance.randrange(8)
        case _:
            for _ in range(chance.randrange(1, 8)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON document with each of its keys."""
    pairs = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
    return [(node, key) for key, _ in pairs] + [place for _, value in pairs for place in places(value)]


def mutated_json(document: Any, chance: random.Random) -> Any:
    document = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        node, key = chance.choice(places(document))
        (other, other_key), operation = chance.choice(places(document)), chance.randrange(4)
        if operation == 0:
            del node[key]
        elif operation == 1:
            node[key] = copy.deepcopy(other[other_key])
        elif operation == 2 and isinstance(node, dict):
            node[f"odd{key}"] = copy.deepcopy(chance.choice(ODD))
        else:
            node[key] = copy.deepcopy(chance.choice(ODD))
        if not places(document):
            break
    return document


def mutate(directory: Path, chance: random.Random) -> None:
    session, state = directory / "train.json", directory / "state.npz"
    number = chance.randrange(len(VALUES))
    value = VALUES[number]
    others = (
        np.array([object()]),
        np.zeros((300, 300)),
        np.array("text"),
        value.astype(np.float64),
        value.astype(value.dtype.newbyteorder(">")),
        value[..., np.newaxis],
        np.full(value.shape, np.nan, np.float32),
        np.asfortranarray(value),
        np.zeros(0),
        VALUES[chance.randrange(len(VALUES))],
    )
    match chance.randrange(8):
        case 0:
            session.write_bytes(mutated_bytes(session.read_bytes(), chance))
        case 1 | 2:
            session.write_text(json.dumps(mutated_json(json.loads(session.read_text()), chance)))
        case 3 | 4:
            state.write_bytes(mutated_bytes(state.read_bytes(), chance))
        case 5:
            rewritten(state, {f"arr_{number}": chance.choice(others)}, signed=chance.random() < 0.7)
        case 6:
            history = mutated_json(dataclasses.asdict(STATE), chance)
            rewritten(state, {"history": np.array(json.dumps(history))})
        case _:
            name = chance.choice(("extra", f"arr_{len(VALUES)}", "../x", f"arr_{number}", "history", "sha256"))
            rewritten(state, {name: None if name in members(state) else value})


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_session_is_refused_in_one_line_or_resumed_whole(saved: Path, seed: int) -> None:
    chance = random.Random(seed)
    originals = {name: (saved / name).read_bytes() for name in ("train.json", "state.npz")}
    refusals = 0
    for _ in range(MUTATIONS // 4):
        for name, content in originals.items():
            (saved / name).write_bytes(content)
        mutate(saved, chance)
        loaded = variables()
        refusal, records = None, []
        try:
            assert recorded_session(saved) == Session.read(saved)
            records = load_state(saved / "state.npz", Session.read(saved), loaded).records
        except GnetError as error:
            refusal = str(error)
        if refusal is not None:
            refusals += 1
            assert refusal.startswith("resume: ")
            assert "\n" not in refusal
            assert len(refusal) < 1000
            assert not any(variable.assigned is not None for variable in loaded)
            continue
        assert [record.epoch for record in records] == list(range(1, len(records) + 1))
        for variable in loaded:
            assert variable.assigned is not None
            assert (variable.assigned.dtype, variable.assigned.shape) == (np.dtype(variable.dtype), variable.shape)
            assert np.isfinite(variable.assigned).all()
    assert refusals > MUTATIONS // 8


def test_what_was_saved_is_loaded(saved: Path) -> None:
    loaded = variables()
    assert load_state(saved / "state.npz", Session.read(saved), loaded) == STATE
    for variable, value in zip(loaded, VALUES, strict=True):
        np.testing.assert_array_equal(variable.assigned, value)


def record_with(**changes: Any) -> Callable[[Path], None]:
    history = [dataclasses.asdict(RECORDS[0]) | changes]
    return lambda path: rewritten(path, {"history": np.array(json.dumps(history))})


def part_with(**changes: Any) -> Callable[[Path], None]:
    history = dataclasses.asdict(STATE)
    history["part"] |= changes
    return lambda path: rewritten(path, {"history": np.array(json.dumps(history))})


def history_of(text: str) -> Callable[[Path], None]:
    return lambda path: rewritten(path, {"history": np.array(text)})


def compressed(path: Path) -> None:
    np.savez_compressed(path, **members(path))


def bomb(path: Path) -> None:
    """A member of 200 MB that a file of 200 kB holds."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [*members_of_zip(), "history.npy", "sha256.npy"]:
            archive.writestr(name, bytes(200_000_000 if name == "arr_0.npy" else 10))


def members_of_zip() -> list[str]:
    return [f"arr_{number}.npy" for number in range(len(VALUES))]


def member_twice(path: Path) -> None:
    content = io.BytesIO()
    np.save(content, VALUES[0])
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("arr_0.npy", content.getvalue())


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"{number}", b"")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda path: rewritten(path, {"arr_0": VALUES[0][::-1].copy()}, signed=False), "its digest is not that of"),
        (lambda path: rewritten(path, {"arr_1": VALUES[2], "arr_2": VALUES[1]}, signed=False), "its digest is not"),
        (lambda path: rewritten(path, {"arr_1": np.full(3, np.inf, np.float32)}), "values are not finite"),
        (lambda path: rewritten(path, {"arr_1": np.ones(3)}), "another type or shape"),
        (lambda path: rewritten(path, {"arr_1": np.ones((3, 1), np.float32)}), "another type or shape"),
        (lambda path: rewritten(path, {"arr_1": np.array([[1, 2, 3]], object)}), "another type or shape"),
        (lambda path: rewritten(path, {"arr_1": None}), "its arrays are not those of the network"),
        (lambda path: rewritten(path, {"arr_6": np.ones(3)}), "its arrays are not those of the network"),
        (lambda path: rewritten(path, {"arr_1": np.zeros(10**6)}), "arr_1.npy is too large"),
        (compressed, "is compressed"),
        (bomb, "is compressed"),
        (member_twice, "its arrays are not those of the network"),
        (many_members, "its arrays are not those of the network"),
        (lambda path: path.write_bytes(b""), "Invalid argument"),
        (record_with(test_loss=float("nan")), "NaN is no number"),
        (record_with(test_loss=1e300), "test_loss' is 1e\\+300; it has to be a number of float32"),
        (record_with(test_accuracy=1.5), "test_accuracy' is 1.5; it has to be a fraction from 0 to 1"),
        (record_with(epoch=2), "epoch 2 stands where 1 should"),
        (record_with(epoch=-1), "epoch' is -1"),
        (record_with(epoch=True), "epoch' is True"),
        (record_with(skipped_steps=-3), "skipped_steps' is -3"),
        (record_with(skipped_steps=10**300), "skipped_steps' is 1000"),
        (record_with(odd=1), "it holds what is of no epoch"),
        (history_of("[]"), "it holds no epoch"),
        (history_of("{}"), "it holds what is of no epoch"),
        (history_of("3"), "history: 3 is not what is read here; it has to be an object"),
        (history_of('{"records": {}}'), "'records' is \\{\\}; it has to be a list"),
        (part_with(steps=0), "steps' is 0; it has to be a whole number, 1 or more"),
        (part_with(loss_sum=1e300), "loss_sum' is 1e\\+300"),
        (part_with(metrics="all"), "metrics' is 'all'; it has to be a list"),
        (history_of('[{"epoch": 1, "epoch": 1}]'), "a member twice"),
        (history_of("[" * 20_000 + "]" * 20_000), "recursion"),
        (history_of("[1e999]"), ""),
        (history_of("9" * 5000), ""),
    ],
)
def test_a_state_that_was_not_saved_so_is_refused_before_anything_is_set(
    saved: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    damage(saved / "state.npz")
    loaded = variables()
    with pytest.raises(GnetError, match=rf"^resume: '.*state\.npz' is damaged \(.*{complaint}.*\); put a copy"):
        load_state(saved / "state.npz", SESSION, loaded)
    assert not any(variable.assigned is not None for variable in loaded)


@pytest.mark.parametrize("name", ["train.json", "state.npz"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "endless", "nowhere"])
def test_a_session_file_that_is_no_regular_file_is_refused_without_waiting(saved: Path, name: str, kind: str) -> None:
    path = saved / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "endless":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path.symlink_to({"device": "/dev/zero", "nowhere": "absent"}[kind])
    with pytest.raises(GnetError, match=rf"^resume: '.*{name}' is (damaged|missing)"):
        load_state(saved / "state.npz", Session.read(saved), variables())


DATA_SET = '{"data": "x", "class_names": [], "train_images": 1, "test_images": 1}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "Expecting value"),
        ("[]", "has to be an object"),
        ("[" * 100_000, "recursion"),
        ('{"config": {"learning_rate": NaN}, "data_set": {}}', "NaN is no number"),
        ('{"config": {}, "config": {}}', "a member twice"),
        ('{"config": [], "data_set": {"data": "x"}}', "'config' is \\[\\]; it has to be an object"),
        ('{"config": {"batch_size": 1e3}, "data_set": ' + DATA_SET + "}", "batch_size: 1000.0 will not do"),
        (
            '{"config": {"image_size": 10000000000}, "data_set": ' + DATA_SET + "}",
            "image_size: 10000000000 is too large",
        ),
        ('{"config": {"device": "gpu:99999999999999999999"}, "data_set": ' + DATA_SET + "}", "device: "),
        ('{"config": {}, "data_set": {"data": 3}}', "'data_set.data' is 3; it has to be text"),
        (
            '{"config": {}, "data_set": {"data": "x", "class_names": "ab"}}',
            "'data_set.class_names' is 'ab'; it has to be a list",
        ),
        ('{"config": {}, "data_set": {"data": "x", "class_names": [[]]}}', "is \\[\\]; it has to be text"),
        (
            '{"config": {}, "data_set": {"data": "x", "class_names": [], "train_images": true}}',
            "'data_set.train_images' is True; it has to be a whole number",
        ),
    ],
)
def test_a_train_json_that_is_none_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(GnetError, match=rf"^resume: '.*train\.json' is damaged \(.*{complaint}"):
        recorded_session(tmp_path)


def test_a_state_of_another_session_is_refused(saved: Path) -> None:
    other = dataclasses.replace(SESSION, config=dataclasses.replace(SESSION.config, learning_rate=0.1))
    with pytest.raises(GnetError, match=r"its digest is not that of its content and train\.json"):
        load_state(saved / "state.npz", other, variables())


def test_values_that_are_not_finite_are_not_saved(saved: Path) -> None:
    before = (saved / "state.npz").read_bytes()
    spoilt = [*variables()[:-1], Variable(np.array(np.nan, np.float32))]
    with pytest.raises(GnetError, match=r"^weights: variable is not finite after step 2 of epoch 4"):
        save_state(saved / "state.npz", SESSION, spoilt, STATE)
    assert (saved / "state.npz").read_bytes() == before
    assert {path.name for path in saved.iterdir()} == {"train.json", "split.json", "state.npz"}


def test_names_that_are_no_utf_8_survive(tmp_path: Path) -> None:
    session = dataclasses.replace(
        SESSION, data_set=msgspec.structs.replace(SESSION.data_set, class_names=["caf\udce9", "thé"])
    )
    session.write(tmp_path, {})
    assert Session.read(tmp_path) == session


def test_a_state_of_an_older_version_which_had_the_records_alone_is_loaded(saved: Path) -> None:
    rewritten(saved / "state.npz", {"history": np.array(json.dumps([dataclasses.asdict(one) for one in RECORDS]))})
    assert load_state(saved / "state.npz", SESSION, variables()) == State(records=RECORDS)


def test_a_recipe_and_the_length_of_the_run_are_kept_and_compared(tmp_path: Path) -> None:
    session = dataclasses.replace(SESSION, recipe=RECIPE, epochs=7)
    session.write(tmp_path, {})
    assert Session.read(tmp_path) == session
    other = dataclasses.replace(session, recipe=dataclasses.replace(RECIPE, weight_decay=0.5))
    with pytest.raises(GnetError, match=r"^weight_decay: 0.5 differs from the session in .*; use 0.05$"):
        other.require_same(session, tmp_path)
    with pytest.raises(GnetError, match=r"^epochs: 8 differs from the session in .*; use 7$"):
        dataclasses.replace(session, epochs=8).require_same(session, tmp_path)


def test_whole_numbers_of_a_recipe_are_read_back_with_the_same_digest(tmp_path: Path) -> None:
    session = dataclasses.replace(SESSION, recipe=dataclasses.replace(RECIPE, warmup=0, weight_decay=1), epochs=7)
    session.write(tmp_path, {})
    assert Session.read(tmp_path).digest([], "") == session.digest([], "")


def test_without_a_recipe_the_file_is_as_it_was_before_there_were_any(tmp_path: Path) -> None:
    SESSION.write(tmp_path, {})
    assert SESSION.recipe == PLAIN
    assert not {"recipe", "epochs"} & json.loads((tmp_path / "train.json").read_text()).keys()


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        ({"schedule": "linear"}, "'recipe.schedule' is 'linear'; it has to be one of cosine, constant"),
        ({"warmup": 1}, "warmup: 1.0 will not do; use a fraction from 0 to below 1"),
        ({}, "'epochs' is missing, on which its recipe depends"),
    ],
)
def test_a_recipe_that_is_none_is_refused(tmp_path: Path, recipe: dict[str, Any], complaint: str) -> None:
    data_set = json.loads(DATA_SET)
    text = json.dumps({"config": {}, "data_set": data_set, "recipe": recipe})
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(GnetError, match=rf"^resume: '.*train\.json' is damaged \(.*{complaint}"):
        recorded_session(tmp_path)


@pytest.mark.parametrize(
    ("epochs", "steps", "words"),
    [
        (0, 0, "no epoch was finished, so nothing is kept"),
        (1, 0, "epoch 1 is saved"),
        (2, 0, "epochs 1 to 2 are saved"),
        (0, 1, "1 step of epoch 1 is saved"),
        (0, 5, "5 steps of epoch 1 are saved"),
        (1, 5, "epoch 1 and 5 steps of epoch 2 are saved"),
        (3, 1, "epochs 1 to 3 and 1 step of epoch 4 are saved"),
    ],
)
def test_a_state_says_what_of_it_is_saved(epochs: int, steps: int, words: str) -> None:
    part = dataclasses.replace(PART, steps=steps) if steps else None
    assert State(records=RECORDS[:epochs], part=part).words == words
