"""The processes of a case that has several workers: where each of them listens, and which one this is."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """The workers of a case as each of their processes is told them."""

    addresses: tuple[str, ...]
    """HOST:PORT of each worker, the one that reports first; a port is free for the framework's own server."""
    index: int = 0
    """Which of them this process is."""

    @property
    def reports(self) -> bool:
        """Whether this is the worker that times the case and writes its raw file."""
        return self.index == 0
