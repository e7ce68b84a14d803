"""A run as report.html: one page that needs nothing else; the answer first, the picture next, the evidence below."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

from gnet_core import facts, html
from gnet_core.answers import Sentence, answers, smallest_effects
from gnet_core.checks import failed_checks
from gnet_core.drawing import Picture
from gnet_core.findings import findings
from gnet_core.profile_view import ProfileView
from gnet_core.records import Run
from gnet_core.sections import Section, sections
from gnet_core.tables import Grid, short_grid, suite_grid


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
        title=facts.TITLE,
        machine=facts.machine_line(run),
        asked=facts.asked_line(run),
        standing=facts.standing(run),
        findings=findings(found, profiles),
        resolved=smallest_effects(found),
        suites=[_suite(section, pictures.get(section.name), numbers) for section in found],
        profiles=[_with_own_pictures(view, numbers) for view in profiles],
        failed_profiles=failed_profiles,
        environment=facts.environment(run),
        differences=facts.environment_differences(run),
        peaks=facts.peaks(run),
        failed_peaks=facts.failed_peaks(run),
        gpu_lines=facts.gpu_lines(run),
        gpu_cases=facts.gpu_cases(run),
        caveats=facts.caveats(run),
        failed=failed_checks(run),
        unmeasured=facts.unmeasured(run),
        files=[*facts.files(run), ("report.md", "this report as text")],
        command=facts.command(run),
        commands=facts.commands(run),
        terms=facts.HOW_TO_READ,
    )


def _suite(section: Section, picture: Picture | None, numbers: Iterator[int]) -> _Suite:
    return _Suite(
        name=section.name,
        question=section.suite["question"],
        answers=answers(section),
        picture=picture and _as_one_of_many(picture, numbers),
        short=short_grid(section),
        full=suite_grid(section),
    )


def _with_own_pictures(view: ProfileView, numbers: Iterator[int]) -> ProfileView:
    return dataclasses.replace(view, pictures=[_as_one_of_many(picture, numbers) for picture in view.pictures])


def _as_one_of_many(picture: Picture, numbers: Iterator[int]) -> Picture:
    """A name of its own on the page, from which the names of all its parts follow."""
    return dataclasses.replace(picture, name=f"picture-{next(numbers)}")
