"""Fields of StepConfig and their values in words, for headings, axes and sentences."""

from __future__ import annotations

from gnet_core.config import StepConfig, slug
from gnet_core.plan.suites import AXES

_WORDS = {
    "batch_size": "batch",
    "aux_weight": "auxiliary weight",
    "bn_momentum": "batch-norm momentum",
    "batch_norm": "batch norm",
    "all_reduce": "exchange of gradients",
}
_UNITS = {"batch_size": "images", "image_size": "pixels a side"}


def field_words(field: str) -> str:
    """A field as the heading of a column: `image size`."""
    return _WORDS.get(field, field.replace("_", " "))


def axis_words(field: str) -> str:
    """A field as the label of an axis, with its unit where it has one: `batch size in images`."""
    return f"{field.replace('_', ' ')} in {_UNITS[field]}" if field in _UNITS else field_words(field)


def value_words(value: object) -> str:
    """A field's value without the field, as in a cell."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_words(field: str, value: object) -> str:
    """A value with its field, `image size 96` or `layers keras`; `graph` alone, since it can only be an execution."""
    return value if field in AXES and isinstance(value, str) else f"{field_words(field)} {value_words(value)}"


def case_words(config: StepConfig, source: str = "") -> list[str]:
    """A case in words: its axes, and whatever else is not at its default and part of its name."""
    outside = (*AXES, "data", "seed", *([] if config.data == "synthetic" else ["classes"]))
    others = [field for field in config.overrides() if field not in outside]
    words = [setting_words(field, getattr(config, field)) for field in (*AXES, *others)]
    words += [] if config.data == "synthetic" else [f"data {slug(config.data)}"]
    return [*words, f"from {source}"] if source else words
