"""The epochs of a session: all batches through the train step, then all test images through the test step."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from gnet_core.frameworks.tf.input_pipeline import named_errors
from gnet_core.networks.builder import Tensor
from gnet_core.training import judgement
from gnet_core.training.judgement import Judgement
from gnet_core.training.results import errors_of_writing, save
from gnet_core.training.session import EpochRecord, NotFiniteError, PartOfEpoch
from gnet_core.training.trainer import Trainer

_STEPS_BETWEEN_READS = 10
"""Reading the loss waits for the device, so the bar shows it, and a lost run is noticed, only every so many steps."""


def run_epoch(epoch: int, trainer: Trainer) -> EpochRecord:
    """Train and test an epoch, or what is left of it."""
    part = trainer.state.part
    skipped = (part.skipped_steps if part else 0) - trainer.train_step.skipped_steps()
    start = time.perf_counter() - (part.seconds if part else 0.0)
    trainer.bar.set_description(f"epoch {epoch}, training")
    trainer.log.begin("epoch_start", epoch_num=epoch)
    with trainer.watch.of("train"):
        train_loss, train_accuracy = _train_epoch(epoch, trainer, start, skipped)
    trained = time.perf_counter()
    trainer.log.end("epoch_stop", epoch_num=epoch)
    trainer.bar.set_description(f"epoch {epoch}, testing")
    trainer.log.begin("eval_start", epoch_num=epoch)
    test_loss, test_accuracy = test_epoch(epoch, trainer)
    trainer.log.point("eval_accuracy", test_accuracy, epoch_num=epoch)
    trainer.log.end("eval_stop", epoch_num=epoch)
    return EpochRecord(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        epoch_seconds=time.perf_counter() - start,
        images_per_second=trainer.steps_per_epoch * trainer.session.config.batch_size / (trained - start),
        skipped_steps=trainer.train_step.skipped_steps() + skipped,
    )


def _train_epoch(epoch: int, trainer: Trainer, start: float, skipped: int) -> tuple[float, float]:
    """Mean loss and accuracy over the images of the epoch. The device is waited for every few steps and at the end."""
    step, config, part = trainer.train_step, trainer.session.config, trainer.state.part
    step.reset_metrics()
    done = part.steps if part else 0
    losses = _Losses(trainer, f"epoch {epoch}", part.loss_sum if part else 0.0, done * config.batch_size)
    if part:
        for variable, value in zip(step.metric_variables, part.metrics, strict=True):
            variable.assign(value)
    accuracy: Any = 0.0
    before = (epoch - 1) * trainer.steps_per_epoch
    for number, (images, labels) in enumerate(trainer.inputs(_training_examples(epoch, trainer, done)), start=done + 1):
        step.optimizer.learning_rate = trainer.learning_rate(before + number)
        result = trainer.call(step, step, images, labels)
        if trainer.average:
            trainer.average.after_step(before + number)
        losses.add(number, result.loss, config.batch_size)
        accuracy = result.accuracy
        if number % _STEPS_BETWEEN_READS == 0:
            trainer.bar.set_postfix(loss=f"{losses.mean():.4f}", accuracy=f"{float(accuracy):.2%}", refresh=False)
        trainer.bar.update(config.batch_size)
        if trainer.save_every and (before + number) % trainer.save_every == 0 and number < trainer.steps_per_epoch:
            losses.mean()  # which refuses a state whose loss was none
            part = PartOfEpoch(
                steps=number,
                loss_sum=losses.total(),
                metrics=[float(variable.numpy()) for variable in step.metric_variables],
                skipped_steps=step.skipped_steps() + skipped,
                seconds=time.perf_counter() - start,
            )
            with trainer.watch.of("checkpoint"), errors_of_writing(trainer):
                save(trainer, dataclasses.replace(trainer.state, part=part, wall_time=trainer.watch.read()))
    return losses.mean(), float(accuracy)


def _training_examples(epoch: int, trainer: Trainer, done: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch after those that are done."""
    return named_errors(trainer.training.split, trainer.training.epoch(epoch, done))


def test_epoch(epoch: int, trainer: Trainer) -> tuple[float, float]:
    """Mean loss and accuracy over all test images, of which it keeps what was said."""
    step = trainer.test_step
    step.reset_metrics()
    losses = _Losses(trainer, f"the test of epoch {epoch}")
    accuracy: Any = 0.0
    judged: list[tuple[Tensor, Tensor]] = []
    with trainer.watch.of("test"), trainer.averaged():
        examples = named_errors(trainer.testing.split, trainer.testing.epoch(epoch))
        for number, (images, labels) in enumerate(trainer.inputs(examples), start=1):
            outputs = trainer.call(step, step.with_logits, images, labels)
            losses.add(number, outputs.result.loss, int(labels.shape[0]))  # the last batch is smaller than the others
            accuracy = outputs.result.accuracy
            judged.append(judgement.said_of(outputs.logits))
            if trainer.bar is not None:
                trainer.bar.update(int(labels.shape[0]))
        mean_loss = losses.mean()
        trainer.judgement = Judgement.of(judged)
    return mean_loss, float(accuracy)


class _Losses:
    """The mean loss over the images of a pass, which is added up on the device and refused where it is no number."""

    def __init__(self, trainer: Trainer, where: str, loss_sum: float = 0.0, images: int = 0) -> None:
        self._run, self._where = trainer, where
        self._sum, self._images = tf.constant(loss_sum, tf.float32), images
        self._unread: list[tuple[int, Tensor]] = []

    def add(self, step: int, loss: Tensor, images: int) -> None:
        self._sum += loss * images
        self._images += images
        self._unread.append((step, loss))

    def total(self) -> float:
        return float(self._sum)

    def mean(self) -> float:
        """Raise GnetError naming the first step whose loss is not finite. Waits for the device."""
        total = self.total()
        if not math.isfinite(total):
            losses = [(step, float(loss)) for step, loss in self._unread]
            last = (losses[-1][0], total)  # each loss was a number, but no more their sum
            step, loss = next(((step, loss) for step, loss in losses if not math.isfinite(loss)), last)
            precision = "" if self._run.session.config.precision == "float32" else "--precision float32, "
            raise NotFiniteError(
                f"loss: {loss} in step {step} of {self._where}; start anew with {precision}a lower --learning-rate, or "
                f"another --batch-size or --seed ({self._run.state.words})"
            )
        self._unread.clear()
        return total / self._images
