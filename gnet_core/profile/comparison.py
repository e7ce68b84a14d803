"""Two profiles side by side: what got faster and what slower under the profiler, of which nothing is a verdict."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from gnet_core.config import GnetError
from gnet_core.files import bounded, json_documents
from gnet_core.files.whole import PROFILE_FILE
from gnet_core.machine.differences import Difference, differences
from gnet_core.profile import document
from gnet_core.profile.document import Profile, read
from gnet_core.text import plain

NO_SECONDS = 5e-7
"""Differences below it are shown as none: the shortest kernel takes a microsecond."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """The time of one part or one type of operation in both profiles, in one step (or image)."""

    name: str
    base_seconds: float
    new_seconds: float

    @property
    def difference(self) -> float:
        """Seconds that NEW takes more; negative where it takes less."""
        return self.new_seconds - self.base_seconds

    @property
    def ratio(self) -> float | None:
        """NEW's time as a multiple of BASE's; None where BASE has none of it, or too little to divide by."""
        ratio = self.new_seconds / self.base_seconds if self.base_seconds else math.inf
        return ratio if math.isfinite(ratio) else None

    @property
    def is_none(self) -> bool:
        """Whether it is too small for any figure that is shown."""
        return abs(self.difference) < NO_SECONDS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileComparison:
    """Two profiles and their changes, the largest difference first."""

    base: Profile
    new: Profile
    base_directory: Path
    new_directory: Path
    parts: list[Change]
    by_direction: list[Change]
    """Parts with forward and backward apart."""
    operations: list[Change]
    per_image: bool
    """Whether seconds are of one image, since the batches differ."""
    shared_out: bool
    """Whether the profiles count time in different ways: seconds are then shares of the step without the profiler."""
    differences: list[Difference]
    """Those of the environments."""
    other_configs: list[str]
    """Fields in which the cases differ, besides execution, precision and batch size."""

    @property
    def unit(self) -> str:
        return "image" if self.per_image else "step"

    @property
    def across_machines(self) -> bool:
        return any(difference.kind == "hardware" for difference in self.differences)


def load(directory: Path) -> tuple[Profile, Path]:
    """The only profile in a directory, and where it lies. Raises GnetError for none, several, or no operations."""
    is_one = document.is_profile(directory)
    paths = [directory / PROFILE_FILE] if is_one else bounded.trace_files(directory, PROFILE_FILE)
    if len(paths) != 1:
        holds = f"holds {len(paths)} profiles" if paths else "holds no profile"
        raise GnetError(f"{directory}: it {holds}; name a directory of gnet profile, or of gnet bench with one trace")
    folder = paths[0].parent
    try:
        profile = read(json_documents.read_json(paths[0], directory, strict=True)[0])
    except GnetError as error:
        raise GnetError(f"{folder}: {error}") from error
    if not profile.operations:
        raise GnetError(f"{folder}: its trace tells no operations to compare by. {plain(profile.note)}")
    return profile, folder


def compare(base: tuple[Profile, Path], new: tuple[Profile, Path]) -> ProfileComparison:
    """Compare two loaded profiles. Raises GnetError where their images differ in size: then all of it differs."""
    sides = (base[0], new[0])
    if sides[0].config.image_size != sides[1].config.image_size:
        raise GnetError(
            f"{new[1]}: image_size is {sides[1].config.image_size}, in {base[1]} it is {sides[0].config.image_size}; "
            "parts do not grow alike with the image, so profile both at one size"
        )
    per_image = sides[0].config.batch_size != sides[1].config.batch_size
    shared_out = sides[0].counting != sides[1].counting

    def changes(times: Callable[[Profile], Iterable[tuple[str, float]]]) -> list[Change]:
        was, now = (_sums(times(side), side, shared_out=shared_out, per_image=per_image) for side in sides)
        pairs = [
            Change(name=name, base_seconds=was.get(name, 0.0), new_seconds=now.get(name, 0.0))
            for name in dict.fromkeys([*was, *now])
        ]
        return sorted(pairs, key=lambda change: -abs(change.difference))

    has_parts = bool(sides[0].parts and sides[1].parts)
    directed = changes(lambda side: ((part.directed, part.self_seconds) for part in side.parts)) if has_parts else []
    return ProfileComparison(
        base=sides[0],
        new=sides[1],
        base_directory=base[1],
        new_directory=new[1],
        parts=changes(lambda side: ((part.part, part.self_seconds) for part in side.parts)) if has_parts else [],
        by_direction=directed,
        operations=changes(lambda side: ((kind.plain, kind.self_seconds) for kind in side.operations)),
        per_image=per_image,
        shared_out=shared_out,
        differences=differences(sides[0].environment, sides[1].environment),
        other_configs=[
            f"{field}: {was!r} → {now!r}"
            for field, (was, now) in sides[0].config.differences(sides[1].config).items()
            if field not in ("execution", "precision")
        ],
    )


def _sums(times: Iterable[tuple[str, float]], side: Profile, *, shared_out: bool, per_image: bool) -> dict[str, float]:
    """Seconds of one step or image by name; shared out they add up to the step without the profiler."""
    sums: dict[str, float] = {}
    for name, seconds in times:
        sums[name] = sums.get(name, 0.0) + seconds
    whole, times_of_it = (sum(sums.values()) or 1.0, side.untraced_seconds) if shared_out else (side.steps, 1.0)
    images = side.config.batch_size if per_image else 1
    return {name: seconds / whole * times_of_it / images for name, seconds in sums.items()}
