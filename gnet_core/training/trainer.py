"""A session under way: what its epochs share, built anew or from the state that was saved, and how far it is."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError
from gnet_core.datasets.data_set import DataSet
from gnet_core.frameworks.tf import device
from gnet_core.frameworks.tf.averaging import AveragedWeights
from gnet_core.frameworks.tf.input_pipeline import Loader
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.step import Step, make_test_step, make_train_step
from gnet_core.networks.builder import Tensor
from gnet_core.training.judgement import Judgement
from gnet_core.training.ledger import Stopwatch
from gnet_core.training.mllog import EventLog
from gnet_core.training.scalars import Scalars
from gnet_core.training.session import STATE_FILE, EpochRecord, Reached, Session, State, load_state

SCALARS_FOLDER = "tensorboard"


@dataclasses.dataclass(kw_only=True)
class Trainer:
    """The loaders, the network, its steps and averages, and the clock of a session."""

    session: Session
    out: Path
    epochs: int
    watch: Stopwatch
    began: float
    """Monotonic time from which the wall time is counted by a clock of its own."""
    training: Loader
    testing: Loader
    model: Any
    train_step: Step
    test_step: Step
    average: AveragedWeights | None
    scalars: Scalars
    state: State = dataclasses.field(default_factory=State)
    """The state that was saved last."""
    judgement: Judgement | None = None
    """What was said of the test images at the end of the last epoch."""
    reached: Reached | None = None
    target: float | None = None
    stop_at_target: bool = True
    save_every: int | None = None
    told: Callable[[EpochRecord], None] | None = None
    log: EventLog = dataclasses.field(default_factory=lambda: EventLog(None))
    mllog: Path | None = None
    bar: Any = None
    _seen: set[tuple[int, int]] = dataclasses.field(default_factory=set)

    @classmethod
    def begin(
        cls, session: Session, dataset: DataSet, out: Path, epochs: int, watch: Stopwatch, memory_bytes: int = 0
    ) -> Trainer:
        """Build the network and its steps, and set them to the state that was saved, if any."""
        began = time.monotonic() - watch.read().total
        config, recipe = session.config, session.recipe
        # Asked for before the network is built, since it refuses a batch larger than the data.
        training = Loader(dataset.train, config, training=True, augmentation=recipe.augment, memory_bytes=memory_bytes)
        testing = Loader(dataset.test, config, training=False, memory_bytes=memory_bytes - training.kept_bytes)
        steps = epochs * len(training)
        model = build_model(dataclasses.replace(config, bn_momentum=recipe.bn_momentum(config, steps)))
        average = None
        if recipe.average:
            average = AveragedWeights(model, recipe.average_decay(steps), recipe.average_interval(steps))
        train_step = make_train_step(
            model, config, weight_decay=recipe.weight_decay, label_smoothing=recipe.label_smoothing
        )
        trainer = cls(
            session=session,
            training=training,
            testing=testing,
            out=out,
            epochs=epochs,
            watch=watch,
            began=began,
            model=model,
            train_step=train_step,
            test_step=make_test_step(model, config),
            average=average,
            scalars=Scalars(out / SCALARS_FOLDER),
        )
        trainer.state = load_state(out / STATE_FILE, session, trainer.variables)
        part = trainer.state.part
        if part and (part.steps >= len(training) or len(part.metrics) != len(train_step.metric_variables)):
            raise GnetError(
                f"resume: {str(out / STATE_FILE)!r} is damaged (its part of an epoch is none of {len(training)} "
                "steps); put a copy of it back, or start anew with --out"
            )
        watch.add(trainer.state.wall_time)
        trainer.began -= trainer.state.wall_time.total
        return trainer

    @property
    def steps_per_epoch(self) -> int:
        return len(self.training)

    @property
    def variables(self) -> list[Any]:
        """All that a state holds the values of: moving statistics, dropout's seeds and averages included."""
        averages = self.average.variables if self.average else []
        return [*self.model.variables, *self.train_step.optimizer.variables, *averages]

    def learning_rate(self, step: int) -> float:
        """That of the session's step 1, 2, …"""
        return self.session.recipe.learning_rate(self.session.config, step, self.epochs * self.steps_per_epoch)

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """The network with the weights that are tested and kept."""
        return self.average.in_place() if self.average else contextlib.nullcontext()

    def call(self, step: Step, function: Callable[[Tensor, Tensor], Any], images: Tensor, labels: Tensor) -> Any:
        """Trainer a step; its trace for a new shape, and what it compiles then, count to their own entries."""
        shape = (id(step), int(images.shape[0]))
        if step.execution == "eager" or shape in self._seen:
            return function(images, labels)
        self._seen.add(shape)
        with self.watch.of("trace"):
            step.trace(images, labels)
        with self.watch.of("compile"):
            result = function(images, labels)
            device.synchronise()
        return result

    def inputs(self, examples: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches, the wait for each of them counted."""
        while True:
            with self.watch.of("input_wait"):
                batch = next(examples, None)
            if batch is None:
                return
            yield batch
