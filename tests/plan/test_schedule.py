"""Which workers are alive together, and in which order they take their turns."""

import dataclasses
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnet_core.config import Execution, Precision, StepConfig
from gnet_core.plan.schedule import Job, WorkerName, cohorts, estimated_bytes, groups, orders
from gnet_core.plan.suites import PlannedCase


def case(batch_size, **changes):
    return PlannedCase(config=StepConfig(batch_size=batch_size, **changes), suites=("any",))


A, B, C, D = (case(number) for number in (1, 2, 3, 4))


def names(jobs):
    return [(job.case.config.batch_size, job.replicate) for job in jobs]


def test_whatever_is_compared_also_by_way_of_others_is_one_part():
    assert groups([A, B, C, D], [(A, B), (C, B)]) == [[C, A, B], [D]]
    assert groups([A, B], []) == [[A], [B]]


def test_a_base_comes_first_in_its_part():
    (part,) = groups([B, C, A], [(A, B), (A, C)])
    assert part[0] == A


def test_every_case_is_alive_once_where_memory_allows_and_its_replicates_see_other_weather():
    packed = cohorts([[A, B], [C]], 2, 100, {A: 10, B: 10, C: 10}, {})
    assert [names(jobs) for jobs in packed] == [[(1, 1), (2, 1), (3, 1)], [(1, 2), (2, 2), (3, 2)]]


def test_what_is_compared_stays_together_and_small_cases_fill_what_is_left():
    sizes = {A: 10, B: 10, C: 5}
    packed = cohorts([[C], [A, B]], 2, 25, sizes, {B: A})
    assert [names(jobs) for jobs in packed] == [[(1, 1), (2, 1), (3, 1)], [(1, 2), (2, 2), (3, 2)]]
    assert all(sum(sizes[job.case] for job in jobs) <= 25 for jobs in packed)


def test_what_does_not_fit_beside_its_base_runs_alone():
    packed = cohorts([[A, B, C]], 1, 25, {A: 10, B: 20, C: 10}, {B: A, C: A})
    assert [names(jobs) for jobs in packed] == [[(1, 1), (3, 1)], [(2, 1)]]


def test_what_has_lost_its_base_runs_alone():
    packed = cohorts([[B, C]], 1, 25, {B: 20, C: 20}, {B: A, C: A})
    assert [names(jobs) for jobs in packed] == [[(2, 1)], [(3, 1)]]


def test_what_fits_beside_its_base_but_not_beside_all_others_has_a_process_of_its_base_to_itself():
    packed = cohorts([[A, B, C, D]], 2, 25, {A: 10, B: 10, C: 10, D: 5}, {B: A, C: A, D: C})
    assert [names(jobs) for jobs in packed] == [
        [(1, 1), (2, 1), (4, 1)],
        [(1, 2), (3, 1)],
        [(1, 3), (2, 2), (4, 2)],
        [(1, 4), (3, 2)],
    ]


@st.composite
def plans(draw):
    """The arguments of cohorts, whatever they are."""
    cases = [case(number) for number in range(1, draw(st.integers(1, 9)) + 1)]
    pairs = draw(st.lists(st.tuples(st.sampled_from(cases), st.sampled_from(cases)), max_size=9))
    pairs = [(base, variant) for base, variant in pairs if base != variant]
    sizes = {case: draw(st.integers(1, 60)) for case in cases}
    return groups(cases, pairs), draw(st.integers(1, 4)), draw(st.integers(0, 100)), sizes, dict(map(reversed, pairs))


@given(plans())
def test_whatever_the_sizes_those_that_are_alive_together_fit_and_each_case_has_its_processes(plan):
    parts, replicates, memory_bytes, sizes, _ = plan
    packed = cohorts(*plan)
    for jobs in packed:
        assert len(jobs) == 1 or sum(sizes[job.case] for job in jobs) <= memory_bytes
        assert len({job.case for job in jobs}) == len(jobs)
    started = [job for jobs in packed for job in jobs]
    assert len(set(started)) == len(started)
    for one in (case for part in parts for case in part):
        assert len([job for job in started if job.case == one]) >= replicates


def test_a_case_larger_than_the_memory_is_tried_all_the_same():
    assert [names(jobs) for jobs in cohorts([[A]], 1, 5, {A: 10}, {})] == [[(1, 1)]]


def test_every_round_has_every_worker_once_in_an_order_of_its_own():
    rounds = orders(5, 50, "7/1")
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 20
    assert rounds == orders(5, 50, "7/1") != orders(5, 50, "8/1")
    firsts = [order[0] for order in rounds]
    assert set(firsts) == {0, 1, 2, 3, 4}


def test_a_workers_files_are_named_by_case_source_and_replicate():
    job = Job(case=dataclasses.replace(A, source="old"), replicate=3)
    assert WorkerName.parse(str(job.worker)) == job.worker
    assert str(job.worker) == "graph-float32-b1-i224-synthetic-cpu@old.r3"


def test_the_estimate_is_near_what_was_seen():
    seen = {("graph", 1): 1.11, ("graph", 16): 1.80, ("graph", 64): 3.73, ("xla", 16): 3.09, ("eager", 16): 2.14}
    for (execution, batch_size), gibibytes in seen.items():
        config = StepConfig(execution=cast("Execution", execution), batch_size=batch_size)
        estimate = estimated_bytes(config) / 2**30
        assert estimate == pytest.approx(gibibytes, rel=0.05)
    for precision, gibibytes in (("float32", 5.13), ("mixed_bfloat16", 5.09)):
        jax = StepConfig(framework="jax", execution="xla", precision=cast("Precision", precision), batch_size=16)
        assert estimated_bytes(jax) / 2**30 == pytest.approx(gibibytes, rel=0.05)
