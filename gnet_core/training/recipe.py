"""The recipe of a training session: how the learning rate moves, what keeps the weights small, what is averaged, how
images are varied.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal, get_args

from gnet_core.config import AUGMENTATIONS, Augmentation, GnetError, StepConfig, require_choice

Schedule = Literal["cosine", "constant"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)

_BN_SHARE, _BN_LEAST, _BN_MOST = 0.05, 0.5, 0.99
"""Time constant of batch normalisation's moving statistics as a share of the run, and bounds of their momentum."""
_AVERAGE_SHARE, _AVERAGE_LEAST, _AVERAGE_MOST = 0.04, 0.5, 0.999
"""The same of averaged weights."""
_AVERAGE_MOVES, _AVERAGE_INTERVAL_MOST = 100, 8
"""How often they move in a run at least, and after how many steps at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a session trains beyond its step. The defaults suit runs of 5 to 30 epochs; PLAIN has nothing of it.

    Raises GnetError from its constructor, naming the field, for a value of the wrong type or range.
    """

    schedule: Schedule = "cosine"
    """cosine: from the learning rate of the case down to a fraction of it along half a cosine (Loshchilov & Hutter,
    arXiv 1608.03983), by steps of the whole run; constant: the learning rate of the case."""
    warmup: float = 0.1
    """Share of the run's steps in which the learning rate rises linearly to that of the case; 0 begins with it."""
    final_learning_rate: float = 0.01
    """Learning rate of the last step, as a fraction of the highest; only a cosine comes to it."""
    weight_decay: float = 0.05
    """Decoupled (Loshchilov & Hutter, arXiv 1711.05101): each step takes this fraction, times the learning rate, off
    the weights of convolutions and dense layers. Normalisation and biases are left alone."""
    label_smoothing: float = 0.1
    """Probability that the training loss spreads over all classes (Szegedy et al., arXiv 1512.00567, section 7)."""
    fit_bn_momentum: bool = True
    """Fit batch normalisation's momentum to the run's length instead of taking the case's: short runs need statistics
    that follow fast, and long ones can average more."""
    average: bool = True
    """Test, and save for use, exponential moving averages of the weights (Polyak & Juditsky 1992)."""
    augment: Augmentation = "crop"
    """How images of training are varied (see gnet_core.frameworks.tf.augmentation). A shift suits all data; of which a
    mirror suits as well, DataSet.default_augmentation knows."""

    def __post_init__(self) -> None:
        require_choice("schedule", self.schedule, SCHEDULES)
        require_choice("augment", self.augment, AUGMENTATIONS)
        _require_fraction("warmup", self.warmup)
        _require_fraction("final_learning_rate", self.final_learning_rate, closed=True)
        _require_fraction("label_smoothing", self.label_smoothing)
        decay: object = self.weight_decay
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay <= sys.float_info.max:
            raise GnetError(f"weight_decay: {decay!r:.200} will not do; use a number of at least 0")
        for field in ("warmup", "final_learning_rate", "label_smoothing", "weight_decay"):
            object.__setattr__(self, field, float(getattr(self, field)))  # as a file that was read back has it
        for field in ("fit_bn_momentum", "average"):
            if not isinstance(getattr(self, field), bool):
                raise GnetError(f"{field}: {getattr(self, field)!r:.200} will not do; use true or false")

    @property
    def depends_on_length(self) -> bool:
        """Whether a run of more epochs would have trained differently from its first step on."""
        return self.schedule != "constant" or self.warmup > 0 or self.fit_bn_momentum or self.average

    def learning_rate(self, config: StepConfig, step: int, steps: int) -> float:
        """The learning rate of step 1, 2, … of a run of so many steps."""
        warmup_steps = math.floor(self.warmup * steps)
        if step <= warmup_steps:
            return config.learning_rate * step / warmup_steps
        if self.schedule == "constant" or steps == warmup_steps:
            return config.learning_rate
        done = min(1.0, (step - warmup_steps) / (steps - warmup_steps))
        low = self.final_learning_rate
        return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)

    def bn_momentum(self, config: StepConfig, steps: int) -> float:
        """Momentum of batch normalisation's moving statistics in a run of so many steps."""
        return _decay(_BN_SHARE * steps, _BN_LEAST, _BN_MOST) if self.fit_bn_momentum else config.bn_momentum

    def average_decay(self, steps: int) -> float:
        """Share that an averaged weight keeps of itself in a step of a run of so many steps."""
        return _decay(_AVERAGE_SHARE * steps, _AVERAGE_LEAST, _AVERAGE_MOST)

    def average_interval(self, steps: int) -> int:
        """Steps from one move of the averaged weights to the next in a run of so many steps."""
        return min(_AVERAGE_INTERVAL_MOST, max(1, steps // _AVERAGE_MOVES))


def _decay(time_constant: float, least: float, most: float) -> float:
    """The momentum of an exponential moving average whose time constant is so many steps, within bounds."""
    return min(most, max(least, 1 - 1 / max(1.0, time_constant)))


def _require_fraction(field: str, value: object, *, closed: bool = False) -> None:
    """Raise GnetError unless the value is from 0 to below 1, or to 1 where the interval is closed."""
    fits = not isinstance(value, bool) and isinstance(value, int | float) and 0 <= value <= 1
    if not fits or (value == 1 and not closed):
        most = "to 1" if closed else "to below 1"
        raise GnetError(f"{field}: {value!r:.200} will not do; use a fraction from 0 {most}")


RECIPE = Recipe()
"""The recipe of a session that names none."""

LEARNING_RATE = 0.005
"""Adam's highest in a session that names none: warm-up and decay allow a larger one than a constant 0.001."""

PLAIN = Recipe(
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
    label_smoothing=0.0,
    fit_bn_momentum=False,
    average=False,
    augment="none",
)
"""The step of a case and nothing else, as sessions were before there were recipes and as the notebook's was."""


def recipe_of(config: StepConfig, recipe: Recipe) -> Recipe:
    """The recipe that a case is trained with: the published run's collapse is kept by leaving it as it was."""
    return PLAIN if config.as_published else recipe
