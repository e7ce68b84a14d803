"""What a run comes to, worked out once for every form of its report: plain text, lists, grids and pictures."""

from __future__ import annotations

import dataclasses
import functools

from gnet_core.config import FRAMEWORKS, TITLES, GnetError
from gnet_core.machine import overview
from gnet_core.machine.differences import differences
from gnet_core.machine.environment import UNKNOWN
from gnet_core.plan.request import command_line
from gnet_core.profile.document import Profile, read
from gnet_core.report import checks, gpu
from gnet_core.report.document import Banner, Sentence
from gnet_core.report.drawing import PLOTS, Picture
from gnet_core.report.findings import findings, smallest_effects
from gnet_core.report.grid import Column, Grid, grid, pairs
from gnet_core.report.views.answers import DIFFERENT
from gnet_core.report.views.section import Section
from gnet_core.report.views.suites import sections
from gnet_core.results.comparisons import Family, within
from gnet_core.results.records import Row, Run, requested
from gnet_core.results.run_document import Peak, best_peaks
from gnet_core.results.turns import TURNS_FILE
from gnet_core.stats.verdicts import DEFAULT_MARGIN, MIN_PROCESSES, POWER, Comparison

TITLE = "The train step of GoogleNet_2"

MAX_DISTURBED = 0.2
"""Of a case's turns. Beyond that its figures are those of a machine that did something else as well."""

FILES = (
    ("cases.csv", "the figures of every case, for programs"),
    ("verdicts.csv", "the comparisons, for programs"),
    ("run.json", "machine, software, configuration, seed, order of turns, and what became of every case"),
    (TURNS_FILE, "what the machine was like during each turn"),
    ("raw/", "every sample, in pytest-benchmark's own files"),
    (f"{PLOTS}/", "the pictures as SVG"),
    ("traces/", "what the profiler recorded; TensorBoard's Profile page opens it: tensorboard --logdir traces"),
)
"""Of a run directory, and what they hold."""

_RATIOS = ("×:", "SAME, FASTER, SLOWER, UNRESOLVED:", "smallest effect:", "sequential:")
"""The terms of a comparison."""

HOW_TO_READ = (
    Sentence(
        "images/s:",
        "The batch size over the mean step of all timed blocks. Its 95 % interval is where the mean of further "
        "processes like these would lie.",
    ),
    Sentence(
        "± turns:",
        "The standard deviation of those blocks within a process, which says nothing about the next process.",
    ),
    Sentence("p50, p95:", "Of steps synchronised one by one; p95 only from 100 of them."),
    Sentence(
        "compile, first step:",
        "Compile is the first call less a steady step, on a GPU with cuDNN's and XLA's timing of candidate kernels "
        "(autotuning); first step is from TensorFlow imported to the end of the first step.",
    ),
    Sentence(
        "×:",
        "A ratio of images/s, taken turn by turn between processes that were alive together, so it need not be the "
        "quotient of the two figures.",
    ),
    Sentence(
        "SAME, FASTER, SLOWER, UNRESOLVED:",
        f"SAME: the whole 95 % interval of the ratio is within {100 * DEFAULT_MARGIN:g} % of 1. FASTER, SLOWER: the "
        f"interval leaves out 1 and the estimate is more than {100 * DEFAULT_MARGIN:g} % away, at a false discovery "
        "rate of 5 % over the table. UNRESOLVED: neither can be said, which does not mean the same.",
    ),
    Sentence(
        "smallest effect:",
        f"The smallest true difference that the comparison would have found {100 * POWER:g} % of the time.",
    ),
    Sentence(
        "sequential:",
        "Of processes timed one after the other: the machine's drift between them is part of the ratio.",
    ),
    Sentence(
        "MFU:",
        "The arithmetic of the network's layers over time, as a share of the fastest operation that the same run "
        "measured in the same precision.",
    ),
)
"""Terms of the tables, and what they mean."""

HOW_TO_READ_RATIOS = tuple(term for term in HOW_TO_READ if term.point in _RATIOS)


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """All that a report says of a run. Each part is worked out when it is first asked for, and once."""

    run: Run

    @functools.cached_property
    def families(self) -> list[Family]:
        """The comparisons, a family for each suite that compares."""
        return within(self.run)

    @functools.cached_property
    def sections(self) -> list[Section]:
        """The suites that have rows."""
        return sections(self.run, self.families)

    @functools.cached_property
    def answers(self) -> list[list[Sentence]]:
        """The answers of each section."""
        return [section.answers() for section in self.sections]

    @functools.cached_property
    def pictures(self) -> list[Picture | None]:
        """The picture of each section that has figures."""
        return [section.picture() for section in self.sections]

    @functools.cached_property
    def findings(self) -> list[Sentence]:
        """What a reader should take away, the most decided and most useful first."""
        return findings(self.sections, self.profiles)

    @functools.cached_property
    def smallest_effects(self) -> Sentence | None:
        """What the comparisons could have found; None where nothing is compared."""
        return smallest_effects(self.sections)

    @functools.cached_property
    def _traces(self) -> tuple[list[Profile], list[str]]:
        profiles, failed = [], []
        for document in self.run.profiles:
            try:
                profiles.append(read(document))
            except GnetError as error:
                failed.append(f"A profile.json in traces/ cannot be told: {error}")
        return profiles, failed

    @property
    def profiles(self) -> list[Profile]:
        """The run's traces."""
        return self._traces[0]

    @property
    def failed_profiles(self) -> list[str]:
        """Why other traces cannot be told, a sentence each."""
        return self._traces[1]

    @functools.cached_property
    def failed_checks(self) -> list[str]:
        """What the report finds wrong with its own figures, a sentence each."""
        return checks.failed_checks(self.run, self.families)

    @functools.cached_property
    def standing(self) -> Banner:
        """Whether the run's figures may be quoted, and if not, why."""
        if self.reservations:
            return Banner("bad", "Do not quote these figures:", self.reservations)
        beside = ["each with its machine, its configuration and its interval"]
        if sequential := self.sequential:
            are = "comparison is" if len(sequential) == 1 else "comparisons are"
            beside.append(f"{len(sequential)} {are} sequential: say so beside the ratio")
        return Banner("good", "These figures may be quoted,", beside)

    @functools.cached_property
    def sequential(self) -> list[Comparison]:
        """The comparisons of processes that were timed one after the other."""
        found = (each for family in self.families for each in family.comparisons.values())
        return [each for each in found if each.mode == "sequential"]

    @functools.cached_property
    def reservations(self) -> list[str]:
        """Every reason against quoting the run's figures. (That no A/A comparison was run is none.)"""
        measured = [row for row in self.run.rows if row.status == "ok"]
        why = []
        if self.run.document.preset == "smoke":
            why.append("the preset smoke only shows that everything works, it measures nothing")
        if not self.run.document.complete:
            why.append("the run was interrupted")
        if not measured:
            why.append("nothing was measured")
        elif (fewest := min(row.replicates for row in measured)) < MIN_PROCESSES:
            processes = "one process" if fewest == 1 else f"{fewest} processes"
            why.append(f"they rest on {processes} a case, so how far the next process would differ is unknown")
        return [*why, *_reservations_of_rows(measured), *self._reservations_of_verdicts()]

    def _reservations_of_verdicts(self) -> list[str]:
        why = []
        for family in self.families:
            if family.identical_code:
                odd = [each for each in family.comparisons.values() if each.verdict in DIFFERENT]
                why += [f"identical code against itself came out {each.verdict}" for each in odd]
        if broken := self.failed_checks:
            why.append(f"{len(broken)} of the report's own checks failed, of which the first: {broken[0].rstrip('.')}")
        return why

    @functools.cached_property
    def machine(self) -> str:
        """The machine and what was measured on it, each framework with its version, in one line."""
        document = self.run.document
        label = overview.label(document.environment, document.device)
        measured = {config.framework for config in self.run.configs.values()} or {document.environment.leading}
        frameworks = [each for each in FRAMEWORKS if each in measured]
        told = [document.environment_of(each).version(each) for each in frameworks]
        return ", ".join(filter(None, [label, *told]))

    @functools.cached_property
    def asked(self) -> str:
        """What was asked of the machine, and when."""
        document = self.run.document
        version = document.environment.machine.packages.get("gnet", UNKNOWN)
        processes = "1 process" if document.replicates == 1 else f"{document.replicates} processes"
        configs = self.run.configs.values()
        sizes = " and ".join(f"{size}×{size}" for size in sorted({config.image_size for config in configs}))
        images = f"images of {sizes}, " if sizes else ""
        return (
            f"Preset {document.preset}, {processes} a case, {images}seed {document.seed}, "
            f"started {document.created}, gnet {version}"
        )

    @functools.cached_property
    def command(self) -> str:
        """What measures all of the run again."""
        return command_line(requested(self.run.document))

    @functools.cached_property
    def environment(self) -> Grid:
        """The run's identity, the machine and its software."""
        document = self.run.document
        lines = [("run", self.run.identity), *overview.as_lines(document.environment)]
        for framework in document.own_interpreters:
            of_peer = document.environment_of(framework)
            lines += overview.lines_of_peers(of_peer, [framework], where=" of its own interpreter")
        return pairs(lines, ("what", "value"), "environment")

    @functools.cached_property
    def environment_differences(self) -> list[tuple[str, list[str]]]:
        """In what the environments of the run's other sources differ from the first one's: headings with lines."""
        peers: dict[str, str] = {each: TITLES[each] for each in self.run.document.own_interpreters}
        named = list(self.run.document.environments.items())
        found = []
        for name, other in named[1:]:
            first, base = named[0]
            told = f"{peers[name]}'s own interpreter" if name in peers else name
            if differing := differences(base, other):
                found.append((f"From {first or 'the first'} to {told} these differ:", list(map(str, differing))))
        return found

    @functools.cached_property
    def caveats(self) -> list[str]:
        """What about the machine would make a careful reader doubt figures, a sentence each."""
        doubts = overview.warnings(self.run.document.environment)
        if any(row.device != "cpu" and row.equal_work is not None for row in self.run.rows):
            doubts.append(
                "How far losses may be from float32's has been measured on a CPU and not yet on a GPU, so a row that "
                "is within tolerance, or is not, says less here."
            )
        return doubts

    @functools.cached_property
    def peaks(self) -> Grid:
        """The best of the run's passes by precision, which MFU is a share of; no row where none was measured."""
        columns = [
            Column[tuple[str, Peak]]("precision", lambda each: each[0], text=True),
            Column[tuple[str, Peak]]("TFLOP/s", lambda each: f"{each[1].flop_per_second / 1e12:.3g}"),
            Column[tuple[str, Peak]]("fastest operation", lambda each: each[1].operation, text=True),
        ]
        return grid(columns, list(best_peaks(self.run.document.peaks).items()), "the device's peaks")

    @functools.cached_property
    def failed_peaks(self) -> list[str]:
        """What went wrong where the device's peaks were to be measured, each once."""
        errors = [str(found["error"]) for found in self.run.document.peaks if "error" in found]
        return [f"A measurement of the device's peaks failed: {error}" for error in dict.fromkeys(errors)]

    @functools.cached_property
    def gpu_lines(self) -> list[str]:
        """What the GPU was like while it worked, a sentence each; empty where nothing ran on one."""
        return gpu.lines(self.run, self.sequential)

    @functools.cached_property
    def gpu_cases(self) -> Grid:
        """The same case by case."""
        return gpu.by_case(self.run)

    @functools.cached_property
    def unmeasured(self) -> list[Sentence]:
        """What was not measured, and why."""
        rows = [(row.case, f"{row.status}, {row.note}") for row in self.run.rows if row.status != "ok"]
        told = [Sentence(f"{case}:", why) for case, why in (*rows, *self.run.unmeasured)]
        if note := self.run.document.profile_note:
            told.append(Sentence("a trace:", note))
        elif requested(self.run.document).profile and not self.run.document.complete and not self.run.profiles:
            told.append(Sentence("a trace:", "the run was interrupted before it was taken"))
        return told

    @functools.cached_property
    def files(self) -> list[tuple[str, str]]:
        """Those of FILES that are there, or are written with the report."""
        drawn = any(self.pictures) or any(each.operations or each.parts for each in self.profiles)
        written = ("cases.csv", "verdicts.csv", *([f"{PLOTS}/"] if drawn else []))
        return [(name, holds) for name, holds in FILES if name in written or (self.run.directory / name).exists()]


def _reservations_of_rows(measured: list[Row]) -> list[str]:
    doubts = {
        "a loss was not finite, and speed counts only at equal work": lambda row: not row.finite,
        "other losses than float32's, and speed counts only at equal work": lambda row: row.equal_work is False,
        "every step was delayed to test the suite": lambda row: row.delay_seconds,
        "no steady state, its time still changed over the run": lambda row: row.drift is not None,
        f"more than {MAX_DISTURBED:.0%} of its turns were disturbed": _disturbed,
    }
    found = {why: [row.case for row in measured if applies(row)] for why, applies in doubts.items()}
    return [f"{why} ({_listed(cases)})" for why, cases in found.items() if cases]


def _disturbed(row: Row) -> bool:
    return row.disturbed_turns > MAX_DISTURBED * (row.samples + row.voided_samples)


def _listed(cases: list[str], most: int = 3) -> str:
    more = f" and {len(cases) - most} more" if len(cases) > most else ""
    return ", ".join(cases[:most]) + more
