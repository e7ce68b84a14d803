"""What the process of one session is told, as one word of its command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from gnet_core.config import StepConfig
from gnet_core.datasets.catalog import open_data
from gnet_core.training.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class SessionTask:
    """A training session to begin in a directory or to go on with there."""

    directory: Path
    config: StepConfig
    recipe: Recipe
    epochs: int
    target: float
    """A fraction."""
    stop_at_target: bool
    memory_bytes: int
    mllog: Path | None
    resume: bool

    def to_word(self) -> str:
        plain = dataclasses.asdict(self) | {"config": self.config.overrides()}
        return json.dumps(plain, default=str)

    @classmethod
    def from_word(cls, word: str) -> SessionTask:
        plain: dict[str, Any] = json.loads(word)
        mllog = plain["mllog"]
        return cls(
            **plain
            | {
                "directory": Path(plain["directory"]),
                "config": StepConfig.from_dict(plain["config"]),
                "recipe": Recipe(**plain["recipe"]),
                "mllog": None if mllog is None else Path(mllog),
            }
        )

    @classmethod
    def by_hand(cls, directory: Path, device: str) -> SessionTask:
        """A first look: one epoch of the digits."""
        digits = open_data("digits")
        config = StepConfig(
            data="digits",
            classes=digits.classes,
            image_size=digits.default_image_size,
            device=device,
        )
        return cls(
            directory=directory,
            config=config,
            recipe=Recipe(augment=digits.default_augmentation),
            epochs=1,
            target=1.0,
            stop_at_target=False,
            memory_bytes=2**30,
            mllog=None,
            resume=False,
        )
