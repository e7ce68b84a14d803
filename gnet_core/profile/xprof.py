"""A trace (*.xplane.pb) as xprof's tools tell it. Nothing here needs TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError
from gnet_core.files import bounded


class NoAnswerError(GnetError):
    """One of xprof's tools tells nothing of a trace that xprof can read, or fails on it."""


class Trace:
    """A trace that xprof reads; `open_trace` gives it a copy, since xprof leaves cache files beside what it reads."""

    def __init__(self, xplane: Path, copy: Path) -> None:
        self.xplane = xplane
        self._copy = copy

    def tool(self, name: str) -> Any:
        """What one of xprof's tools says, parsed. Raises NoAnswerError where that is nothing, or the tool fails."""
        said = self._ask(name)
        try:
            return json.loads(said)
        except ValueError as error:
            raise NoAnswerError(f"xprof's {name} says {said[:40]!r}, which is no JSON") from error

    def events(self) -> list[dict[str, Any]]:
        """What xprof's trace_viewer shows: name, device, tid, ts and dur in microseconds, and args, all of them text.

        They are taken as xprof hands them to its own JSON writer, which takes longer than all else here together.
        Raises NoAnswerError where xprof gives none.
        """
        told: list[bytes | None] = []

        def keep(paths: Any, tool: str, options: Any) -> tuple[None, bool]:
            from xprof.convert import _pywrap_profiler_plugin

            data, success = _pywrap_profiler_plugin.xspace_to_tools_data(paths, tool, options)
            told.append(data if success else None)
            return None, False

        self._ask("trace_viewer", keep)
        from xprof.protobuf import trace_events_old_pb2

        if not told or told[0] is None:
            raise NoAnswerError("xprof's trace_viewer tells nothing of this trace")
        trace = trace_events_old_pb2.Trace.FromString(told[0])
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

    def module_texts(self) -> Iterator[str]:
        """Every XLA module that was compiled or ran, as XLA's optimiser left it, in XLA's own text."""
        self._convert("tool_names", {})  # which leaves a file a module
        for file in sorted(self._copy.parent.glob(f"*{_MODULE}")):
            if file.name == _NO_MODULE:
                continue
            options = {"module_name": file.name.removesuffix(_MODULE), "type": "long_txt", "show_metadata": 1}
            with contextlib.suppress(ValueError):  # a module that cannot be read tells no names; its times stand
                text = self._convert("graph_viewer", {"graph_viewer_options": options})
                yield text.decode() if isinstance(text, bytes) else str(text)

    def require_readable(self) -> None:
        """Raise GnetError for a file that xprof cannot read, for which it then names no tool at all."""
        try:
            tools = self._convert("tool_names", {})
        except Exception as error:
            raise GnetError(f"xplane: xprof fails on '{self.xplane}' ({_in_words(error)})") from error
        if not tools:
            raise GnetError(
                f"xplane: '{self.xplane}' is no trace that xprof can read; use the *.xplane.pb that a trace wrote"
            )

    def _ask(self, tool: str, instead: Callable[..., Any] | None = None) -> Any:
        """What a tool says. Raises NoAnswerError where that is nothing, and where it fails, in whatever way."""
        try:
            said = self._convert(tool, {}, instead)
        except Exception as error:
            raise NoAnswerError(f"xprof's {tool} fails on this trace ({_in_words(error)})") from error
        if not said and instead is None:  # None is all that xprof says of a failure of its own
            raise NoAnswerError(f"xprof's {tool} tells nothing of this trace")
        return said

    def _convert(self, tool: str, options: Mapping[str, Any], instead: Callable[..., Any] | None = None) -> Any:
        """What xprof's Python module gives; `instead` takes the place of the function that asks its C++ side."""
        with _silent_stderr():
            from xprof.convert import raw_to_tool_data

            if tool == "tool_names":
                return raw_to_tool_data.xspace_to_tool_names([str(self._copy)])
            data, _content_type = raw_to_tool_data.xspace_to_tool_data([str(self._copy)], tool, options, instead)
        return data


_MODULE, _NO_MODULE = ".hlo_proto.pb", "NO_MODULE.hlo_proto.pb"


@contextlib.contextmanager
def open_trace(xplane: Path) -> Iterator[Trace]:
    """Raises GnetError for what is no trace that xprof can read, and OSError where there is no room for a copy.

    The copy goes through the memory in pieces; xprof itself then holds the whole of a trace.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "host.xplane.pb"
        try:
            with (
                bounded.opened(xplane, xplane.parent, bounded.MAX_TRACE_BYTES) as source,
                copy.open("wb") as target,
            ):
                shutil.copyfileobj(source, target)
        except GnetError as error:
            raise GnetError(f"xplane: {error}; use the *.xplane.pb that a trace wrote") from error
        if not copy.stat().st_size:  # which xprof reads as a trace of nothing
            raise GnetError(f"xplane: '{xplane}' is empty; use the *.xplane.pb that a trace wrote")
        trace = Trace(xplane, copy)
        trace.require_readable()
        yield trace


def rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table in Google's visualisation format, by column id; none of a table without columns."""
    columns = [column["id"] for column in table.get("cols", [])]
    return [
        dict(zip(columns, (cell.get("v") for cell in row["c"]), strict=True))
        for row in table.get("rows", [])
        if columns
    ]


def _in_words(error: Exception) -> str:
    """The kind of an exception and the first line of what it says."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere: xprof's C++ side logs there, out of reach of sys.stderr."""
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
