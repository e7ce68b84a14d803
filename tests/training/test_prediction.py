"""What a trained network says of images: by name, and in one line where it cannot."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from gnet_core.config import GnetError, StepConfig
from gnet_core.datasets.data_set import DataSet, Split
from gnet_core.frameworks.tf.model import build_model
from gnet_core.training.exports import write_keras
from gnet_core.training.prediction import TrainedNetwork
from gnet_core.training.session import Session

CONFIG = StepConfig(data="made", classes=3, image_size=67)
NAMES = ("bark", "sand", "wool")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As gnet train leaves it, with a network that was not trained."""
    out = tmp_path_factory.mktemp("session")
    split = Split(np.zeros((6, 8, 8), np.uint8), (np.arange(6) % 3).astype(np.uint16))
    Session.of(CONFIG, DataSet("made", NAMES, split, split, 67)).write(out, {})
    write_keras(out / "best.keras", build_model(CONFIG))
    return out


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "one.png"
    keras.utils.save_img(path, np.random.default_rng(0).integers(0, 255, (90, 80, 3)).astype(np.uint8), scale=False)
    return path


def test_the_classes_are_named_by_probability(directory: Path, image: Path) -> None:
    guesses = TrainedNetwork(directory).guesses(image, 9)
    assert {guess.class_name for guess in guesses} == set(NAMES)
    probabilities = [guess.probability for guess in guesses]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1.0, rel=1e-5)
    assert TrainedNetwork(directory / "best.keras").guesses(image, 1) == guesses[:1]


def test_a_network_alone_numbers_its_classes(directory: Path, image: Path, tmp_path: Path) -> None:
    alone = tmp_path / "network.keras"
    alone.write_bytes((directory / "best.keras").read_bytes())
    assert {guess.class_name for guess in TrainedNetwork(alone).guesses(image, 3)} == {"0", "1", "2"}


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"no image at all"])
def test_an_image_that_cannot_be_decoded_is_named(directory: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(GnetError, match=r"^data: '.*broken\.png' "):
        TrainedNetwork(directory).guesses(tmp_path / "broken.png", 1)
    with pytest.raises(GnetError, match=r"^data: '.*absent\.png' cannot be read"):
        TrainedNetwork(directory).guesses(tmp_path / "absent.png", 1)


def test_what_is_no_network_is_refused_in_one_line(directory: Path, tmp_path: Path) -> None:
    whole = (directory / "best.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.keras").write_text("no network")
    (tmp_path / "network.h5").write_bytes(whole)
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    for name, complaint in (
        ("cut.keras", "cannot be loaded"),
        ("text.keras", "cannot be loaded"),
        ("network.h5", "is no .keras file"),
        ("other.keras", "holds Sequential; it has to be GoogleNet_2"),
        ("absent.keras", "is missing"),
    ):
        with pytest.raises(GnetError, match=rf"^model: '.*{name}' {complaint}") as refusal:
            TrainedNetwork(tmp_path / name)
        assert "\n" not in str(refusal.value)
    with pytest.raises(GnetError, match=r"^model: '.*best\.keras' is missing"):
        TrainedNetwork(tmp_path)


def test_classes_that_are_not_the_networks_are_refused(directory: Path, tmp_path: Path) -> None:
    split = Split(np.zeros((4, 8, 8), np.uint8), (np.arange(4) % 2).astype(np.uint16))
    Session.of(CONFIG, DataSet("made", NAMES[:2], split, split, 67)).write(tmp_path, {})
    (tmp_path / "best.keras").write_bytes((directory / "best.keras").read_bytes())
    with pytest.raises(GnetError, match=r"tells 3 classes apart and train.json beside it names 2"):
        TrainedNetwork(tmp_path)


def test_an_image_is_fed_as_in_training(directory: Path, image: Path) -> None:
    """The network sees the picture shrunk to its size, in whole levels from 0 to 1."""
    network = TrainedNetwork(directory)
    pixels = tf.round(tf.image.resize(tf.io.decode_png(tf.io.read_file(str(image))), (67, 67), "area")) / 255
    logits = keras.saving.load_model(directory / "best.keras")(pixels[tf.newaxis], training=False)[0]
    expected = float(tf.reduce_max(tf.nn.softmax(logits)))
    assert network.guesses(image, 1)[0].probability == pytest.approx(expected, rel=1e-4)
