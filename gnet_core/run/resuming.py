"""How far an earlier part of a run came, read from its directory: what stands, what is open, what was lost."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError, StepConfig, require_choice, require_whole
from gnet_core.files import migrations
from gnet_core.machine.differences import differences
from gnet_core.plan.request import BenchRequest, quoted, words
from gnet_core.plan.suites import PRESETS, PlannedCase
from gnet_core.results import raw_files
from gnet_core.results.run_document import RecordedCase, RecordedHost, RecordedSource, RunDocument, Size
from gnet_core.results.turns import TURNS_FILE, read_turns, without_turns
from gnet_core.run.discovery import Environments
from gnet_core.run.sources import differing_files
from gnet_core.run.standing import SETTLED, CaseState, Standing


def require_options(path: Path, options: Mapping[str, Any], memory_bytes: int) -> BenchRequest:
    """The request that a run.json records. Raises GnetError naming the file for what no command line could give."""
    where = f"{path}: options"
    request = BenchRequest.from_dict(where, options)
    whole = {name: getattr(request, name) for name in ("replicates", "image_size", "worker_memory")}
    try:
        require_choice("preset", request.preset, PRESETS)
        for batch_size in request.batch_size or ():
            require_whole("batch_size", batch_size, least=1)
        for name, value in (whole | {"memory_bytes": memory_bytes}).items():
            if value is not None:
                require_whole(name, value, least=1)
        StepConfig(data=request.data, seed=request.seed, layers=request.layers, widths=request.widths)
    except (GnetError, TypeError) as error:
        raise GnetError(f"{where}: {error!s:.300}") from error
    return request


def require_sources_named(recorded: BenchRequest, request: BenchRequest, directory: Path) -> None:
    """Raise GnetError unless interpreters and revision are named again: code to run is never taken from a file."""
    for name, how in (
        ("python", "with other interpreters; name them"),
        ("against", "against a revision; name it"),
        ("settings", "with settings; name them"),
        ("sources", "from a file of sources; name it"),
    ):
        if (value := getattr(recorded, name)) and not getattr(request, name):
            again = " ".join(map(quoted, words(BenchRequest(**{name: value}))))
            raise GnetError(f"resume: {directory} was measured {how} again: {again}")


def require_same_code(
    directory: Path, before: Mapping[str, Mapping[str, str]] | None, now: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise GnetError naming the files that have changed since the run began, by the sources.digests of each source."""
    if before is None or before.keys() != now.keys():
        raise GnetError(f"resume: {directory} does not tell with which code it was started; start anew")
    for source, files in now.items():
        if names := differing_files(before[source], files):
            raise GnetError(
                f"resume: the code{source and f' of {source}'} is not what {directory} was started with: {names}; "
                "put it back as it was, or start anew"
            )


def require_same_environments(directory: Path, before: Environments, now: Environments) -> None:
    """Raise GnetError naming what is not as it was when the run in `directory` was started, in any source."""
    if before.keys() != now.keys():
        raise GnetError(f"resume: {directory} was measured from {', '.join(before)}, not from {', '.join(now)}")
    for name, environment in now.items():
        # The code itself is compared, file by file: its commit may have changed by a file that measures nothing.
        if changed := "; ".join(str(one) for one in differences(before[name], environment) if one.name != "commit"):
            raise GnetError(f"resume: this is not what {directory} was measured with{name and f' ({name})'}: {changed}")


def require_same_settings(directory: Path, before: Sequence[RecordedSource], now: Sequence[RecordedSource]) -> None:
    """Raise GnetError unless the sources, their order and their variables are those with which the run was started: the
    looks that it has taken are at comparisons with the first.
    """
    if not before:  # written before settings were recorded, when there were none
        return
    if (names := [source.name for source in before]) != [source.name for source in now]:
        raise GnetError(
            f"resume: {directory} compared {', '.join(names[1:])} with {names[0]}, and not "
            f"{', '.join(source.name for source in now[1:])} with {now[0].name}; put sources and base back as they were"
        )
    was = {source.name: source.variables for source in before}
    for source in now:
        if source.variables != was.get(source.name):
            raise GnetError(
                f"resume: {source.name} of {directory} was started with other settings ("
                f"{was.get(source.name) or 'none'!s:.300}); name just those"
            )


def require_same_hosts(directory: Path, before: Sequence[RecordedHost], now: Sequence[RecordedHost]) -> None:
    """Raise GnetError unless as many hosts of the same kind take part as when the run was started."""
    if len(before) != len(now):
        were, are = (f"{len(hosts) or 1} host{'s' if len(hosts) > 1 else ''}" for hosts in (before, now))
        raise GnetError(f"resume: {directory} was measured on {were}, and not on {are}; start gnet bench on as many")
    for then, host in zip(before, now, strict=True):
        if changed := "; ".join(map(str, differences(then.environment, host.environment))):
            raise GnetError(f"resume: {host.name} is not what {then.name} of {directory} was: {changed:.300}")


def standing_of(directory: Path, previous: RunDocument, states: Sequence[CaseState], replicates: int) -> Standing:
    """How far the run came whose run.json is `previous`. What finished and can be read stands; a lost process is to be
    measured again, unless the case was out of memory. Raises GnetError for a run of other cases or configurations.
    """
    by_name = {state.case.name: state for state in states}
    recorded = {case.case: case for case in previous.cases}
    if by_name.keys() != recorded.keys():
        other = sorted(by_name.keys() ^ recorded.keys())
        raise GnetError(f"resume: the run has other cases than this version would measure, such as {other[0]}")
    for name, state in by_name.items():
        if others := state.case.config.differences(migrations.read_config(recorded[name].config)):
            text = "; ".join(f"{field} {there!r} and not {here!r}" for field, (here, there) in others.items())
            raise GnetError(f"resume: case {name} was measured with another configuration ({text:.300}); start anew")
    # A worker that was crowded out stands in two cohorts, of which the last measures it.
    cohort_of = {worker: cohort for cohort in previous.cohorts for worker in cohort.names}
    if stray := [worker for worker in cohort_of if worker.case not in by_name]:
        raise GnetError(f"resume: worker {str(stray[0])!r:.300} belongs to no case of the run")
    finished = {worker.raw_file for worker, cohort in cohort_of.items() if cohort.complete}
    kept = [_restored(state, recorded[name], finished, directory, previous.run) for name, state in by_name.items()]
    measured = [Path(name).stem for state in kept for name in state.raw]
    standing = Standing(
        states={state.case: state for state in kept},
        cohorts=previous.cohorts,
        turns=_turns(directory, previous, measured),
        sizes={state.case: size for state in kept if isinstance(size := recorded[state.case.name].gpu_memory, Size)},
    )
    to_come = Counter(worker.case for worker, cohort in cohort_of.items() if not cohort.complete)
    planned_workers = {worker for cohort in previous.cohorts if not cohort.again for worker in cohort.names}
    planned = Counter(worker.case for worker in planned_workers)
    lost: list[PlannedCase] = []
    if previous.until == "resolved":  # which measures whatever is open anew, and has no number to make up
        return standing
    for case, state in standing.states.items():
        if previous.cohorts and state.status not in SETTLED and standing.smaller_batch_out_of_memory(case) is None:
            wanted = max(replicates, planned[case.name])
            lost += [case] * (wanted - to_come[case.name] - len(state.raw))
    stands = {
        case: dataclasses.replace(state, note="") if case in lost else state for case, state in standing.states.items()
    }
    return dataclasses.replace(standing, states=stands, lost=tuple(lost))


def _restored(state: CaseState, before: RecordedCase, finished: set[str], directory: Path, run: str) -> CaseState:
    """The state of a case with what stands of it."""

    def can_be_read(name: str) -> bool:
        try:
            raw_files.read(directory / name, directory, state.case.name, state.case.config, run)
        except GnetError:
            return False
        return True

    raw = tuple(name for name in before.raw if name in finished and can_be_read(name))
    status = before.status if before.status in SETTLED else "ok" if raw else state.status
    return dataclasses.replace(state, raw=raw, status=status, note=state.note if status is None else before.note)


def _turns(directory: Path, previous: RunDocument, measured: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """The turns of the cohorts that were finished. Raises GnetError where those of a worker that stands are missing."""
    turns = read_turns(directory, previous.run)
    if missing := without_turns(measured, turns):
        raise GnetError(
            f"resume: {directory / TURNS_FILE} has no turns of {missing[0]}, which was measured; put it back as it "
            "was, or start anew"
        )
    if turns.empty:
        return ()
    complete = {number for number, cohort in enumerate(previous.cohorts, start=1) if cohort.complete}
    rows = turns[turns["cohort"].isin(complete)].to_dict("records")
    return tuple({str(name): value for name, value in row.items()} for row in rows)
