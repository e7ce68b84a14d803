"""What a network said of the test images: the confusion of classes, and a sheet of images right and wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gnet_core.config import StepConfig
from gnet_core.datasets.data_set import Split
from gnet_core.frameworks.tf.input_pipeline import Loader, named_errors
from gnet_core.networks.builder import Tensor
from gnet_core.training.document import MAX_SAMPLES, SAMPLE_SIDE, Confusion, Sample


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """Of each image of a split, in its order, the class that was said and its probability, (n,)."""

    said: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float32]

    @classmethod
    def of(cls, judged: Sequence[tuple[Tensor, Tensor]]) -> Judgement:
        """Of what `said_of` tells of each batch."""
        columns = zip(*judged, strict=True)
        said, probability = (np.concatenate([tensor.numpy() for tensor in column]) for column in columns)
        return cls(said=said, probability=probability)


def said_of(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The classes that are said of a batch and their probabilities, (batch,) each, of logits (batch, classes).

    They stay on the device: logits of many classes would fill it, and reading them would wait for it.
    """
    return tf.argmax(logits, axis=-1), tf.reduce_max(tf.nn.softmax(logits), axis=-1)


def confusion(split: Split, judgement: Judgement) -> list[Confusion]:
    """How often which class was said of which, in their order."""
    pairs = Counter(zip(split.labels.tolist(), judgement.said.tolist(), strict=True))
    return [Confusion(label=label, said=said, images=images) for (label, said), images in sorted(pairs.items())]


def samples(split: Split, judgement: Judgement, config: StepConfig) -> list[Sample]:
    """Images for the sheet: up to half of it wrong ones, of which the network was surest, then right ones, spread over
    the split. Raises GnetError for one that cannot be decoded.
    """
    wrong = np.flatnonzero(judgement.said != split.labels)
    wrong = wrong[np.argsort(-judgement.probability[wrong], kind="stable")][: MAX_SAMPLES // 2]
    right = np.flatnonzero(judgement.said == split.labels)
    right = right[np.unique(np.linspace(0, max(0, len(right) - 1), MAX_SAMPLES - len(wrong)).astype(int))[: len(right)]]
    chosen = [*wrong.tolist(), *right.tolist()]
    loader = Loader(split, dataclasses.replace(config, image_size=SAMPLE_SIDE), training=False)
    pixels = {int(number): levels.numpy().tobytes() for number, levels in named_errors(split, loader.pictures(chosen))}
    return [
        Sample(
            label=int(split.labels[number]),
            said=int(judgement.said[number]),
            probability=min(1.0, float(judgement.probability[number])),
            pixels=pixels[number],
        )
        for number in chosen
    ]
