"""What run.json and a worker's raw file must hold to be read: whatever does not fit is named by file and field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from gnet_core.config import GnetError, StepConfig, require_choice
from gnet_core.files.json_documents import CASE_NAME, MOST_WHOLE, Fields, require_fields
from gnet_core.machine.environment import require_environment
from gnet_core.plan.suites import SOURCE, VIEWS, compares_identical_code

RUN_FIELDS: Fields = {
    "created": str,
    "options": dict,
    "preset": str,
    "device": str,
    "seed": int,
    "replicates": int,
    "memory_bytes": int,
    "environment": dict,
    "environments": dict,
    "suites": list,
    "complete": bool,
    "cohorts": list,
    "cases": list,
}
_OPTIONAL_RUN_FIELDS: Fields = {
    "run": str,
    "peaks": list,
    "profile_note": str,
    "gpu_memory": dict,
    "data_fingerprint": str,
}
_SUITE_FIELDS: Fields = {
    "name": str,
    "question": str,
    "view": str,
    "varies": (str, NoneType),
    "base": object,
    "base_fields": dict,
    "costs": str,
}
_COHORT_FIELDS: Fields = {"workers": list, "order": list, "complete": bool}
_CASE_FIELDS: Fields = {
    "case": str,
    "config": dict,
    "source": str,
    "suites": list,
    "status": (str, NoneType),
    "note": str,
    "raw": list,
}
LEAST_SECONDS, MOST_SECONDS = 1e-6, 1e6
"""Of what a clock can have shown for a block or a step."""

MAX_RAW_FILES = 10_000
"""Of a run. The largest so far has some 300."""

MOST_STEPS = 10**6
"""Of a block."""

PHASES = ("import", "build", "trace", "first_call", "warmup")


def require_run(path: Path, document: dict[str, Any]) -> None:
    """Raise GnetError unless a run.json of this version is whole. Neither its cases' configurations nor its options are
    looked at.
    """
    require_fields(str(path), document, RUN_FIELDS)
    require_fields(
        str(path), document, {name: _OPTIONAL_RUN_FIELDS[name] for name in _OPTIONAL_RUN_FIELDS if name in document}
    )
    if sum(len(case["raw"]) for case in document["cases"] if _has_list(case, "raw")) > MAX_RAW_FILES:
        raise GnetError(f"{path}: its cases name more than {MAX_RAW_FILES} raw files; no run has as many")
    for suite in document["suites"]:
        _require_suite(path, suite)
    for cohort in document["cohorts"]:
        require_fields(f"{path}: cohorts", cohort, _COHORT_FIELDS)
        _require_texts(f"{path}: cohorts", "workers", cohort["workers"])
    for case in document["cases"]:
        _require_case(path, case)
    for environment in (document["environment"], *document["environments"].values()):
        require_environment(path, environment, document["device"])


def require_raw(path: Path, info: Mapping[str, Any], blocks: Any) -> None:
    """Raise GnetError unless a worker's extra_info and pytest-benchmark's samples are figures that can be."""
    for name in ("block_steps", "timed_blocks", "skipped_steps", "steps", "peak_memory_bytes"):
        _require_number(path, name, info[name], whole=True)
    if not isinstance(blocks, list) or not blocks[: info["timed_blocks"]] or not 1 <= info["block_steps"] <= MOST_STEPS:
        raise GnetError(f"{path}: it holds no timed block (stats.data, timed_blocks, block_steps)")
    _require_times(path, "data", blocks[: info["timed_blocks"]])
    for name in ("single_step_seconds", "resumed_step_seconds"):
        _require_times(path, name, info[name])
    for name in PHASES:
        _require_number(path, f"phase_seconds.{name}", info["phase_seconds"][name])
    _require_number(path, "flop_per_image", info["flop_per_image"])
    _require_number(path, "delay_seconds", info.get("delay_seconds", 0.0))
    for name in ("loss_first", "loss_last"):
        _require_number(path, name, info[name], least=-math.inf, optional=True)
    _require_number(path, "low_precision_share", info["low_precision_share"], most=1.0, optional=True)
    _require_losses(path, info["losses_without_dropout"])
    for index in info["voided_blocks"]:
        _require_number(path, "voided_blocks", index, most=info["timed_blocks"] - 1, whole=True)
    texts = {"memory_source": info["memory_source"], "low_precision_note": info.get("low_precision_note", "")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise GnetError(f"{path}: {name} is {text!r:.60}; it has to be text")


def _require_suite(path: Path, suite: Any) -> None:
    where = f"{path}: suites"
    require_fields(where, suite, _SUITE_FIELDS)
    require_choice(f"{where}: {suite['name']!r:.60}: view", suite["view"], VIEWS)
    of_sources = suite["varies"] == SOURCE or compares_identical_code(suite)
    if of_sources and not isinstance(suite["base"], str | NoneType):
        raise GnetError(f"{where}: base is {suite['base']!r:.60}; it has to be the name of a source")
    if of_sources or suite["varies"] is None:
        if suite["view"] in ("scaling", "parts"):
            raise GnetError(f"{where}: {suite['name']!r:.60} varies no field, which view {suite['view']!r} needs")
        return
    known = [field.name for field in dataclasses.fields(StepConfig)]
    if suite["varies"] not in known:
        told = f"{suite['name']!r:.60} varies {suite['varies']!r:.60}"
        raise GnetError(f"{where}: {told}; it has to be source or one of {', '.join(known)}")
    try:
        base = {} if suite["base"] is None else {suite["varies"]: suite["base"]}
        dataclasses.replace(StepConfig(), **{**suite["base_fields"], **base})
    except (TypeError, GnetError) as error:
        raise GnetError(f"{where}: {suite['name']!r:.60} varies or compares what cannot be: {error!s:.300}") from error


def _require_case(path: Path, case: Any) -> None:
    name = case.get("case") if isinstance(case, dict) else None
    where = f"{path}: case {name!r:.80}"
    require_fields(where, case, _CASE_FIELDS)
    if not CASE_NAME.fullmatch(case["case"]):
        raise GnetError(f"{where}: a name has at most 250 letters, digits and _.=@+-")
    for field in ("suites", "raw"):
        _require_texts(where, field, case[field])
    if not case["suites"]:
        raise GnetError(f"{where}: field 'suites' is empty; name the suites that share the case")


def _has_list(case: Any, field: str) -> bool:
    return isinstance(case, dict) and isinstance(case.get(field), list)


def _require_texts(where: str, field: str, values: list[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise GnetError(f"{where}: field {field!r} holds {value!r:.60}; it has to hold text")


def _require_times(path: Path, name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise GnetError(f"{path}: {name} is {values!r:.60}; it has to be a list")
    for seconds in values:
        if not isinstance(seconds, float) or not LEAST_SECONDS <= seconds <= MOST_SECONDS:
            raise GnetError(
                f"{path}: a sample is {seconds!r:.60} ({name}); "
                f"times are seconds between {LEAST_SECONDS:g} and {MOST_SECONDS:g}"
            )


def _require_losses(path: Path, losses: Any) -> None:
    if not isinstance(losses, list) or not losses:
        raise GnetError(f"{path}: losses_without_dropout is {losses!r:.60}; it has to be a list of losses")
    for applied, loss in losses:
        _require_number(path, "losses_without_dropout", applied, most=len(losses), whole=True)
        _require_number(path, "losses_without_dropout", loss, least=-math.inf, optional=True)


def _require_number(
    path: Path,
    name: str,
    value: Any,
    least: float = 0.0,
    most: float = math.inf,
    *,
    whole: bool = False,
    optional: bool = False,
) -> None:
    if value is None and optional:
        return
    kind = int if whole else int | float
    known = isinstance(value, kind) and not isinstance(value, bool) and abs(value) < MOST_WHOLE
    if not known or not least <= value <= most:
        limits = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        number = "a whole number" if whole else "a number"
        raise GnetError(f"{path}: {name} is {value!r:.60}; it has to be {number}{'' if least < 0 else f', {limits}'}")
