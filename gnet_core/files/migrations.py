"""The meaning of files of older versions. Everything that is read and holds a configuration passes through here.

A field that is added to StepConfig needs a line in BEFORE where its default is not what was measured before. What a
format version changes in run.json, `current_run` changes in those of the versions before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnet_core.config import GnetError, StepConfig
from gnet_core.files.json_documents import require_version
from gnet_core.files.whole import RUN_FORMAT_VERSION

BEFORE: Mapping[str, Any] = {"layers": "keras"}
"""Values that were measured before a field of StepConfig was there, where that is not its default."""


def read_config(values: Any) -> StepConfig:
    """A recorded configuration, with BEFORE where it lacks a field. Raises GnetError for an unknown field or value."""
    return StepConfig.from_dict({**BEFORE, **values} if isinstance(values, Mapping) else values)


def current_profile(document: Mapping[str, Any]) -> dict[str, Any]:
    """A profile.json as this version would have written it, as far as its configuration goes."""
    current = dict(document)
    if isinstance(current.get("config"), Mapping):
        current["config"] = {**StepConfig().to_dict(), **BEFORE, **current["config"]}
    return current


def require_raw_version(path: Path, document: Mapping[str, Any]) -> None:
    """Raise GnetError for a raw file of a format version that is not read; version 3 differs in what `run` is."""
    with contextlib.suppress(KeyError, IndexError, TypeError):  # whoever reads it says what it lacks
        require_version(path, document["benchmarks"][0]["extra_info"]["format_version"])


def current_run(document: Mapping[str, Any]) -> dict[str, Any]:
    """A run.json of a format version that is read, as this version would have written it.

    In format version 3 the time of its start is a run's identity. What does not change may be anything.
    """
    # Before data had fingerprints nothing was recorded of it, as nothing is of synthetic data.
    current = {**document, "format_version": RUN_FORMAT_VERSION}
    current.setdefault("data_fingerprint", "")
    if "created" in document:
        current.setdefault("run", document["created"])
    if isinstance(current.get("options"), dict):
        # Not every option was recorded; the preset and the device always stand beside them as well. Each case had a
        # fixed number of processes, whatever its preset, which a number of them says as well.
        beside = {str(name): current[name] for name in ("preset", "device") if name in current}
        if "until" not in current and not current["options"].get("replicates"):
            beside["until"] = "fixed"
        current["options"] = {"layers": BEFORE["layers"], **beside, **current["options"]}
    if isinstance(current.get("suites"), list):
        current["suites"] = [_with_view(suite) for suite in current["suites"]]
    if isinstance(current.get("cases"), list):
        current["cases"] = [_named(case) for case in current["cases"]]
    return current


def _with_view(suite: Any) -> Any:
    """A suite of run.json with its view; in files from before there were views, the one that a report used then."""
    if not isinstance(suite, dict) or "view" in suite:
        return suite
    name, varies, base = (suite.get(field) for field in ("name", "varies", "base"))
    current = {"view": "speed" if base is None else "comparison", "base_fields": {}, "costs": "", **suite}
    if varies == "batch_size" and base is None:
        current["view"] = "scaling"
    elif varies == "part" and base is not None:
        current["view"] = "parts"
    elif varies == "framework":
        current["base_fields"] = {"execution": "graph"}
    elif name == "aa" and varies == "source":
        current["varies"] = None
    elif varies is None and base is not None:  # nothing was compared then
        current |= {"view": "speed", "base": None}
    if name == "auxiliary" and base is not None:
        current["costs"] = "the auxiliary losses"
    return current


def _named(case: Any) -> Any:
    """A case of run.json under the name that it has now: what is not the default is told in it."""
    try:
        if BEFORE.keys() <= case["config"].keys():
            return case  # its configuration means what it meant then, and most of reading a run goes into this
        name, at, source = case["case"].partition("@")
        then, now = StepConfig.from_dict(case["config"]).name, read_config(case["config"]).name
    except (GnetError, AttributeError, KeyError, TypeError):
        return case  # whoever reads it says why it is none
    return {**case, "case": f"{now}{at}{source}"} if name == then else case
