"""The plot of ratios: one or a hundred, near or far, and verdicts that are told apart without their colours."""

import dataclasses
import re

import pytest

from gnet_core.report.ratios import LOOKS, distinct, forest
from gnet_core.stats.verdicts import Comparison
from tests.svg import height_points, parsed, words


def compared(verdict, ratio=1.0, width=0.1, number=0):
    low, high = (None, None) if width is None or ratio is None else (ratio * (1 - width), ratio * (1 + width))
    return Comparison(
        base=f"base-{number}", variant=f"case-{number}", verdict=verdict, ratio=ratio, low=low, high=high, margin=0.02
    )


def drawn(comparisons):
    labels = [f"case {number}" for number in range(len(comparisons))]
    return forest(comparisons, 0.02, "forest", "What it comes to", labels)


@pytest.mark.parametrize("count", [1, 2, 40, 100])
def test_a_forest_takes_one_comparison_or_a_hundred(count):
    verdicts = ["SAME", "FASTER", "UNRESOLVED", "SLOWER"]
    picture = drawn([compared(verdicts[number % 4], 1 + number / 50) for number in range(count)])
    texts = words(picture)
    assert sum(word.startswith("case ") for word in texts) == min(count, 40)
    assert any(f"{count - 40} more in the table" in word for word in texts) == (count > 40)
    assert height_points(picture) < 72 * 13


def test_what_a_forest_leaves_out_is_what_does_not_differ():
    picture = drawn([compared("SAME")] * 50 + [compared("SLOWER", 0.5), compared("FASTER", 2.0)])
    assert {"case 50", "case 51"} <= set(words(picture))


def test_verdicts_are_distinguished_by_shape_and_in_words():
    markers = {marker for _, marker in LOOKS.values()}
    assert len(markers) == 4
    assert len({colour for colour, _ in LOOKS.values()}) == 4
    picture = drawn([compared(verdict) for verdict in LOOKS])
    for verdict in LOOKS:
        assert any(verdict in word for word in words(picture))
    shapes = re.findall(r'<path id="(m[0-9a-f]+)" d="([^"]+)"', picture.svg.replace("\n", " "))
    assert len({shape for _, shape in shapes}) >= 4


@pytest.mark.parametrize(
    "comparisons",
    [
        [compared("UNRESOLVED", None)],
        [compared("UNRESOLVED", 0.5, None), compared("UNRESOLVED", None)],
        [compared("UNRESOLVED", 1.0, 0.999999999)],
        [compared("FASTER", 1e9), compared("SLOWER", 1e-9)],
        [compared("SAME", 1.0, 0.0)],
    ],
)
def test_a_forest_takes_any_ratio_or_none(comparisons):
    picture = drawn(comparisons)
    parsed(picture.svg)
    assert any(word.endswith("×") for word in words(picture))


def test_names_are_cut_to_what_tells_them_apart():
    assert distinct([["graph", "float32", "b8"], ["xla", "float32", "b8"]]) == (["graph", "xla"], "float32, b8")
    assert distinct([["graph", "float32", "b8"]]) == (["graph"], "float32, b8")
    assert distinct([["graph"], ["graph"]]) == (["graph", "graph"], "graph")


def test_a_comparison_that_was_looked_at_has_repeated_intervals_and_its_early_verdict_says_so():
    early, last = (
        dataclasses.replace(compared("SLOWER", 0.9), base_processes=processes, variant_processes=processes, max_looks=8)
        for processes in (3, 8)
    )
    texts = words(drawn([early, last]))
    assert {"0.90× SLOWER, early", "0.90× SLOWER"} <= set(texts)
    assert "× images/s of base, repeated 95 % intervals; band: ±2 %, the margin" in texts
    assert "× images/s of base, 95 % intervals; band: ±2 %, the margin" in words(drawn([compared("SAME", 1.0)]))
