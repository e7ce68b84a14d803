"""The report of a history: what it begins with, its tables, its pictures, and no text that is more than text."""

import csv
import dataclasses
import datetime
import io
import json

import pytest

from gnet_core.config import StepConfig
from gnet_core.report import history as report
from gnet_core.report.history_plot import MAX_LABELS, over_runs
from gnet_core.report.html import to_html
from gnet_core.report.markdown import to_markdown
from gnet_core.report.terminal import to_terminal
from gnet_core.results.changes import failed_in_history, judge
from gnet_core.results.gates import GateResult
from gnet_core.results.history import History, Series
from gnet_core.results.rules import Accepted
from tests.histories import FIRST_DAY, history_of, level
from tests.stored import HOSTILE
from tests.svg import outside_references, parsed, words

TODAY = datetime.date(2027, 1, 1)
SLOWER = {"graph-b8": level(100, 20) + level(90, 10), "xla-b8": level(50, 30)}


def accepted(
    cases: str, date: datetime.date, reason: str = "TensorFlow 2.21", expires: datetime.date | None = None
) -> Accepted:
    return Accepted(cases=cases, date=date, reason=reason, expires=expires)


ON_DAY_20 = (FIRST_DAY + datetime.timedelta(days=20)).date()


def judged(history, *rules, margin=0.02):
    return judge(history, rules, lambda _case: margin, TODAY)


def markdown(history, *rules):
    return to_markdown(report.document(judged(history, *rules), GateResult(), with_pictures=False))


def terminal(history, *rules):
    return to_terminal(report.document(judged(history, *rules), GateResult(), with_pictures=False))


def pictures(history, *rules):
    document = report.document(judged(history, *rules), GateResult())
    return next(section.blocks for section in document.sections if section.heading == "Images/s over the runs")


def test_the_page_begins_with_what_changed():
    text = markdown(history_of(SLOWER))
    assert "1 of 2 current series is SLOWER now than before." in text
    assert "**graph-b8: SLOWER since 2026-01-21** (commit 20abcdef01): 0.90" in text
    assert text.index("SLOWER since") < text.index("All series")


def test_a_terminal_ends_with_what_changed():
    lines = terminal(history_of(SLOWER)).splitlines()
    assert lines[-1].startswith("graph-b8: SLOWER since 2026-01-21 (commit 20abcdef01): 0.90")


def test_an_accepted_change_is_told_with_its_reason_and_fails_nothing():
    history = history_of(SLOWER)
    rule = accepted("graph-*", ON_DAY_20, expires=datetime.date(2027, 6, 1))
    text = markdown(history, rule)
    assert "No current series of 2 is SLOWER now than before." in text
    assert ", accepted until 2027-06-01: TensorFlow 2.21." in text
    assert "2026-01-21: TensorFlow 2.21, until 2027-06-01" in text
    assert failed_in_history(judged(history, rule), ["slower"]) == {}


def test_an_expired_and_an_unmatched_acceptance_are_told():
    expired = accepted("graph-*", ON_DAY_20, expires=datetime.date(2026, 12, 31))
    unmatched = accepted("xla-*", ON_DAY_20, "never seen")
    text = markdown(history_of(SLOWER), expired, unmatched)
    assert "accepted until 2026-12-31, which is over: TensorFlow 2.21" in text
    assert "2026-01-21: never seen: no series shows it" in text
    assert "SLOWER now" in text


def test_what_was_undone_says_so():
    history = history_of({"a": level(100, 15) + level(90, 10) + level(100, 10)})
    text = markdown(history)
    assert "SLOWER since 2026-01-16" in text
    assert ", undone since." in text
    assert "FASTER since 2026-01-26" in text


def test_a_change_within_the_margin_is_in_small_letters():
    text = markdown(history_of({"a": level(100, 20, 0.002) + level(98.5, 20, 0.002)}))
    assert "slower since 2026-01-21" in text
    assert "SLOWER since" not in text


def test_gaps_are_counted_by_their_reason():
    history = history_of({"a": [*level(100, 5), None, None, *level(100, 5)]}, gap="oom")
    assert "2 (2 oom)" in terminal(history)


def test_a_series_too_short_for_changes_says_so():
    text = terminal(history_of({"a": level(100, 5)}))
    assert "5 of 8 runs that changes take" in text
    assert "No series of 1 changed; in 1 of 1 series changes are not looked for, below 8 runs." in text


def test_series_are_named_by_what_they_differ_in():
    history = history_of({"a": level(100, 10)})
    (series,) = history.series
    others = [
        dataclasses.replace(series.key.setup, framework="TensorFlow 2.20.0"),
        dataclasses.replace(series.key.setup, variables=(("OMP_NUM_THREADS", "1"),)),
        dataclasses.replace(series.key.setup, machine=2),
    ]
    more = [Series(key=dataclasses.replace(series.key, setup=setup), points=series.points) for setup in others]
    text = terminal(History(runs=history.runs, series=[series, *more], notes=[], unread=[]))
    for name in ("TensorFlow 2.20.0", "OMP_NUM_THREADS=1", "a machine (machine 2)"):
        assert name in text


def test_what_was_left_out_is_told():
    whole = history_of(SLOWER)
    history = History(runs=whole.runs, series=whole.series, notes=["A note."], unread=["x/run.json: no JSON"])
    text = markdown(history)
    assert "A note." in text
    assert "x/run.json: no JSON" in text


def test_a_case_that_was_never_measured_is_told():
    assert "tf32: unsupported in 30 runs" in markdown(history_of(SLOWER | {"tf32": [None] * 30}, gap="unsupported"))


def test_gates_that_failed_are_told():
    text = to_markdown(
        report.document(judged(history_of(SLOWER)), GateResult(failed={"slower": ["graph-b8"]}), with_pictures=False)
    )
    assert "slower: graph-b8" in text


def test_the_table_has_a_line_a_point_with_its_segment():
    speeds: list[float | None] = [*SLOWER["graph-b8"]]
    speeds[2] = None
    rows = list(csv.DictReader(io.StringIO(report.to_csv(judged(history_of({"graph-b8": speeds}))))))
    assert len(rows) == 30
    assert [row["segment"] for row in rows] == ["1"] * 2 + [""] + ["1"] * 17 + ["2"] * 10
    assert [row["status"] for row in rows] == ["ok"] * 2 + ["failed"] + ["ok"] * 27
    assert [bool(row["change"]) for row in rows] == [False] * 20 + [True] + [False] * 9
    assert float(rows[20]["change"]) == pytest.approx(0.9, abs=0.01)
    assert rows[2]["images_per_second"] == ""
    assert float(rows[0]["images_per_second"]) == speeds[0]
    assert (rows[0]["created"], rows[0]["run"]) == (FIRST_DAY.isoformat(), "run 0")


def test_the_json_has_the_same():
    history = history_of(SLOWER)
    rule = accepted("graph-*", ON_DAY_20)
    document = json.loads(json.dumps(report.to_json(judged(history, rule), GateResult()), allow_nan=False))
    graph, xla = document["series"]
    assert (graph["case"], xla["case"]) == ("graph-b8", "xla-b8")
    (change,) = graph["changes"]
    assert (change["date"], change["verdict"], change["accepted"]) == (
        "2026-01-21",
        "SLOWER",
        "2026-01-21: TensorFlow 2.21",
    )
    assert xla["changes"] == []
    assert len(graph["points"]) == 30
    assert graph["slowdown"] is None
    unaccepted = report.to_json(judged(history), GateResult())["series"][0]["slowdown"]
    assert unaccepted["run"] == "run 20"


def test_a_picture_shows_the_changes_in_words_and_the_dates():
    picture, other = pictures(history_of(SLOWER))
    texts = words(picture)
    assert "of its best level, below its margin since 2026-01-21" in picture.title
    assert any(text.startswith("0.90") and text.endswith("× SLOWER") for text in texts)
    assert {"2026-01-01", "2026-01-30", "images/s"} <= set(texts)
    assert any("xla-b8: no change" in text for text in words(other))
    assert outside_references(picture.svg) == []
    assert "SLOWER since 2026-01-21" in picture.description


def test_an_accepted_change_is_drawn_otherwise():
    plain, _ = pictures(history_of(SLOWER))
    as_accepted, _ = pictures(history_of(SLOWER), accepted("*", ON_DAY_20))
    assert any(text.endswith("× SLOWER, accepted") for text in words(as_accepted))
    assert as_accepted.svg.count("stroke-dasharray: 4") > plain.svg.count("stroke-dasharray: 4")


def test_a_picture_says_how_many_runs_have_no_figure():
    history = history_of({"a": [*level(100, 5), None, *level(100, 5)]})
    (picture,) = pictures(history)
    assert "11 runs in the order of time, 1 of them without a figure" in words(picture)


@pytest.mark.parametrize("speeds", [[100.0], [100.0, 100.0], [100.0, None], [1e-6, 1e12, 1.0]])
def test_short_and_odd_series_have_a_picture(speeds):
    (picture,) = pictures(history_of({"a": speeds}))
    parsed(picture.svg)


def test_of_many_changes_the_latest_are_labelled():
    speeds = [speed for number in range(2 * MAX_LABELS) for speed in level(100 + 20 * (number % 2), 10)]
    (trend,) = judged(history_of({"a": speeds})).trends
    assert len(trend.changes) > MAX_LABELS
    labels = [text for text in words(over_runs(trend, 1, "title", "")) if text.endswith(("SLOWER", "FASTER"))]
    assert len(labels) == MAX_LABELS


def test_of_many_series_those_with_a_change_have_a_picture(monkeypatch):
    monkeypatch.setattr(report, "MAX_PICTURES", 2)
    history = history_of({"a": level(100, 30), "b": level(100, 30), **SLOWER})
    first, second, more = pictures(history)
    assert "graph-b8" in first.title
    assert "a: no change" in second.title
    assert more.text == "Pictures of 2 more series are left out."


def test_many_changes_are_told_in_part(monkeypatch):
    monkeypatch.setattr(report, "MAX_SENTENCES", 1)
    text = markdown(history_of({"a": level(100, 15) + level(90, 15), "b": level(100, 15) + level(80, 15)}))
    assert "**1 more** are in the table of changes." in text


def test_what_stands_comes_first_and_then_the_latest():
    later = level(100, 10) + level(90, 10) + level(100, 10)
    text = markdown(history_of({"undone": later, "stands": level(100, 10) + level(90, 20)}))
    order = [text.index(words) for words in ("stands: SLOWER since", "undone: FASTER since", "undone: SLOWER since")]
    assert order == sorted(order)


def test_hostile_text_stays_text(tmp_path):
    history = history_of(SLOWER)
    for series in history.series:
        setup = dataclasses.replace(series.key.setup, label=HOSTILE, framework=HOSTILE, variables=((HOSTILE, HOSTILE),))
        object.__setattr__(series, "key", dataclasses.replace(series.key, source=HOSTILE, setup=setup))
        series.points[:] = [dataclasses.replace(point, commit=HOSTILE) for point in series.points]
    hostile = History(runs=history.runs, series=history.series, notes=[HOSTILE], unread=[HOSTILE])
    rule = accepted("graph-*", ON_DAY_20, HOSTILE)
    report.write(judged(hostile, rule), GateResult(failed={"slower": [HOSTILE]}), tmp_path)
    page = (tmp_path / report.HTML_FILE).read_text()
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page + (tmp_path / "history.md").read_text() + terminal(hostile, rule)
    assert "<script" not in (tmp_path / "history.md").read_text().replace("\\<script", "")
    for path in (tmp_path / "plots").iterdir():
        assert outside_references(path.read_bytes()) == []
    for line in csv.reader(io.StringIO((tmp_path / report.CSV_FILE).read_text())):
        assert not any(cell.startswith(("=", "+", "@")) for cell in line)


def test_the_files_of_a_report(tmp_path):
    report.write(judged(history_of(SLOWER)), GateResult(), tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    plots = ["plots/history-001-graph-b8.svg", "plots/history-002-xla-b8.svg"]
    assert names == ["history.csv", "history.html", "history.md", *plots]
    assert to_html(report.document(judged(history_of(SLOWER)), GateResult())).count("<figure") == 2


def test_the_data_tells_series_of_one_name_apart():
    history = history_of({"a": level(100, 10)})
    (series,) = history.series
    keys = [dataclasses.replace(series.key, config=StepConfig(data=data)) for data in ("/one/dtd", "/other/dtd")]
    both = [Series(key=key, points=series.points) for key in keys]
    text = terminal(History(runs=history.runs, series=both, notes=[], unread=[]))
    assert "data /one/dtd" in text
    assert "data /other/dtd" in text


def test_a_series_that_nothing_was_looked_for_in_is_not_called_unchanged():
    history = history_of({**SLOWER, "short": [*level(100, 5), *[None] * 25]}, skip_gaps=True)
    titles = [picture.title for picture in pictures(history)]
    assert "short: 5 of 8 runs that changes take" in titles
    assert "1 of 3 current series is SLOWER now than before; in 1 of 3 series changes are not looked for" in markdown(
        history
    )


def test_the_speed_of_a_series_is_that_of_its_last_segment_with_its_runs_and_date():
    (slower, same) = judged(history_of(SLOWER)).trends
    assert report.figures(same).endswith(" images/s over 30 runs since 2026-01-01")
    words_of_slower = report.figures(slower)
    assert " images/s over 10 runs since 2026-01-21; SLOWER now: 0.90" in words_of_slower
    assert words_of_slower.endswith("× of its best level, below its margin since 2026-01-21")


def test_a_series_whose_last_run_has_no_figure_has_no_speed_now():
    (trend,) = judged(history_of({"a": [*level(100, 9), None]})).trends
    assert report.figures(trend) == ""


def test_the_margin_and_changes_beside_a_commit_are_shown():
    history = history_of(SLOWER)
    for series in history.series:
        series.points[:] = [dataclasses.replace(point, commit=f"{point.commit}+changes") for point in series.points]
    document = report.document(judged(history, margin=0.03), GateResult(), with_pictures=False)
    text = to_markdown(document)
    assert text.count("20abcdef01 with changes") == 2  # in the sentence and in the table
    assert "3.0%" in text
    assert [series["margin"] for series in report.to_json(judged(history, margin=0.03), GateResult())["series"]] == [
        0.03,
        0.03,
    ]


def test_series_of_one_case_are_named_by_what_tells_them_apart_and_others_by_their_case():
    whole = history_of({"a": level(100, 10), "b": level(100, 10)})
    first, other = whole.series
    setup = first.key.setup
    changed = {
        "framework": dataclasses.replace(first.key, setup=dataclasses.replace(setup, framework="TensorFlow 2.20.0")),
        "machine": dataclasses.replace(first.key, setup=dataclasses.replace(setup, machine=2)),
        "images": dataclasses.replace(first.key, config=StepConfig(data="/dtd"), data_fingerprint="0123456789abcdef"),
        "aux_weight": dataclasses.replace(first.key, config=StepConfig(aux_weight=0.0)),
    }
    series = [first, other, *(Series(key=key, points=first.points) for key in changed.values())]
    names = list(report.series_names(series).values())
    assert names[1] == "b"
    assert len(set(names)) == len(names)
    assert all(name.startswith("a, ") for name in [names[0], *names[2:]])
    for name, part in zip(
        names[2:], ("TensorFlow 2.20.0", "(machine 2)", "images 01234567", "aux_weight 0.0"), strict=True
    ):
        assert part in name
    assert report.series_names([first]) == {first: "a"}


def test_machines_of_one_label_keep_their_numbers_beside_another_label_of_theirs():
    """A GPU's machine has two labels: that of its cases on the GPU and that of those on the CPU."""
    history = history_of({"a": level(100, 10), "b": level(100, 10)})
    first, gpu = history.series
    second = dataclasses.replace(first.key, setup=dataclasses.replace(first.key.setup, machine=2))
    labelled = dataclasses.replace(gpu.key, setup=dataclasses.replace(gpu.key.setup, machine=2, label="a GPU in it"))
    keys = [first.key, second, labelled]
    text = terminal(
        History(runs=history.runs, series=[Series(key=key, points=first.points) for key in keys], notes=[], unread=[])
    )
    assert "a machine (machine 1)" in text
    assert "a machine (machine 2)" in text
    assert "a GPU in it" in text


def test_a_case_of_a_long_name_has_a_picture_whose_file_can_be_written(tmp_path):
    report.write(judged(history_of({"a" * 250: level(100, 10)})), GateResult(), tmp_path)
    (path,) = (tmp_path / "plots").iterdir()
    assert path.name.startswith("history-001-aaa")
