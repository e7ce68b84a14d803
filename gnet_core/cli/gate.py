"""What a pipeline asks of a command: gates under a team's rules, a JUnit file, GitHub's summary and annotations."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gnet_core.cli.output import BAD_USAGE, FINE, complain, write_documents
from gnet_core.config import GnetError
from gnet_core.plan.request import BenchRequest, ReportRequest

if TYPE_CHECKING:
    from gnet_core.results.gates import GateResult
    from gnet_core.results.outcomes import Outcomes
    from gnet_core.results.rules import Rules

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub Actions shows as the summary of a step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """The options of options.gate, read and found fit."""

    fail_on: tuple[str, ...]
    rules: Rules
    junit: Path | None
    summary: Path | None
    """The file that GITHUB_STEP_SUMMARY names; None without --github."""

    @classmethod
    def of(
        cls, *, fail_on: tuple[str, ...], rules: Path | None, junit: Path | None, github: bool, as_json: bool
    ) -> Gate:
        """Read the options. Raises GnetError, naming the option, for what cannot be kept when the command ends."""
        from gnet_core.results.rules import NO_RULES, load_rules

        if github and as_json:
            raise GnetError("github: it prints lines on stdout, where --json prints one document; leave one out")
        summary = os.environ.get(SUMMARY_VARIABLE, "") if github else ""
        if github and not summary:
            raise GnetError(
                f"github: {SUMMARY_VARIABLE} names no file, as it does in a step of GitHub Actions; "
                "leave it out elsewhere"
            )
        if junit is not None and not junit.parent.is_dir():
            raise GnetError(f"junit: {junit} cannot be written, as there is no folder {junit.parent}; make it first")
        if junit is not None and junit.exists() and not junit.is_file():
            raise GnetError(f"junit: {junit} is no file; name one, which may be new")
        if junit is not None and not os.access(junit.parent, os.W_OK | os.X_OK):
            raise GnetError(
                f"junit: {junit} cannot be written, as {junit.parent} is not yours to write in; name another"
            )
        return cls(
            fail_on=fail_on,
            rules=load_rules(rules) if rules is not None else NO_RULES,
            junit=junit,
            summary=Path(summary) if summary else None,
        )

    @classmethod
    def of_request(cls, request: BenchRequest | ReportRequest) -> Gate:
        """Read those of a request."""
        return cls.of(
            fail_on=request.fail_on,
            rules=request.rules,
            junit=request.junit,
            github=request.github,
            as_json=request.as_json,
        )

    def tell(self, result: GateResult, outcomes: Callable[[], Outcomes]) -> int:
        """Say which waivers match nothing, and write and print what was asked for of the outcomes, which are worked out
        for that. Returns the exit status, FINE where all of it could be written.
        """
        for waiver in result.unmatched:
            complain(f"note: rules: {waiver.label} matches no case")
        if self.junit is None and self.summary is None:
            return FINE
        from gnet_core.files.whole import write_whole
        from gnet_core.report import github, junit

        outcomes_to_write, statuses = outcomes(), [FINE]
        if (path := self.junit) is not None:
            statuses.append(_write(path, lambda: write_whole(path, junit.to_junit(outcomes_to_write))))
        if (summary := self.summary) is not None:
            statuses.append(_write(summary, lambda: _append(summary, outcomes_to_write)))
            for line in github.annotation_lines(outcomes_to_write):
                print(line)
        return max(statuses)


def print_gates(result: GateResult) -> None:
    """Print the gates that failed, a line each with their cases, and what rules kept from failing."""
    from gnet_core.report.gates import excused
    from gnet_core.text import plain

    for gate, cases in result.failed.items():
        print(f"\nGate failed: {gate}: {plain(', '.join(cases))}")
    for sentence in excused(result):
        print(f"\nExcused: {plain(' '.join(sentence))}")


def _write(path: Path, write: Callable[[], None]) -> int:
    """Write a file that an option names; say why where it cannot be written, and return the exit status: also where
    it may only be read, as a pipeline that finds no file would take that for a run without outcomes.
    """
    unwritten = write_documents(write)
    if unwritten is None:
        return FINE
    complain(f"{path}: it was not written: {unwritten.why}")
    return BAD_USAGE


def _append(path: Path, outcomes: Outcomes) -> None:
    """Append a summary to what other commands of the step have left. Raises OSError, and GnetError where it is full."""
    from gnet_core.report.github import MAX_SUMMARY_BYTES, to_summary

    # Without O_NONBLOCK opening a pipe waits for its reader.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "ab") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        between = "\n" if status.st_size else ""
        summary = to_summary(outcomes, MAX_SUMMARY_BYTES - status.st_size - len(between))
        if not summary:
            raise GnetError(f"it has {status.st_size} bytes already, and GitHub takes {MAX_SUMMARY_BYTES} of a step")
        file.write(f"{between}{summary}".encode())
