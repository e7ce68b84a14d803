"""Progress as it is seen: lines in a log, and in a terminal what is left on the screen of all that was drawn."""

import contextlib
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest

from gnet_core.cli import progress
from gnet_core.results.run_document import Look, LookAtComparison
from tests.conftest import run_document
from tests.faults import checkout as house

GRAPH, EAGER, XLA = (f"{execution}-float32-b16-i224-synthetic-cpu" for execution in ("graph", "eager", "xla"))


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def document(run_directory, *, resolved, budget=None, elapsed=0.0):
    plain = run_directory.document | {"until": "resolved" if resolved else "fixed", "time_spent": {"timing": elapsed}}
    return run_document(plain | {"budget_seconds": budget})


def compared(variant, verdict="UNRESOLVED", ratio=0.5, *, pairs=3, base=GRAPH, half=0.01):
    low, high = (ratio - half, ratio + half) if pairs >= 3 else (None, None)
    return LookAtComparison(
        suite="execution",
        base=base,
        variant=variant,
        pairs=pairs,
        ratio=ratio,
        low=low,
        high=high,
        p_value=None,
        verdict=verdict,
    )


def look(*comparisons, cohorts=3):
    return Look(cohorts=cohorts, spent_error=0.1, comparisons=comparisons)


@pytest.mark.usefixtures("clock")
def test_a_comparison_that_cannot_be_measured_is_not_counted_among_the_open_ones(run_directory, capsys):
    with progress.shown(0.0, document(run_directory, resolved=True, budget=600.0)) as shown:
        shown.look(look(compared(EAGER, "SLOWER"), compared(XLA, ratio=None, pairs=0)), 12, 500.0)
    _out, err = capsys.readouterr()
    assert "1 of 1 settled after 3 processes" in err
    assert "xla" not in err


def test_a_log_has_a_line_for_each_process_and_each_comparison_until_it_is_settled(run_directory, clock, capsys):
    with progress.shown(0.0, document(run_directory, resolved=True, budget=600.0, elapsed=60.0)) as shown:
        shown.advance("the device's peaks", 0.0)
        clock.now += 30
        for phase in ("import", "build", "trace"):
            shown.advance(f"{GRAPH}: {phase}", 0.0)
        shown.advance(f"{GRAPH}: ready", 7.0)
        shown.advance(f"{GRAPH}: turn 1 of 3", 1.0)
        shown.look(look(compared(EAGER, pairs=1), compared(XLA, pairs=1)), 12, 500.0)
        clock.now += 60
        shown.advance(f"{GRAPH}: import", 0.0)
        shown.look(look(compared(EAGER, "SLOWER"), compared(XLA, ratio=1.0)), 12, 440.0)
        shown.look(look(compared(EAGER, "SLOWER"), compared(XLA, "SAME", 1.0, pairs=4)), 12, 380.0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "00:00 gone, 09:00 of the budget left: the device's peaks",
        f"00:30 gone, 08:30 of the budget left: {GRAPH}: import",
        "00:30 gone, 08:20 of the budget left: 0 of 2 settled after 1 process of at most 12",
        f"  open   0.500× after 1 process: {EAGER} ÷ graph",
        f"  open   0.500× after 1 process: {XLA} ÷ graph",
        f"01:30 gone, 07:20 of the budget left: {GRAPH}: import",
        "01:30 gone, 07:20 of the budget left: 1 of 2 settled after 3 processes of at most 12",
        f"  SLOWER 0.500× (0.490–0.510) after 3 processes: {EAGER} ÷ graph",
        f"  open   1.000× (0.990–1.010) after 3 processes: {XLA} ÷ graph",
        "01:30 gone, 06:20 of the budget left: 2 of 2 settled after 4 processes of at most 12",
        f"  SAME   1.000× (0.990–1.010) after 4 processes: {XLA} ÷ graph",
    ]


def test_a_log_of_a_fixed_run_tells_how_much_of_it_is_done(run_directory, clock, capsys):
    with progress.shown(40.0, document(run_directory, resolved=False)) as shown:
        shown.advance(f"{GRAPH}: import", 0.0)
        clock.now += 20
        shown.advance(f"{GRAPH}: ready", 10.0)
        shown.advance(f"{EAGER}: import", 0.0)
        shown.advance(f"{EAGER}: ready", 60.0)
        shown.advance("a\x1b[2Jb: import", 0.0)
    assert capsys.readouterr().err.splitlines() == [
        f"  0%, 00:00 gone, ? left: {GRAPH}: import",
        f" 25%, 00:20 gone, 01:00 left: {EAGER}: import",
        "100%, 00:20 gone, 00:00 left: a [2Jb: import",
    ]


def test_of_many_comparisons_a_log_has_those_alone_that_were_settled(run_directory, capsys):
    variants = [f"{execution}-b{size}" for size in range(10) for execution in ("eager", "xla")]
    open_ones = [compared(variant) for variant in variants]
    with progress.shown(0.0, document(run_directory, resolved=True)) as shown:
        shown.look(look(*open_ones), 20, float("inf"))
        shown.look(look(compared(variants[0], "FASTER", 2.0), *open_ones[1:]), 20, float("inf"))
    assert capsys.readouterr().err.splitlines() == [
        "00:00 gone, without a budget: 0 of 20 settled after 3 processes of at most 20",
        "00:00 gone, without a budget: 1 of 20 settled after 3 processes of at most 20",
        "  FASTER 2.000× (1.990–2.010) after 3 processes: eager-b0 ÷ graph-float32-b16-i224-synthetic-cpu",
    ]


@pytest.mark.parametrize(
    ("base", "variant", "words"),
    [
        ("graph-b8-cpu", "xla-b8-cpu", "xla-b8-cpu ÷ graph"),
        ("graph-b8-cpu-layers=keras", "graph-b8-cpu", "graph-b8-cpu ÷ layers=keras"),
        ("graph-b8-cpu", "graph-b8-cpu-part=forward", "graph-b8-cpu-part=forward"),
        ("graph-b8-cpu@old", "graph-b8-cpu@new", "graph-b8-cpu@new ÷ old"),
    ],
)
def test_a_comparison_is_named_by_its_variant_and_what_is_otherwise_in_its_base(base, variant, words):
    assert progress.comparison_line(compared(variant, base=base)).partition(": ")[2] == words


class Terminal(io.TextIOWrapper):
    """A pseudo-terminal to write to, and the screen that comes of it."""

    def __init__(self, columns, rows=24):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        super().__init__(os.fdopen(theirs, "wb", 0), encoding="utf-8", write_through=True)
        self._drawn = b""

    def drawn(self):
        os.set_blocking(self._ours, False)
        while True:
            try:
                self._drawn += os.read(self._ours, 2**16)
            except BlockingIOError:
                return self._drawn.decode()

    def close(self):
        super().close()
        os.close(self._ours)


def screen(drawn):
    """The lines that a terminal of endless width shows in the end, and the line of its cursor."""
    lines, line, column = [""], 0, 0
    for part in re.findall(r"\x1b\[A|[\r\n]|[^\x1b\r\n]+", drawn):
        if part == "\x1b[A":
            line -= 1
        elif part == "\n":
            line += 1
            lines += [""] * (line == len(lines))
        elif part == "\r":
            column = 0
        else:
            lines[line] = lines[line][:column].ljust(column) + part + lines[line][column + len(part) :]
            column += len(part)
    return [text.rstrip() for text in lines], line


@pytest.fixture
def terminal(monkeypatch):
    opened = []

    def use(columns, rows=24):
        opened.append(Terminal(columns, rows))
        monkeypatch.setattr(sys, "stderr", opened[-1])
        return opened[-1]

    yield use
    for each in opened:
        each.close()


def test_a_terminal_shows_counts_work_and_comparisons_in_place_and_nothing_at_the_end(run_directory, clock, terminal):
    seen = terminal(120)
    with progress.shown(0.0, document(run_directory, resolved=True, budget=600.0)) as shown:
        shown.advance(f"{GRAPH}: import", 0.0)
        assert screen(seen.drawn())[0] == ["no look yet, 10:00 of the budget left", f"{GRAPH}: import"]
        shown.look(look(compared(EAGER), compared(XLA)), 12, 500.0)
        clock.now += 20
        shown.look(look(compared(EAGER, "SLOWER", 0.4), compared(XLA)), 12, 480.0)
        shown.advance(f"{XLA}: turn 1 of 3", 1.0)
        assert screen(seen.drawn())[0] == [
            "1 of 2 settled after 3 processes of at most 12, 08:00 of the budget left",
            f"{XLA}: turn 1 of 3",
            f"SLOWER 0.400× (0.390–0.410) after 3 processes: {EAGER} ÷ graph",
            f"open   0.500× (0.490–0.510) after 3 processes: {XLA} ÷ graph",
        ]
    lines, cursor = screen(seen.drawn())
    assert cursor == 0
    assert not any(lines)


def test_ctrl_c_leaves_a_clean_terminal(run_directory, terminal):
    seen = terminal(80)
    with contextlib.suppress(KeyboardInterrupt), progress.shown(0.0, document(run_directory, resolved=True)) as shown:
        shown.look(look(compared(EAGER)), 12, 500.0)
        raise KeyboardInterrupt
    lines, cursor = screen(seen.drawn())
    assert cursor == 0
    assert not any(lines)


@pytest.mark.parametrize("columns", [20, 40, 79])
@pytest.mark.parametrize("resolved", [True, False])
def test_lines_are_cut_to_the_width_of_the_terminal(run_directory, terminal, columns, resolved):
    seen = terminal(columns)
    with progress.shown(10.0, document(run_directory, resolved=resolved, budget=60.0)) as shown:
        shown.advance(f"{GRAPH}: import", 0.0)
        shown.look(look(compared(EAGER), compared(XLA)), 12, 500.0)
        shown.advance(f"{GRAPH}: ready", 5.0)
    assert max(map(len, re.split(r"\x1b\[A|[\r\n]", seen.drawn()))) == columns - 1


def test_a_terminal_with_few_rows_shows_what_it_can(run_directory, terminal):
    seen = terminal(80, rows=4)
    comparisons = [compared(f"xla-b{size}") for size in range(8)]
    with progress.shown(0.0, document(run_directory, resolved=True)) as shown:
        shown.look(look(*comparisons), 12, 500.0)
        assert len(screen(seen.drawn())[0]) <= 4
    assert not any(screen(seen.drawn())[0])


def test_a_terminal_counts_many_comparisons(run_directory, terminal):
    seen = terminal(120, rows=50)
    comparisons = [compared(f"xla-b{size}") for size in range(progress.MAX_LINES + 1)]
    with progress.shown(0.0, document(run_directory, resolved=True, budget=60.0)) as shown:
        shown.look(look(*comparisons), 12, 30.0)
        counts, work = screen(seen.drawn())[0]
    assert counts.startswith(f"0 of {len(comparisons)} settled after 3 processes of at most 12, 00:")
    assert work == ""


def test_the_bar_of_a_fixed_run_stays(run_directory, terminal):
    seen = terminal(120)
    with progress.shown(10.0, document(run_directory, resolved=False)) as shown:
        shown.advance(f"{GRAPH}: ready", 5.0)
        shown.advance(f"{GRAPH}: turn 1 of 3", 50.0)
    (bar, below), cursor = screen(seen.drawn())
    assert bar.startswith("100%|████████████████████|")
    assert bar.endswith(f"| {GRAPH}: turn 1 of 3")
    assert (below, cursor) == ("", 1)


WORDS = (
    "bench",
    "execution",
    "--preset",
    "smoke",
    "--execution",
    "graph,eager",
    "--batch-size",
    "2",
    "--device",
    "cpu",
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return house.make_checkout(tmp_path_factory.mktemp("progress") / "checkout")


def test_a_run_until_resolved_writes_lines_where_there_is_no_terminal(checkout, tmp_path):
    until = ("--until", "resolved", "--budget", "1m", "--memory", str(2**32))
    status, _, err = house.gnet(checkout, *WORDS, *until, "--out", str(tmp_path / "run"))
    assert status == 0, err
    first, *lines = err.splitlines()
    assert re.match(r"3 to 20 processes × 2 turns a case, until .* within 2%, or until 01:00 are spent: ", first)
    assert not re.search(r"[\r\x1b]", err)
    processes = sum(len(case["raw"]) for case in house.read(tmp_path / "run")["cases"])
    assert sum(line.endswith(": import") for line in lines) == processes
    assert sum("of 1 settled after" in line for line in lines) == processes // 2
    assert sum("eager-float32-b2-i96-synthetic-cpu ÷ graph" in line for line in lines) == processes // 2


@pytest.mark.parametrize("until", [("--until", "resolved", "--budget", "1m"), ("--replicates", "1")])
def test_a_run_in_a_terminal_leaves_its_report_alone_on_the_screen(checkout, tmp_path, until):
    seen = Terminal(400)
    words = [sys.executable, "-m", "gnet_core", *WORDS, *until, "--memory", str(2**32), "--out", str(tmp_path / "run")]
    with open(seen.fileno(), "wb", closefd=False) as theirs:
        process = subprocess.Popen(words, cwd=checkout, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        while process.poll() is None:  # or the terminal's buffer would be full
            seen.drawn()
            time.sleep(0.02)
    lines, _ = screen(seen.drawn())
    seen.close()
    assert process.returncode == 0, lines
    report = next(number for number, line in enumerate(lines) if "Preset smoke" in line)
    assert all(line == "" or line.startswith("100%|") for line in lines[1:report])
    assert "Report: " in lines[-2]
