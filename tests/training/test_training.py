from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow.core.util.event_pb2 import Event

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.data_set import DataSet, Split
from gnet_core.files.whole import write_whole
from gnet_core.frameworks.tf.input_pipeline import batches
from gnet_core.frameworks.tf.step import make_test_step, make_train_step
from gnet_core.system.claims import BusyError, claimed
from gnet_core.training import loop, results, trainer, training
from gnet_core.training.document import read_training
from gnet_core.training.ledger import Stopwatch, WallTime
from gnet_core.training.recipe import PLAIN, RECIPE
from gnet_core.training.scalars import Scalars
from gnet_core.training.session import EpochRecord, Session, State, load_state, recorded_session, save_state
from gnet_core.training.trainer import Trainer
from gnet_core.training.training import Trained

RESULTS = {"train.json", "split.json", "history.csv", "best.keras", "training.json", "state.npz"}
SESSION_FILES = {*RESULTS, "final.keras", "tensorboard"}

# Eager, because tracing the tiny network takes longer than running it.
CONFIG = StepConfig(data="bright", execution="eager", classes=2, image_size=67, batch_size=8, learning_rate=0.05)


def trained(*given: Any, **options: Any) -> Trained:
    """What train returns, without a recipe unless one is named: these sessions are of any length."""
    return training.train(*given, **{"recipe": PLAIN, **options})


def train(*given: Any, **options: Any) -> list[EpochRecord]:
    return trained(*given, **options).history


def bright_or_dark(images: int, seed: int) -> Split:
    """Noise in the dark half of the range for label 0, in the bright half for label 1."""
    random = np.random.default_rng(seed)
    labels = (np.arange(images) % 2).astype(np.uint16)
    levels = random.integers(0, 120, (images, 8, 8)) + 130 * labels[:, None, None]
    return Split(levels.astype(np.uint8), labels)


def make_bright() -> DataSet:
    """20 training images make 2 steps of 8; 11 test images make a batch of 8 and one of 3."""
    return DataSet("bright", ("dark", "light"), bright_or_dark(20, seed=1), bright_or_dark(11, seed=2), 67)


@pytest.fixture(scope="module")
def bright() -> DataSet:
    return make_bright()


def build_tiny_model(config: StepConfig) -> keras.Model:
    """Three heads with dropout and batch normalisation, whose states must survive a resume as well."""
    keras.utils.set_random_seed(config.seed)
    inputs = keras.Input((config.image_size, config.image_size, 3))
    x = keras.layers.AveragePooling2D(16)(inputs)
    x = keras.layers.Flatten()(keras.layers.BatchNormalization(momentum=0.5)(x))
    x = keras.layers.Dropout(0.4)(keras.layers.Dense(6, activation="relu")(x))
    return keras.Model(inputs, [keras.layers.Dense(config.classes)(x) for _ in range(3)])


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put the tiny network in the place of the real one; the list collects every one that is built."""
    built: list[Any] = []

    def build(config: StepConfig) -> keras.Model:
        built.append(build_tiny_model(config))
        return built[-1]

    monkeypatch.setattr(trainer, "build_model", build)
    return built


@pytest.fixture(scope="module")
def session(bright: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[EpochRecord]]:
    """The directory of a finished session of 5 epochs, to be looked at only, and what `train` returned."""
    out = tmp_path_factory.mktemp("sessions") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "build_model", build_tiny_model)
        return out, train(CONFIG, bright, out, epochs=5)


RECORD: dict[str, Any] = {
    "epoch": 1,
    "train_loss": 2.0,
    "train_accuracy": 0.5,
    "test_loss": 2.0,
    "test_accuracy": 0.5,
    "epoch_seconds": 1.0,
    "images_per_second": 16.0,
    "skipped_steps": 0,
}


def load_records(out: Path) -> list[Any]:
    return list(json.loads(str(state_of(out)["history"])))


def without_times(records: list[EpochRecord]) -> list[EpochRecord]:
    return [dataclasses.replace(record, epoch_seconds=0.0, images_per_second=0.0) for record in records]


def state_of(out: Path) -> dict[str, Any]:
    with np.load(out / "state.npz") as state:
        return dict(state)


def test_history_has_a_row_an_epoch_and_equals_what_train_returns(session: tuple[Path, list[EpochRecord]]) -> None:
    out, records = session
    history = pd.read_csv(out / "history.csv")
    assert list(history.columns) == [
        *("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"),
        *("epoch_seconds", "images_per_second", "skipped_steps"),
    ]
    pd.testing.assert_frame_equal(history, pd.DataFrame(records))
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert (history["skipped_steps"] == 0).all()
    # 16 images are trained with, and training is part of the epoch.
    assert (16 / history["images_per_second"] < history["epoch_seconds"]).all()


def test_a_separable_set_is_learnt(session: tuple[Path, list[EpochRecord]]) -> None:
    _, records = session
    assert records[-1].test_accuracy > 0.9
    assert records[-1].test_loss < 0.5 * records[0].test_loss


def test_the_best_network_gives_the_best_loss_and_accuracy_over_all_test_images(
    session: tuple[Path, list[EpochRecord]], bright: DataSet
) -> None:
    out, records = session
    best = max(records, key=lambda record: (record.test_accuracy, -record.test_loss))
    model = keras.saving.load_model(out / "best.keras")
    images, labels = next(iter(batches(bright.test, dataclasses.replace(CONFIG, batch_size=11), training=False)))
    main, class_1, class_2 = model(images, training=False)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = crossentropy(labels, main) + 0.3 * (crossentropy(labels, class_1) + crossentropy(labels, class_2))
    assert np.mean(np.argmax(main, axis=1) == labels) == pytest.approx(best.test_accuracy)
    assert float(loss) == pytest.approx(best.test_loss, rel=1e-4)


def test_session_file_says_what_was_run_on_what(session: tuple[Path, list[EpochRecord]]) -> None:
    written = json.loads((session[0] / "train.json").read_text())
    assert StepConfig.from_dict(written["config"]) == CONFIG
    assert written["data_set"] == {
        "data": "bright",
        "class_names": ["dark", "light"],
        "train_images": 20,
        "test_images": 11,
    }
    assert written["tensorflow"]["keras"] == keras.__version__


def test_only_whole_files_are_left(session: tuple[Path, list[EpochRecord]]) -> None:
    names = {path.name for path in session[0].iterdir()}
    assert names == SESSION_FILES


def test_a_second_session_does_not_overwrite_the_first(
    session: tuple[Path, list[EpochRecord]], bright: DataSet
) -> None:
    with pytest.raises(GnetError, match=r"^out: .* already holds a session; resume it"):
        train(CONFIG, bright, session[0], epochs=6)


@pytest.mark.usefixtures("tiny")
def test_resume_refuses_epochs_that_are_done(session: tuple[Path, list[EpochRecord]], bright: DataSet) -> None:
    with pytest.raises(GnetError, match=r"^epochs: 5 are done already; ask for more than 5$"):
        train(CONFIG, bright, session[0], epochs=5, resume=True)


def test_resume_refuses_another_case_or_other_data_by_field(
    session: tuple[Path, list[EpochRecord]], bright: DataSet
) -> None:
    with pytest.raises(GnetError, match=r"^batch_size: 4 differs from the session in .*; use 8$"):
        train(dataclasses.replace(CONFIG, batch_size=4), bright, session[0], epochs=6, resume=True)
    fewer = dataclasses.replace(bright, train=bright_or_dark(18, seed=1))
    with pytest.raises(GnetError, match=r"^train_images: 18 differs .*; use 20$"):
        train(CONFIG, fewer, session[0], epochs=6, resume=True)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["train.json", "state.npz"])
def test_resume_names_a_damaged_file(
    name: str, session: tuple[Path, list[EpochRecord]], bright: DataSet, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(session[0], tmp_path / "copy"))
    (out / name).write_bytes((out / name).read_bytes()[:20])
    with pytest.raises(GnetError, match=rf"^resume: '.*{name}' is damaged"):
        train(CONFIG, bright, out, epochs=6, resume=True)


@pytest.mark.usefixtures("tiny")
def test_resume_refuses_another_augmentation_and_other_images(
    session: tuple[Path, list[EpochRecord]], bright: DataSet
) -> None:
    with pytest.raises(GnetError, match=r"^augment: 'flip' differs from the session in .*; use 'none'$"):
        train(CONFIG, bright, session[0], epochs=6, resume=True, recipe=dataclasses.replace(PLAIN, augment="flip"))
    other = dataclasses.replace(bright, train=bright_or_dark(20, seed=9))
    with pytest.raises(GnetError, match=r"^data: images of 'bright' have changed since the session in .* began"):
        train(CONFIG, other, session[0], epochs=6, resume=True)


@pytest.mark.usefixtures("tiny")
def test_a_session_that_augments_and_keeps_images_is_resumed_as_though_it_had_not_stopped(
    bright: DataSet, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"recipe": dataclasses.replace(PLAIN, augment="crop-flip")}
    whole = train(CONFIG, bright, tmp_path / "whole", epochs=2, memory_bytes=2**20, **how)
    train(CONFIG, bright, tmp_path / "parts", epochs=1, memory_bytes=2**16, **how)
    parts = train(CONFIG, bright, tmp_path / "parts", epochs=2, resume=True, **how)
    assert without_times(parts) == without_times(whole)
    written = json.loads((tmp_path / "parts" / "train.json").read_text())
    assert written["recipe"]["augment"] == "crop-flip"
    assert "memory" not in written["data_set"]


@pytest.mark.usefixtures("tiny")
def test_the_best_network_is_kept_when_a_later_epoch_is_worse(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = iter([(1.0, 0.5), (0.9, 0.8), (0.8, 0.7), (0.95, 0.8), (0.85, 0.8)])  # test loss and accuracy
    saved: list[str] = []
    epoch = 0

    def tell(number: int, _: Any) -> tuple[float, float]:
        nonlocal epoch
        epoch = number
        return next(tests)

    monkeypatch.setattr(loop, "test_epoch", tell)
    monkeypatch.setattr(results, "write_keras", lambda path, _: saved.append(f"{path.name} {epoch}"))
    train(CONFIG, bright, tmp_path, epochs=5)
    # More accurate; more accurate; as accurate with a lower loss; and the last one whatever it is.
    assert saved == ["best.keras 1", "best.keras 2", "best.keras 5", "final.keras 5"]


@pytest.mark.parametrize(("execution", "precision"), [("eager", "float32"), ("graph", "mixed_float16")])
def test_one_epoch_and_one_resumed_equal_two(
    execution: Any, precision: Any, bright: DataSet, tmp_path: Path, tiny: list[Any]
) -> None:
    config = dataclasses.replace(CONFIG, execution=execution, precision=precision)
    whole = train(config, bright, tmp_path / "whole", epochs=2)
    train(config, bright, tmp_path / "parts", epochs=1)
    parts = train(config, bright, tmp_path / "parts", epochs=2, resume=True)

    # The threads of a graph add up in whatever order they come, which can be seen in a last digit.
    near = {"rel": 1e-3, "abs": 1e-6} if execution == "graph" else {"rel": 0, "abs": 0}
    for part, record in zip(without_times(parts), without_times(whole), strict=True):
        assert dataclasses.asdict(part) == pytest.approx(dataclasses.asdict(record), **near)
    expected, actual = state_of(tmp_path / "whole"), state_of(tmp_path / "parts")
    assert expected.keys() == actual.keys()
    del expected["history"], expected["sha256"]  # compared above, without its times
    for name, value in expected.items():  # weights, moving statistics, dropout's seeds, Adam's slots, loss scale
        assert actual[name] == pytest.approx(value, **near), name
    assert len(expected) == len(tiny[0].variables) + len(make_train_step(tiny[0], config).optimizer.variables)


@pytest.mark.usefixtures("tiny")
def test_a_session_of_a_version_without_a_field_is_gone_on_with(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its train.json lacks the field, and its state is signed with that."""
    whole = train(CONFIG, bright, tmp_path / "whole", epochs=3)
    of = Session.of
    with monkeypatch.context() as older:
        older.setattr(
            Session, "of", lambda *given: dataclasses.replace(of(*given), unrecorded=frozenset({"framework"}))
        )
        train(CONFIG, bright, tmp_path / "older", epochs=1)
    assert "framework" not in json.loads((tmp_path / "older" / "train.json").read_text())["config"]
    for epochs in (2, 3):  # the second goes on from what the first wrote
        records = train(CONFIG, bright, tmp_path / "older", epochs=epochs, resume=True)
    assert without_times(records) == without_times(whole)


@pytest.mark.usefixtures("tiny")
def test_epochs_differ_in_their_order_and_repeat_for_the_same_seed(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[bytes] = []

    def look_only(epoch: int, run: Any, *_: Any) -> tuple[float, float]:
        examples = loop._training_examples(epoch, run, 0)
        orders.append(np.concatenate([images for images, _ in examples]).tobytes())
        return 1.0, 0.5

    monkeypatch.setattr(loop, "_train_epoch", look_only)
    train(CONFIG, bright, tmp_path / "a", epochs=2)
    train(CONFIG, bright, tmp_path / "b", epochs=2)
    train(dataclasses.replace(CONFIG, seed=1), bright, tmp_path / "c", epochs=2)
    assert orders[:2] == orders[2:4]
    assert len(set(orders)) == 4


@pytest.mark.usefixtures("tiny")
def test_an_epoch_whose_state_was_not_saved_is_done_again(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = save_state

    def save_first_only(path: Path, session: Session, variables: Any, state: State) -> None:
        if len(state.records) == 2:
            raise KeyboardInterrupt
        save(path, session, variables, state)

    whole = train(CONFIG, bright, tmp_path / "whole", epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(results, "save_state", save_first_only)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, bright, tmp_path / "cut", epochs=3)
    assert pd.read_csv(tmp_path / "cut" / "history.csv")["epoch"].tolist() == [1]
    assert without_times(train(CONFIG, bright, tmp_path / "cut", epochs=2, resume=True)) == without_times(whole)


@pytest.mark.usefixtures("tiny")
def test_results_that_an_interrupt_kept_from_being_written_are_written_on_resume(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "write_results", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, bright, tmp_path, epochs=1)
    assert {path.name for path in tmp_path.iterdir()} == {"train.json", "split.json", "state.npz"}
    with pytest.raises(GnetError, match=r"^epochs: 1 are done already"):
        train(CONFIG, bright, tmp_path, epochs=1, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {*RESULTS, "final.keras"}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, GnetError("data: it is bad"), MemoryError, OSError(5, "gone")])
def test_a_session_that_ends_in_its_first_epoch_leaves_the_directory_as_it_was(
    existed: bool, error: BaseException, bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    out = tmp_path / "new" / "folder"
    if existed:
        out.mkdir(parents=True)
    for module, name in ((trainer, "build_model"), (training, "run_epoch"), (results, "save_state")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises((KeyboardInterrupt, GnetError, OSError)):
                train(CONFIG, bright, out, epochs=1)
        assert list(tmp_path.rglob("*")) == ([tmp_path / "new", out] if existed else [])
    assert len(train(CONFIG, bright, out, epochs=1)) == 1


@pytest.mark.usefixtures("tiny")
def test_what_a_killed_session_left_is_no_obstacle(bright: DataSet, tmp_path: Path) -> None:
    for name in (".lock", ".partial-0123.npz"):
        (tmp_path / name).write_text("left over")
    assert len(train(CONFIG, bright, tmp_path, epochs=1)) == 1
    assert {path.name for path in tmp_path.iterdir()} == SESSION_FILES


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("left", ["history.csv", "best.keras"])
def test_a_session_whose_state_is_gone_is_not_begun_anew_over_what_it_has_left(
    session: tuple[Path, list[EpochRecord]], bright: DataSet, tmp_path: Path, left: str
) -> None:
    for name in ("train.json", left):
        shutil.copy(session[0] / name, tmp_path / name)
    before = (tmp_path / left).read_bytes()
    with pytest.raises(
        GnetError, match=rf"^resume: '.*state\.npz' is missing, and {left} tells .*put a copy of it back"
    ):
        train(CONFIG, bright, tmp_path, epochs=6, resume=True)
    assert (tmp_path / left).read_bytes() == before


def test_a_session_killed_before_its_first_state_resumes_from_the_start(bright: DataSet, tmp_path: Path) -> None:
    Session.of(CONFIG, bright).write(tmp_path, tensorflow={})
    assert [record.epoch for record in train(CONFIG, bright, tmp_path, epochs=1, resume=True)] == [1]


def test_a_session_under_way_is_neither_resumed_nor_begun_anew(bright: DataSet, tmp_path: Path) -> None:
    with claimed(tmp_path):
        for attempt in (
            lambda: recorded_session(tmp_path),
            lambda: train(CONFIG, bright, tmp_path, epochs=1, resume=True),
            lambda: train(CONFIG, bright, tmp_path, epochs=1),
        ):
            with pytest.raises(BusyError, match=rf"process {os.getpid()} on .* is writing into it"):
                attempt()


MODULES_THAT_SAVE = (
    *("training.training", "training.trainer", "training.loop", "training.results", "training.session"),
    "training.ledger",
    *("datasets.recorded_split", "files.whole", "system.claims"),
)


@pytest.mark.parametrize("epochs", [1, 2])
def test_an_interrupt_at_any_line_of_saving_leaves_the_epoch_before_or_the_epoch(
    epochs: int, bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each line of training, session, files and claims that saving a first or a second epoch runs."""
    monkeypatch.setattr(results, "write_results", lambda run: write_whole(run.out / "history.csv", "epoch"))
    monkeypatch.setattr(Scalars, "write", lambda *_: None)
    monkeypatch.setattr(trainer, "build_model", build_tiny_model)
    session = Session.of(CONFIG, bright)
    run = Trainer.begin(session, bright, tmp_path / "none", 9, Stopwatch(WallTime()))
    variables = run.variables
    before = [EpochRecord(**RECORD)][: epochs - 1]
    record = EpochRecord(**{**RECORD, "epoch": epochs})
    watched = {sys.modules[f"gnet_core.{name}"].__file__ for name in MODULES_THAT_SAVE}

    def save(out: Path, interrupted_line: int | None) -> int:
        """Save an epoch as train does, and return how many lines that ran."""
        count = 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal count
            if frame.f_code.co_filename not in watched:
                return None
            if event == "line":
                count += 1
                if count == interrupted_line:
                    raise KeyboardInterrupt
            return trace

        run.out, run.state = out, State(records=list(before))
        coverage = sys.gettrace()
        with claimed(out) if before else training._new_session(out):
            sys.settrace(trace)
            try:
                results.save_epoch(record, run)
            finally:
                sys.settrace(coverage)
        return count

    def begin(name: str) -> Path:
        out = tmp_path / name
        if before:
            out.mkdir()
            session.write(out, {})
            save_state(out / "state.npz", session, variables, State(records=before))
        return out

    lines = save(begin("whole"), None)
    assert lines > 50
    for line in range(1, lines + 1):
        out = begin(f"cut-{line}")
        with pytest.raises(KeyboardInterrupt):
            save(out, line)
        if before or out.exists():
            records = load_state(out / "state.npz", Session.read(out), variables).records
            assert records in (before, [*before, record]), line
            files = {path.name for path in out.iterdir()}
            assert files <= {"train.json", "split.json", "state.npz", "history.csv"}, line


def test_a_network_that_cannot_be_written_is_an_error_and_no_end_of_the_process(tmp_path: Path) -> None:
    """A limit on a file's size stands in for a disk that is full: HDF5 would fail at exit as well, in its own way."""
    script = """
import resource, sys, keras
from pathlib import Path
from gnet_core.training.exports import write_keras
model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(2000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    write_keras(Path(sys.argv[1]) / "best.keras", model)
except OSError as error:
    print("refused:", error.strerror)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    answer = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "refused: File too large\n"), answer.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["state.npz", "best.keras", "history.csv", "training.json"])
def test_a_disk_that_fills_in_the_second_epoch_keeps_the_first_and_a_resume_goes_on(
    name: str, session: tuple[Path, list[EpochRecord]], bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == name and (tmp_path / "tensorboard").exists():  # the first epoch is saved
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    if name == "best.keras":  # written where the second epoch is the better one
        monkeypatch.setattr(results, "best", lambda records: records[-1])
    saved = "epoch 1 is saved" if name == "state.npz" else "epochs 1 to 2 are saved"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(GnetError, match=rf"^out: .* No space left on device; {saved}; once it can be, go on with"):
            train(CONFIG, bright, tmp_path, epochs=2)
    assert {path.name for path in tmp_path.iterdir()} == {*RESULTS, "tensorboard"}
    resumed = train(CONFIG, bright, tmp_path, epochs=3, resume=True)
    assert without_times(resumed) == without_times(session[1][:3])


@pytest.mark.usefixtures("tiny")
def test_a_directory_that_vanishes_is_reported_and_nothing_in_it_is_promised(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_epoch = loop.run_epoch

    def remove_in_second(epoch: int, *arguments: Any) -> EpochRecord:
        if epoch == 2:
            shutil.rmtree(tmp_path / "out")
        return run_epoch(epoch, *arguments)

    monkeypatch.setattr(training, "run_epoch", remove_in_second)
    with pytest.raises(GnetError, match=r"^out: .* No such file or directory; what was saved there is gone$"):
        train(CONFIG, bright, tmp_path / "out", epochs=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
def test_a_link_in_the_place_of_a_result_is_replaced_and_not_written_through(
    session: tuple[Path, list[EpochRecord]], bright: DataSet, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(session[0], tmp_path / "copy"))
    outside = tmp_path / "outside"
    outside.write_text("precious")
    for name in ("best.keras", "history.csv", "training.json"):
        (out / name).unlink()
    for name in ("best.keras", "history.csv", "training.json", "partial-state.npz", ".partial-0.npz"):
        (out / name).symlink_to(outside)
    (out / "state.npz").rename(tmp_path / "kept.npz")
    (out / "state.npz").symlink_to(tmp_path / "kept.npz")
    kept = (tmp_path / "kept.npz").read_bytes()
    train(CONFIG, bright, out, epochs=6, resume=True)
    assert outside.read_text() == "precious"
    assert (tmp_path / "kept.npz").read_bytes() == kept
    assert not any((out / name).is_symlink() for name in ("history.csv", "training.json", "state.npz"))


@pytest.mark.parametrize("name", sorted({*RESULTS, "final.keras"}))
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_in_the_place_of_one_is_refused_before_an_epoch_is_run(
    name: str, kind: str, session: tuple[Path, list[EpochRecord]], bright: DataSet, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(session[0], tmp_path / "copy"))
    (out / name).unlink()
    (out / name).mkdir() if kind == "folder" else os.mkfifo(out / name)
    with pytest.raises(GnetError, match=rf"^resume: '.*{name}' is "):
        train(CONFIG, bright, out, epochs=6, resume=True)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("precision", "advice"),
    [
        ("float32", "start anew with a lower --learning-rate, or another"),
        ("mixed_float16", "with --precision float32, a lower --learning-rate, or"),
    ],
)
def test_a_loss_that_is_not_finite_in_the_first_epoch_says_what_can_be_done_and_that_nothing_is_kept(
    precision: Any, advice: str, bright: DataSet, tmp_path: Path
) -> None:
    config = dataclasses.replace(CONFIG, precision=precision, learning_rate=1e30)
    with pytest.raises(
        GnetError, match=rf"^loss: .* of epoch 1; .*{advice}.*\(no epoch was finished, so nothing is kept"
    ):
        train(config, bright, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out").exists()


def test_memory_that_is_not_enough_is_reported_with_what_to_change(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: StepConfig) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(trainer, "build_model", fail)
    with pytest.raises(GnetError, match=r"^batch_size: 8 images of 67 pixels .* memory of cpu; use a smaller"):
        train(CONFIG, bright, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out").exists()


def test_a_batch_of_one_small_image_is_refused_before_anything_is_written(bright: DataSet, tmp_path: Path) -> None:
    with pytest.raises(GnetError, match=r"^batch_size: 1 is too small at image_size 67"):
        train(dataclasses.replace(CONFIG, batch_size=1), bright, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out").exists()


def test_resume_refuses_a_directory_without_a_session(bright: DataSet, tmp_path: Path) -> None:
    with pytest.raises(GnetError, match=r"^resume: '.*train\.json' is missing, so there is no finished epoch"):
        train(CONFIG, bright, tmp_path, epochs=2, resume=True)


def test_out_that_is_a_file_is_refused(bright: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GnetError, match=r"^out: .* is a file; name a folder"):
        train(CONFIG, bright, tmp_path / "file", epochs=1)


def test_a_loss_that_is_not_finite_stops_with_the_epoch_and_keeps_the_epochs_before(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: list[Any]
) -> None:
    run_epoch = loop.run_epoch

    def poison_second(epoch: int, *arguments: Any) -> EpochRecord:
        if epoch == 2:
            tiny[-1].trainable_variables[-1].assign([np.nan, np.nan])
        return run_epoch(epoch, *arguments)

    monkeypatch.setattr(training, "run_epoch", poison_second)
    with pytest.raises(GnetError, match=r"^loss: nan in step 1 of epoch 2; .* or --seed \(epoch 1 is saved\)$"):
        train(CONFIG, bright, tmp_path, epochs=3)
    assert pd.read_csv(tmp_path / "history.csv")["epoch"].tolist() == [1]
    assert all(
        np.isfinite(value).all() for name, value in state_of(tmp_path).items() if name not in ("history", "sha256")
    )


@pytest.mark.usefixtures("tiny")
def test_labels_beyond_the_classes_are_refused_before_anything_is_written(bright: DataSet, tmp_path: Path) -> None:
    three = dataclasses.replace(bright, train=Split(bright.train.images, bright.train.labels + np.uint16(1)))
    with pytest.raises(GnetError, match=r"^classes: 2 is too few"):
        train(CONFIG, three, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_a_batch_larger_than_the_training_images_is_refused_before_anything_is_written(
    bright: DataSet, tmp_path: Path
) -> None:
    with pytest.raises(GnetError, match=r"^batch_size: 21 is too large"):
        train(dataclasses.replace(CONFIG, batch_size=21), bright, tmp_path / "out", epochs=1)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("tiny")
def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    paths = []
    for number in range(8):
        keras.utils.save_img(tmp_path / f"{number}.png", np.full((8, 8, 3), 30 * number))
        paths.append(str(tmp_path / f"{number}.png"))
    (tmp_path / "5.png").write_bytes((tmp_path / "5.png").read_bytes()[:40])
    split = Split(tuple(paths), np.array([0, 1] * 4, np.uint16))
    with pytest.raises(GnetError, match=r"^data: '.*5\.png' cannot be decoded"):
        train(CONFIG, DataSet("cut", ("a", "b"), split, split, 67), tmp_path / "out", epochs=1)


def test_the_real_network_trains_and_the_best_of_it_loads(bright: DataSet, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, learning_rate=1e-3)
    (record,) = train(config, bright, tmp_path, epochs=1)
    model = keras.saving.load_model(tmp_path / "best.keras")
    step = make_test_step(model, config)
    for images, labels in batches(bright.test, config, training=False):
        accuracy = step(images, labels).accuracy
    assert float(accuracy) == pytest.approx(record.test_accuracy)


def assert_same_state(actual: Path, expected: Path) -> None:
    """Weights, moving statistics, averages, dropout's seeds and the optimizer, bit for bit."""
    here, there = state_of(actual), state_of(expected)
    assert here.keys() == there.keys()
    for name in here.keys() - {"history", "sha256"}:  # which have times in them
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("cut", [1, 3, 5])
@pytest.mark.parametrize("recipe", [PLAIN, RECIPE], ids=["plain", "recipe"])
def test_a_session_cut_amid_an_epoch_goes_on_to_the_same_weights_and_history(
    cut: int, recipe: Any, bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(CONFIG, bright, tmp_path / "whole", epochs=3, recipe=recipe)
    call, steps = Trainer.call, 0

    def cut_short(run: Any, step: Any, *rest: Any) -> Any:
        nonlocal steps
        steps += step.optimizer is not None
        if steps > cut:
            raise KeyboardInterrupt
        return call(run, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "call", cut_short)
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, bright, tmp_path / "cut", epochs=3, recipe=recipe, save_every=1)
    state = load_state(
        tmp_path / "cut" / "state.npz",
        Session.read(tmp_path / "cut"),
        Trainer.begin(Session.read(tmp_path / "cut"), bright, tmp_path / "none", 3, Stopwatch(WallTime())).variables,
    )
    assert state.part is not None
    assert (len(state.records), state.part.steps) == (cut // 2, 1)
    resumed = train(CONFIG, bright, tmp_path / "cut", epochs=3, recipe=recipe, resume=True)
    assert without_times(resumed) == without_times(whole)
    assert_same_state(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("saves", [1, 2, 4])
def test_a_session_that_was_killed_goes_on_to_the_same_weights(saves: int, bright: DataSet, tmp_path: Path) -> None:
    """By SIGKILL as soon as a state is saved: the first amid an epoch, the second at its end, and so on."""
    script = """
import os, signal, sys
from pathlib import Path
from gnet_core.training import results, trainer, training
from tests.training.test_training import CONFIG, RECIPE, build_tiny_model, make_bright
save, left = results.save_state, int(sys.argv[2])
def save_and_die(*given):
    global left
    save(*given)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
trainer.build_model, results.save_state = build_tiny_model, save_and_die
training.train(CONFIG, make_bright(), Path(sys.argv[1]), 3, recipe=RECIPE, save_every=1)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "killed"), str(saves)]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == -9
    whole = train(CONFIG, bright, tmp_path / "whole", epochs=3, recipe=RECIPE)
    resumed = train(CONFIG, bright, tmp_path / "killed", epochs=3, recipe=RECIPE, resume=True)
    assert without_times(resumed) == without_times(whole)
    assert_same_state(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.usefixtures("tiny")
def test_a_loss_that_is_not_finite_keeps_the_state_of_the_last_good_step(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: list[Any]
) -> None:
    call, steps = Trainer.call, 0

    def poison_fourth(run: Any, step: Any, *rest: Any) -> Any:
        nonlocal steps
        steps += step.optimizer is not None
        if steps == 4:
            tiny[-1].trainable_variables[-1].assign([np.nan, np.nan])
        return call(run, step, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "call", poison_fourth)
        with pytest.raises(GnetError, match=r"^loss: nan in step 2 of epoch 2; .*\(epoch 1 and 1 step of epoch 2 are"):
            train(CONFIG, bright, tmp_path / "out", epochs=3, save_every=1)
    assert len(train(CONFIG, bright, tmp_path / "out", epochs=3, resume=True)) == 3


@pytest.mark.usefixtures("tiny")
def test_a_disk_that_fills_amid_an_epoch_keeps_the_state_before(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, saves = Path.replace, 0

    def full(self: Path, target: Path) -> Path:
        nonlocal saves
        saves += target.name == "state.npz"
        if saves == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(GnetError, match=r"^out: .* No space left on device; epoch 1 is saved; once it can be"):
            train(CONFIG, bright, tmp_path / "out", epochs=3, save_every=1)
    whole = train(CONFIG, bright, tmp_path / "whole", epochs=3)
    assert without_times(train(CONFIG, bright, tmp_path / "out", epochs=3, resume=True)) == without_times(whole)


@pytest.mark.usefixtures("tiny")
def test_another_recipe_or_length_is_refused_by_field(bright: DataSet, tmp_path: Path) -> None:
    train(CONFIG, bright, tmp_path, epochs=2, recipe=RECIPE)
    other = dataclasses.replace(RECIPE, label_smoothing=0.3)
    with pytest.raises(GnetError, match=r"^label_smoothing: 0.3 differs from the session in .*; use 0.1$"):
        train(CONFIG, bright, tmp_path, epochs=2, recipe=other, resume=True)
    with pytest.raises(GnetError, match=r"^epochs: 3 differs from the session in .*; use 2$"):
        train(CONFIG, bright, tmp_path, epochs=3, recipe=RECIPE, resume=True)


@pytest.mark.usefixtures("tiny")
def test_as_published_there_is_no_recipe(bright: DataSet, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, as_published=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "make_train_step", refuse_a_recipe)
        with pytest.raises(KeyboardInterrupt):
            train(config, bright, tmp_path / "out", epochs=1, recipe=RECIPE)


def refuse_a_recipe(*_: Any, **options: Any) -> None:
    assert options == {"weight_decay": 0.0, "label_smoothing": 0.0}
    raise KeyboardInterrupt


@pytest.mark.usefixtures("tiny")
def test_the_learning_rate_follows_the_recipe_step_by_step(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    call = Trainer.call

    def note(run: Any, step: Any, *rest: Any) -> Any:
        if step.optimizer is not None:
            rates.append(float(step.optimizer.learning_rate.numpy()))
        return call(run, step, *rest)

    monkeypatch.setattr(Trainer, "call", note)
    recipe = dataclasses.replace(RECIPE, warmup=0.5)
    train(CONFIG, bright, tmp_path, epochs=2, recipe=recipe)
    assert rates == pytest.approx([0.025, 0.05, 0.05 * (0.01 + 0.99 / 2), 0.0005])


@pytest.mark.usefixtures("tiny")
def test_a_session_ends_at_its_target_and_says_when_it_was_reached(bright: DataSet, tmp_path: Path) -> None:
    done = trained(CONFIG, bright, tmp_path, epochs=9, target=0.01)
    assert [record.epoch for record in done.history] == [1]
    assert done.reached is not None
    assert (done.reached.epoch, done.reached.step) == (1, 2)
    assert 0 < done.reached.seconds <= done.wall_time.total
    assert read_training(tmp_path).reached == done.reached
    assert (tmp_path / "final.keras").exists()


@pytest.mark.usefixtures("tiny")
def test_a_session_that_does_not_stop_at_its_target_notes_when_it_was_reached_and_goes_on(
    bright: DataSet, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"target": 0.01, "stop_at_target": False}
    told: list[int] = []
    done = trained(CONFIG, bright, tmp_path, epochs=2, told=lambda record: told.append(record.epoch), **how)
    assert told == [record.epoch for record in done.history] == [1, 2]
    assert done.reached is not None
    assert done.reached.epoch == 1
    assert done.reached.setup_seconds is not None
    assert done.reached.setup_seconds < done.reached.seconds < done.wall_time.total
    later = trained(CONFIG, bright, tmp_path, epochs=3, resume=True, **how)
    assert later.reached == done.reached == read_training(tmp_path).reached
    other = trained(CONFIG, bright, tmp_path, epochs=4, resume=True, target=1.0, stop_at_target=False)
    assert other.reached is None or other.reached.epoch == 4


def events(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text().splitlines()
    assert all(line.startswith(":::MLLOG {") for line in lines)
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in lines]


@pytest.mark.usefixtures("tiny")
def test_a_session_writes_mlperfs_lines_up_to_its_target_in_ascending_times(bright: DataSet, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    done = trained(CONFIG, bright, tmp_path / "out", 2, target=0.01, stop_at_target=False, mllog=log)
    written = events(log)
    times = [event["time_ms"] for event in written]
    assert times == sorted(times)
    keys = [event["key"] for event in written]
    assert keys[:5] == [f"submission_{name}" for name in ("benchmark", "division", "org", "status", "platform")]
    assert keys[-8:] == [
        *("init_stop", "run_start", "epoch_start", "epoch_stop"),
        *("eval_start", "eval_accuracy", "eval_stop", "run_stop"),
    ]
    value = {event["key"]: event["value"] for event in written}
    assert (value["submission_division"], value["submission_org"]) == ("none", "none")
    assert (value["seed"], value["global_batch_size"], value["train_samples"], value["eval_samples"]) == (0, 8, 16, 11)
    assert value["eval_accuracy"] == done.history[0].test_accuracy
    assert written[-1]["metadata"]["status"] == "success"
    assert written[-3]["metadata"]["epoch_num"] == 1
    assert {event["metadata"]["file"] for event in written} == {"mllog.py", "training.py", "loop.py"}
    assert read_training(tmp_path / "out").mllog == "log.txt"


@pytest.mark.usefixtures("tiny")
def test_a_session_that_goes_on_appends_to_its_log_and_ends_it_as_aborted_where_the_target_is_missed(
    bright: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, out = tmp_path / "log.txt", tmp_path / "out"

    def interrupt(_record: EpochRecord) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "test_epoch", lambda *_: (1.0, 0.5))
    with pytest.raises(KeyboardInterrupt):
        trained(CONFIG, bright, out, 2, target=0.9, mllog=log, told=interrupt)
    before = events(log)
    assert "run_stop" not in [event["key"] for event in before]
    trained(CONFIG, bright, out, 2, target=0.9, mllog=log, resume=True)
    written = events(log)
    assert written[: len(before)] == before
    assert [event["key"] for event in written].count("run_start") == 1
    resumed = written[len(before)]
    assert (resumed["namespace"], resumed["key"], resumed["value"]) == ("gnet", "resumed", 2)
    assert (written[-1]["key"], written[-1]["metadata"]["status"]) == ("run_stop", "aborted")
    times = [event["time_ms"] for event in written]
    assert times == sorted(times)


@pytest.mark.parametrize("target", [0.0, -1.0, 1.5, float("nan")])
def test_a_target_that_no_accuracy_can_be_is_refused(target: float, bright: DataSet, tmp_path: Path) -> None:
    with pytest.raises(GnetError, match=r"^target: .* will not do; use a test accuracy above 0 %"):
        train(CONFIG, bright, tmp_path / "out", epochs=1, target=target)


def test_the_document_tells_of_each_test_image_and_its_ledger_sums_to_the_wall_time(
    session: tuple[Path, list[EpochRecord]], bright: DataSet
) -> None:
    out, records = session
    document = read_training(out)
    assert document.history == records
    assert sum(entry.images for entry in document.confusion) == 11
    right = sum(entry.images for entry in document.confusion if entry.label == entry.said)
    assert right / 11 == pytest.approx(records[-1].test_accuracy)
    assert len(document.samples) == 11
    assert document.wall_time.total == pytest.approx(document.wall_seconds, rel=0.01)
    assert document.wall_time.train > 0
    labels = bright.test.labels.tolist()
    assert sorted(sample.label for sample in document.samples) == sorted(labels)


@pytest.mark.usefixtures("tiny")
def test_a_graph_counts_its_traces_and_first_steps_apart(bright: DataSet, tmp_path: Path) -> None:
    wall_time = trained(dataclasses.replace(CONFIG, execution="graph"), bright, tmp_path, epochs=1).wall_time
    assert wall_time.trace > 0
    assert wall_time.compile > 0


@pytest.mark.usefixtures("tiny")
def test_the_averages_are_what_is_tested_and_kept(bright: DataSet, tmp_path: Path) -> None:
    records = train(CONFIG, bright, tmp_path, epochs=2, recipe=RECIPE)
    model = keras.saving.load_model(tmp_path / "final.keras")
    images, labels = next(iter(batches(bright.test, dataclasses.replace(CONFIG, batch_size=11), training=False)))
    main, *_ = model(images, training=False)
    assert np.mean(np.argmax(main, axis=1) == labels) == pytest.approx(records[-1].test_accuracy)
    kernel = model.layers[-1].get_weights()[0]
    state = state_of(tmp_path)
    own = [state[f"arr_{number}"] for number in range(len(model.variables))]
    assert not any(np.array_equal(kernel, value) for value in own)


@pytest.mark.usefixtures("tiny")
def test_a_saved_model_answers_as_the_last_network_does(bright: DataSet, tmp_path: Path) -> None:
    training.train(CONFIG, bright, tmp_path, 1, recipe=PLAIN, saved_model=True)
    images, _ = next(iter(batches(bright.test, CONFIG, training=False)))
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))  # which holds the variables that serve refers to
    served = loaded.serve(images)
    expected = keras.saving.load_model(tmp_path / "final.keras")(images, training=False)
    for ours, theirs in zip(served, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_tensorboard_has_a_point_of_each_curve_an_epoch(session: tuple[Path, list[EpochRecord]]) -> None:
    files = (session[0] / "tensorboard").iterdir()
    records = [record.numpy() for file in files for record in tf.data.TFRecordDataset(str(file))]
    points = [(value.tag, event.step) for event in map(Event.FromString, records) for value in event.summary.value]
    assert {"loss/train", "loss/test", "accuracy/train", "learning_rate"} <= {tag for tag, _ in points}
    assert [step for tag, step in points if tag == "accuracy/test"] == [2, 4, 6, 8, 10]
