"""What a network said of the test images: the confusion of classes, and a sheet of images right and wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from gnet_core.config import StepConfig
from gnet_core.datasets.catalog import Split
from gnet_core.frameworks.tf.input_pipeline import batches, named_errors
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
    images = split.images
    picked = tuple(images[index] for index in chosen) if isinstance(images, tuple) else images[chosen]
    sheet = Split(picked, split.labels[chosen])
    small = dataclasses.replace(config, image_size=SAMPLE_SIDE, batch_size=1)
    examples = named_errors(sheet, batches(sheet, small, training=False))
    return [
        Sample(
            label=int(split.labels[index]),
            said=int(judgement.said[index]),
            probability=min(1.0, float(judgement.probability[index])),
            pixels=np.rint(255 * image[0].numpy()).astype(np.uint8).tobytes(),
        )
        for index, (image, _) in zip(chosen, examples, strict=True)
    ]
