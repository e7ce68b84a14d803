"""Two profiles side by side: by part of the network and by type of operation, what got faster and what slower.

Pure but for `load`. The times are under the profiler, so nothing here is a verdict.
"""

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
from gnet_core.profile.document import PartTime, Profile, read
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
        found = self.new_seconds / self.base_seconds if self.base_seconds else math.inf
        return found if math.isfinite(found) else None

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
    """Where the batches differ, seconds are of one image."""
    shared_out: bool
    """Where the profiles count time in different ways: seconds are then shares of the step without the profiler."""
    differences: list[Difference]
    """Of the environments."""
    other_configs: list[str]
    """Fields in which the cases differ, besides execution, precision and batch size."""

    @property
    def unit(self) -> str:
        return "image" if self.per_image else "step"

    @property
    def across_machines(self) -> bool:
        return any(difference.kind == "hardware" for difference in self.differences)


def load(directory: Path) -> tuple[Profile, Path]:
    """The profile of a directory of gnet profile, or the only one of a run, and where it lies.

    Raises GnetError for a directory that holds none, several, or one without operations or without their parts.
    """
    if document.is_profile(directory):
        found = [directory / PROFILE_FILE]
    else:
        found = bounded.trace_files(directory, PROFILE_FILE)
    if len(found) != 1:
        told = "holds no profile" if not found else f"holds {len(found)} profiles"
        raise GnetError(f"{directory}: it {told}; name a directory of gnet profile, or of gnet bench with one trace")
    try:
        profile = read(json_documents.read_json(found[0], directory, strict=True)[0])
    except GnetError as error:
        raise GnetError(f"{found[0].parent}: {error}") from error
    if not profile.operations:
        raise GnetError(f"{found[0].parent}: its trace tells no operations to compare by. {plain(profile.note)}")
    return profile, found[0].parent


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
        told = [_summed(times(side)) for side in sides]
        told = [
            _of_one(each, side, shared_out=shared_out, per_image=per_image)
            for each, side in zip(told, sides, strict=True)
        ]
        names = dict.fromkeys([*told[0], *told[1]])
        found = [
            Change(name=name, base_seconds=told[0].get(name, 0.0), new_seconds=told[1].get(name, 0.0)) for name in names
        ]
        return sorted(found, key=lambda change: -abs(change.difference))

    known = bool(sides[0].parts and sides[1].parts)
    return ProfileComparison(
        base=sides[0],
        new=sides[1],
        base_directory=base[1],
        new_directory=new[1],
        parts=changes(lambda side: [(each.part, each.self_seconds) for each in side.parts]) if known else [],
        by_direction=changes(lambda side: [(_directed(each), each.self_seconds) for each in side.parts])
        if known
        else [],
        operations=changes(lambda side: [(each.plain, each.self_seconds) for each in side.operations]),
        per_image=per_image,
        shared_out=shared_out,
        differences=differences(sides[0].environment, sides[1].environment),
        other_configs=_other_configs(*sides),
    )


def _summed(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, seconds in times:
        found[name] = found.get(name, 0.0) + seconds
    return found


def _of_one(times: dict[str, float], side: Profile, *, shared_out: bool, per_image: bool) -> dict[str, float]:
    """Seconds of one step or image; shared out they add up to the step without the profiler."""
    images = side.config.batch_size if per_image else 1
    if not shared_out:
        return {name: seconds / side.steps / images for name, seconds in times.items()}
    whole = sum(times.values()) or 1.0
    return {name: seconds / whole * side.untraced_seconds / images for name, seconds in times.items()}


def _directed(each: PartTime) -> str:
    return each.part if each.direction == "neither" else f"{each.part} {each.direction}"


def _other_configs(base: Profile, new: Profile) -> list[str]:
    return [
        f"{field}: {was!r} → {now!r}"
        for field, (was, now) in base.config.differences(new.config).items()
        if field not in ("execution", "precision")
    ]
