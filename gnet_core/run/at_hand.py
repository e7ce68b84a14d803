"""Whether what a stored run measured is at hand, to be measured again: its code, its environment and its data.

What a run.json records is believed only as far as this checkout has it. No program is ever started because a run.json
names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from gnet_core.config import GnetError
from gnet_core.machine.differences import differences
from gnet_core.machine.environment import Environment
from gnet_core.plan.suites import AGAIN
from gnet_core.results.records import Run
from gnet_core.run import sources

_COMMIT = re.compile(r"(?P<revision>[0-9a-f]{40,64})(\+changes)?")
_SHORT_COMMIT = 12
"""Characters of a commit that name a source, whose name is part of the names of files."""


def source_of(run: Run, cases: Sequence[str]) -> str:
    """The source that measured the cases, in its main interpreter. Raises GnetError where there is not one such."""
    measured_by = list(dict.fromkeys(run.row_of[case].source for case in cases))
    if len(measured_by) > 1 or AGAIN in measured_by:
        raise GnetError(
            f"{run.directory}: its cases are from the sources {', '.join(measured_by)}, and only those of one can be "
            "measured again; compare runs of one source each"
        )
    own = set(run.document.own_interpreters)
    if others := sorted({run.configs[case].framework for case in cases} & own):
        raise GnetError(
            f"{run.directory}: {others[0]} had an interpreter of its own there, and none is started because a file "
            "names it; measure with gnet bench and its --python"
        )
    return measured_by[0]


def differing_code(run: Run, source: str, code: Mapping[str, str]) -> str:
    """The files in which a code, given by its `digests`, is not what the source was measured with; empty for the same.

    No commit is asked: files that measure nothing may have changed, and those that measure may be uncommitted.
    """
    return sources.differing_files(_recorded_code(run, source), code)


def revision_of(run: Run, source: str, checkout: Path, folder: Path) -> str:
    """The revision of this repository that the source was measured with, which is written into a new `folder`.

    Raises GnetError where the commit that is recorded is not here, or has other code than was measured.
    """
    environment = run.document.environments.get(source)
    match = _COMMIT.fullmatch((environment and environment.machine.commit) or "")
    if match is None:
        raise GnetError(f"{run.directory} records no commit that could be looked up")
    revision = match["revision"][:_SHORT_COMMIT]
    try:
        code = sources.digests(sources.revision(revision, checkout, folder))
    except GnetError as error:
        reason = str(error).removeprefix("against: ")
        raise GnetError(f"{run.directory} was measured at a commit that cannot be had here: {reason}") from error
    if names := differing_code(run, source, code):
        raise GnetError(f"{run.directory} was measured with changes that its commit {revision} lacks: {names}")
    return revision


def require_environment(run: Run, source: str, now: Environment) -> None:
    """Raise GnetError naming what of the machine and its software is not as it was when the source was measured."""
    # The code itself is compared, file by file.
    differing = [one for one in differences(run.document.environments.get(source), now) if one.name != "commit"]
    if differing:
        raise GnetError(f"{run.directory} was measured with another environment: {'; '.join(map(str, differing))}")


def require_data(run: Run, fingerprint: str) -> None:
    """Raise GnetError where the data of that fingerprint are not what the run was measured with."""
    if run.document.data_fingerprint != fingerprint:
        raise GnetError(f"{run.directory} was measured with other images than there are now in its data")


def _recorded_code(run: Run, source: str) -> Mapping[str, str]:
    code = (run.document.code or {}).get(source)
    if code is None:
        raise GnetError(f"{run.directory} does not record its code, as older versions did not")
    return code
