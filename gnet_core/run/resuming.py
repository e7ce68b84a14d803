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
from gnet_core.machine.environment import Environment
from gnet_core.plan.request import BenchRequest, quoted, words
from gnet_core.plan.schedule import Job, WorkerName
from gnet_core.plan.suites import PRESETS, PlannedCase
from gnet_core.results import raw_files
from gnet_core.results.run_document import RecordedCase, RunDocument, Size
from gnet_core.results.turns import TURNS_FILE, read_turns, without_turns
from gnet_core.run.runner import SETTLED, CaseState, PlannedCohort, Standing
from gnet_core.run.sources import changed_files

MAX_FILES_NAMED = 5


def require_options(path: Path, options: Mapping[str, Any], memory_bytes: int) -> BenchRequest:
    """What a run was started with, from the `options` and `memory_bytes` of its run.json.

    Raises GnetError naming the file for what no command line could give.
    """
    where = f"{path}: options"
    for name in ("preset", "device"):  # which have defaults that no run was started with
        if name not in options:
            raise GnetError(f"{where}: field {name!r} is missing")
    request = BenchRequest.from_dict(where, options)
    try:
        require_choice("preset", request.preset, PRESETS)
        for batch_size in request.batch_size or ():
            require_whole("batch_size", batch_size, least=1)
        for name in ("replicates", "image_size", "worker_memory"):
            if (value := getattr(request, name)) is not None:
                require_whole(name, value, least=1)
        StepConfig(data=request.data, seed=request.seed, layers=request.layers, widths=request.widths)
        require_whole("memory_bytes", memory_bytes, least=1)
    except (GnetError, TypeError) as error:
        raise GnetError(f"{where}: {error!s:.300}") from error
    return request


def require_sources_named(recorded: BenchRequest, asked: BenchRequest, directory: Path) -> None:
    """Raise GnetError unless the interpreters and the revision of a run are named again on the command line.

    A program or a revision whose code would run is never taken from a file, which may be a stranger's.
    """
    if recorded.python and not asked.python:
        again = " ".join(map(quoted, words(BenchRequest(python=recorded.python))))
        raise GnetError(f"resume: {directory} was measured with other interpreters; name them again: {again}")
    if recorded.against and not asked.against:
        again = " ".join(map(quoted, words(BenchRequest(against=recorded.against))))
        raise GnetError(f"resume: {directory} was measured against a revision; name it again: {again}")


def require_same_code(
    directory: Path, before: Mapping[str, Mapping[str, str]] | None, now: Mapping[str, Mapping[str, str]]
) -> None:
    """Raise GnetError naming the files in which a source's code is not what it was when the run was started.

    `before` is run.json's record of sources.digests by source, and `now` the same of the code as it is.
    """
    if before is None or before.keys() != now.keys():
        raise GnetError(f"resume: {directory} does not tell with which code it was started; start anew")
    for source, files in now.items():
        if changed := changed_files(before[source], files):
            told = ", ".join(changed[:MAX_FILES_NAMED])
            told += f" and {len(changed) - MAX_FILES_NAMED} more" if len(changed) > MAX_FILES_NAMED else ""
            raise GnetError(
                f"resume: the code{source and f' of {source}'} is not what {directory} was started with: {told}; "
                "put it back as it was, or start anew"
            )


def require_same_environments(
    directory: Path, before: Mapping[str, Environment], now: Mapping[str, Environment]
) -> None:
    """Raise GnetError naming what is not as it was when the run in `directory` was started, in any source."""
    if before.keys() != now.keys():
        raise GnetError(f"resume: {directory} was measured from {', '.join(before)}, not from {', '.join(now)}")
    for name, environment in now.items():
        # The code itself is compared, file by file: its commit may have changed by a file that measures nothing.
        if other := [each for each in differences(before[name], environment) if each.name != "commit"]:
            told = "; ".join(map(str, other))
            raise GnetError(f"resume: this is not what {directory} was measured with{name and f' ({name})'}: {told}")


def standing_of(directory: Path, previous: RunDocument, states: Sequence[CaseState], replicates: int) -> Standing:
    """How far the run came that `previous`, its run.json, tells of. `states` are its cases as they are before any run.

    What finished, and can still be read, stands. A process that was lost is to be measured again, but not where the
    case was out of memory. Raises GnetError for a run of other cases or configurations.
    """
    by_name = {state.case.name: state for state in states}
    recorded = {case.case: case for case in previous.cases}
    if by_name.keys() != recorded.keys():
        other = sorted(by_name.keys() ^ recorded.keys())
        raise GnetError(f"resume: the run has other cases than this version would measure, such as {other[0]}")
    for name, state in by_name.items():
        if others := state.case.config.differences(migrations.read_config(recorded[name].config)):
            told = "; ".join(f"{field} {there!r} and not {asked!r}" for field, (asked, there) in others.items())
            raise GnetError(f"resume: case {name} was measured with another configuration ({told:.300}); start anew")
    cohorts = tuple(
        PlannedCohort(
            jobs=tuple(_job_of(worker, by_name) for worker in cohort.names),
            order=cohort.order,
            complete=cohort.complete,
            again=cohort.again,
        )
        for cohort in previous.cohorts
    )
    # A worker that was crowded out stands in two cohorts, of which the last measures it.
    cohort_of = {job: cohort for cohort in cohorts for job in cohort.jobs}
    finished = {job.worker.raw_file for job, cohort in cohort_of.items() if cohort.complete}
    restored = {
        state.case: _restored(state, recorded[name], finished, directory, previous.run)
        for name, state in by_name.items()
    }
    sizes = {state.case: size for name, state in by_name.items() if isinstance(size := recorded[name].gpu_memory, Size)}
    measured = [WorkerName.parse(Path(name).stem) for state, _ in restored.values() for name in state.raw]
    standing = Standing(
        states={case: state for case, (state, _) in restored.items()},
        cohorts=cohorts,
        turns=_turns(directory, previous.run, cohorts, measured),
        sizes=sizes,
    )
    to_come = Counter(job.case for job, cohort in cohort_of.items() if not cohort.complete)
    planned = Counter(job.case for job in {job for cohort in cohorts if not cohort.again for job in cohort.jobs})
    lost: list[PlannedCase] = []
    for case, state in standing.states.items():
        if cohorts and state.status not in SETTLED and standing.smaller_batch_out_of_memory(case) is None:
            wanted = max(replicates, planned[case])
            lost += [case] * (wanted - to_come[case] - len(state.raw))
    kept = {
        case: state if case in lost else dataclasses.replace(state, note=note)
        for case, (state, note) in restored.items()
    }
    return dataclasses.replace(standing, states=kept, lost=tuple(lost))


def _restored(
    state: CaseState, before: RecordedCase, finished: set[str], directory: Path, run: str
) -> tuple[CaseState, str]:
    """The state of a case with what stands of it, and the note that it had."""
    raw = [name for name in before.raw if name in finished and _can_be_read(directory, name, state, run)]
    status = before.status if before.status in SETTLED else "ok" if raw else state.status
    note = before.note if status is not None else state.note
    return dataclasses.replace(state, raw=raw, status=status, note=""), note


def _can_be_read(directory: Path, name: str, state: CaseState, run: str) -> bool:
    try:
        raw_files.read(directory / name, directory, state.case.name, state.case.config, run)
    except GnetError:
        return False
    return True


def _turns(
    directory: Path, run: str, cohorts: Sequence[PlannedCohort], measured: Sequence[WorkerName]
) -> tuple[dict[str, Any], ...]:
    """The turns of the cohorts that were finished. Raises GnetError where those of a worker that stands are missing."""
    turns = read_turns(directory, run)
    if missing := without_turns(measured, turns):
        raise GnetError(
            f"resume: {directory / TURNS_FILE} has no turns of {missing[0]}, which was measured; put it back as it "
            "was, or start anew"
        )
    if turns.empty:
        return ()
    complete = {number for number, cohort in enumerate(cohorts, start=1) if cohort.complete}
    rows = turns[turns["cohort"].isin(complete)].to_dict("records")
    return tuple({str(name): value for name, value in row.items()} for row in rows)


def _job_of(worker: WorkerName, states: Mapping[str, CaseState]) -> Job:
    if worker.case not in states:
        raise GnetError(f"resume: worker {str(worker)!r:.300} belongs to no case of the run")
    return Job(case=states[worker.case].case, replicate=worker.replicate)
