"""A run as report.html: one page that needs nothing else; the answer first, the picture next, the evidence below."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from gnet_core.report import html, summary
from gnet_core.report.checks import failed_checks
from gnet_core.report.drawing import Picture
from gnet_core.report.findings import findings, smallest_effects
from gnet_core.report.grid import Grid
from gnet_core.report.profile import ProfileView
from gnet_core.report.views.answers import Sentence
from gnet_core.report.views.section import Section
from gnet_core.report.views.suites import sections
from gnet_core.results.records import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Suite:
    """What the page says of a suite."""

    name: str
    question: str
    answers: list[Sentence]
    picture: Picture | None
    short: Grid
    full: Grid


def to_html(
    run: Run,
    pictures: Mapping[str, Picture],
    profiles: Sequence[ProfileView] = (),
    failed_profiles: Sequence[str] = (),
) -> str:
    """The whole page. `pictures` are by suite; `failed_profiles` says of each trace that cannot be told, why."""
    found, numbers = sections(run), itertools.count(1)
    return html.render(
        "report.html.jinja",
        title=summary.TITLE,
        machine=summary.machine_line(run),
        asked=summary.asked_line(run),
        standing=summary.standing(run),
        findings=findings(found, profiles),
        resolved=smallest_effects(found),
        suites=[_suite(section, pictures.get(section.name), numbers) for section in found],
        profiles=[_with_own_pictures(view, numbers) for view in profiles],
        failed_profiles=failed_profiles,
        environment=summary.environment(run),
        differences=summary.environment_differences(run),
        peaks=summary.peaks(run),
        failed_peaks=summary.failed_peaks(run),
        gpu_lines=summary.gpu_lines(run),
        gpu_cases=summary.gpu_cases(run),
        caveats=summary.caveats(run),
        failed=failed_checks(run),
        unmeasured=summary.unmeasured(run),
        files=[*summary.files(run), ("report.md", "this report as text")],
        command=summary.command(run),
        commands=summary.commands(run),
        terms=summary.HOW_TO_READ,
    )


def _suite(section: Section, picture: Picture | None, numbers: Iterator[int]) -> _Suite:
    return _Suite(
        name=section.name,
        question=section.suite.question,
        answers=section.answers(),
        picture=picture and _as_one_of_many(picture, numbers),
        short=section.short_table(),
        full=section.full_table(),
    )


def _with_own_pictures(view: ProfileView, numbers: Iterator[int]) -> ProfileView:
    return dataclasses.replace(view, pictures=[_as_one_of_many(picture, numbers) for picture in view.pictures])


def _as_one_of_many(picture: Picture, numbers: Iterator[int]) -> Picture:
    """A name of its own on the page, from which the names of all its parts follow."""
    return dataclasses.replace(picture, name=f"picture-{next(numbers)}")
