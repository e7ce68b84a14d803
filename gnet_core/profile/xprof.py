"""A trace (*.xplane.pb), read by xprof's tools. Nothing here needs TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError
from gnet_core.files import bounded

ROUNDING = 0.002
"""Microseconds. xprof cuts times to nanoseconds, so that a nested span may seem to end later than the one around it."""


class NoAnswerError(GnetError):
    """One of xprof's tools gives no answer for a trace that xprof can read, or fails on it."""


class Trace:
    """A trace that xprof reads; `open_trace` gives it a copy, since xprof leaves cache files beside what it reads."""

    def __init__(self, xplane: Path, copy: Path) -> None:
        self.xplane = xplane
        self._copy = copy

    def tool(self, name: str) -> Any:
        """The parsed answer of one of xprof's tools. Raises NoAnswerError where it is empty or the tool fails."""
        answer = self._ask(name)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise NoAnswerError(f"xprof's {name} says {answer[:40]!r}, which is no JSON") from error

    def events(self) -> list[dict[str, Any]]:
        """The events of xprof's trace_viewer: name, device, tid, ts and dur in microseconds, and args, which are text.

        They are taken before xprof's JSON writer, slower than all else here. Raises NoAnswerError where there are none.
        """
        answers: list[bytes | None] = []

        def keep(paths: Any, tool: str, options: Any) -> tuple[None, bool]:
            from xprof.convert import _pywrap_profiler_plugin

            data, success = _pywrap_profiler_plugin.xspace_to_tools_data(paths, tool, options)
            answers.append(data if success else None)
            return None, False

        self._ask("trace_viewer", keep)
        from xprof.protobuf import trace_events_old_pb2

        if not answers or answers[0] is None:
            raise NoAnswerError("xprof's trace_viewer tells nothing of this trace")
        trace = trace_events_old_pb2.Trace.FromString(answers[0])
        return [
            {
                "name": event.name,
                "device": trace.devices[event.device_id].name,
                "tid": event.resource_id,
                "ts": event.timestamp_ps / 1e6,
                "dur": event.duration_ps / 1e6,
                "args": dict(event.args),
            }
            for event in trace.trace_events
        ]

    def tool_names(self) -> Any:
        """The tools that have an answer; none for a file that xprof cannot read."""
        with _silent_stderr():
            from xprof.convert import raw_to_tool_data

            return raw_to_tool_data.xspace_to_tool_names([str(self._copy)])

    def module_texts(self) -> Iterator[str]:
        """The text of every XLA module that was compiled or ran, after XLA's optimiser."""
        self.tool_names()  # leaves a file a module
        suffix = ".hlo_proto.pb"
        for file in sorted(self._copy.parent.glob(f"*{suffix}")):
            if (name := file.name.removesuffix(suffix)) == "NO_MODULE":
                continue
            options = {"module_name": name, "type": "long_txt", "show_metadata": 1}
            with contextlib.suppress(ValueError):  # a module that cannot be read tells no names; its times stand
                text = self._convert("graph_viewer", {"graph_viewer_options": options})
                yield text.decode() if isinstance(text, bytes) else str(text)

    def _ask(self, tool: str, instead: Callable[..., Any] | None = None) -> Any:
        """The answer of a tool. Raises NoAnswerError where it is empty, and where the tool fails in whatever way."""
        try:
            answer = self._convert(tool, {}, instead)
        except Exception as error:
            raise NoAnswerError(f"xprof's {tool} fails on this trace ({_in_words(error)})") from error
        if not answer and instead is None:  # None is all that xprof says of a failure of its own
            raise NoAnswerError(f"xprof's {tool} tells nothing of this trace")
        return answer

    def _convert(self, tool: str, options: Mapping[str, Any], instead: Callable[..., Any] | None = None) -> Any:
        """The answer of xprof's Python module; `instead` replaces the function that calls its C++ side."""
        with _silent_stderr():
            from xprof.convert import raw_to_tool_data

            return raw_to_tool_data.xspace_to_tool_data([str(self._copy)], tool, options, instead)[0]


@contextlib.contextmanager
def open_trace(xplane: Path) -> Iterator[Trace]:
    """Open a trace. Raises GnetError for a file that xprof cannot read, and OSError where there is no room for a copy,
    which is made in pieces; xprof itself then holds the whole trace in memory.
    """
    use = "use the *.xplane.pb that a trace wrote"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "host.xplane.pb"
        try:
            with bounded.opened(xplane, xplane.parent, bounded.MAX_TRACE_BYTES) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target)
        except GnetError as error:
            raise GnetError(f"xplane: {error}; {use}") from error
        if not copy.stat().st_size:  # which xprof reads as a trace of nothing
            raise GnetError(f"xplane: '{xplane}' is empty; {use}")
        trace = Trace(xplane, copy)
        try:
            tools = trace.tool_names()
        except Exception as error:
            raise GnetError(f"xplane: xprof fails on '{xplane}' ({_in_words(error)})") from error
        if not tools:
            raise GnetError(f"xplane: '{xplane}' is no trace that xprof can read; {use}")
        yield trace


def rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table in Google's visualisation format, each by column id. A table without columns has none."""
    ids = [column["id"] for column in table.get("cols", [])]
    return [dict(zip(ids, (cell.get("v") for cell in row["c"]), strict=True)) for row in table.get("rows", []) if ids]


def nested(spans: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[int | None]]:
    """For each span, in the order received: its duration less that of the spans directly inside it on the same thread,
    and the index of the innermost span around it. A span has `tid`, and `ts` and `dur` in microseconds.
    """
    own: list[float] = [span["dur"] for span in spans]
    parents: list[int | None] = [None] * len(spans)
    enclosing: list[int] = []
    for index in sorted(range(len(spans)), key=lambda i: (spans[i]["tid"], spans[i]["ts"], -spans[i]["dur"])):
        span = spans[index]
        while enclosing and not lasts_until(spans[enclosing[-1]], span["tid"], span["ts"] + span["dur"]):
            enclosing.pop()
        if enclosing:
            parents[index] = enclosing[-1]
            own[enclosing[-1]] -= span["dur"]
        enclosing.append(index)
    return own, parents


def lasts_until(span: Mapping[str, Any], thread: int, moment: float) -> bool:
    """Whether a span that began earlier goes on until that moment, in microseconds, on that thread."""
    return bool(span["tid"] == thread and moment <= span["ts"] + span["dur"] + ROUNDING)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what is written to file descriptor 2, to which xprof's C++ side logs past sys.stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
