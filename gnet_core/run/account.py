"""What the wall time of a run goes to: every second of it is charged to one activity."""

from __future__ import annotations

import time
from typing import Literal

import msgspec

from gnet_core.results.run_document import TimeSpent

Activity = Literal["preparing", "starting", "warming_up", "timing", "ending", "waiting", "peaks", "trace", "report"]


class Account:
    """Charges the time since the last call of `begin` to the activity that it named."""

    def __init__(self, before: TimeSpent = TimeSpent(), began: float | None = None) -> None:  # noqa: B008 - frozen
        """`before` is what earlier parts of the run took, `began` the time of the monotonic clock at which this one
        began to prepare; None for now.
        """
        self._seconds: dict[str, float] = msgspec.structs.asdict(before)
        self._activity: Activity = "preparing"
        self._since = time.monotonic() if began is None else began

    def begin(self, activity: Activity) -> None:
        now = time.monotonic()
        self._seconds[self._activity] += now - self._since
        self._activity, self._since = activity, now

    @property
    def spent(self) -> TimeSpent:
        """What has gone so far, that of the present activity included."""
        self.begin(self._activity)
        return TimeSpent(**self._seconds)
