"""StepConfig refuses what is no case, and names what is."""

import dataclasses

import pytest

from gnet_core.config import COMPUTE_DTYPES, PRECISIONS, GnetError, StepConfig


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("execution", "turbo"),
        ("precision", "float64"),
        ("widths", "wide"),
        ("part", "backward"),
        ("batch_size", 0),
        ("batch_size", -1),
        ("batch_size", "8"),
        ("batch_size", 2.0),
        ("batch_size", True),
        ("image_size", 66),
        ("classes", 1),
        ("classes", 2**16 + 1),
        ("image_size", 2**14 + 1),
        ("image_size", 10**300),
        ("batch_size", 2**63),
        ("learning_rate", 10**400),
        ("execution", ["graph"]),
        ("device", "gpu:99999"),
        ("seed", -1),
        ("seed", 2**32),
        ("aux_weight", -0.1),
        ("aux_weight", float("nan")),
        ("bn_momentum", 1.0),
        ("learning_rate", float("inf")),
        ("device", "tpu"),
        ("device", "gpu"),
        ("data", ""),
    ],
)
def test_a_bad_value_is_refused_by_field_and_value(field, value):
    with pytest.raises(GnetError, match=field) as refusal:
        StepConfig(**{field: value})
    assert str(value)[:20] in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_input_alone_needs_a_feed_that_makes_it():
    with pytest.raises(GnetError, match=r"^part: 'input' has no batch to make from feed 'ready'; use "):
        StepConfig(part="input")
    with pytest.raises(GnetError, match=r"^feed: 'lmdb' is unknown; use one of ready, jpeg, tfrecord, cache$"):
        StepConfig(feed="lmdb")  # type: ignore[arg-type]
    assert StepConfig(part="input", feed="cache").name == ("graph-float32-b32-i224-synthetic-cpu-part=input-feed=cache")


def test_the_smallest_image_is_taken():
    assert StepConfig(image_size=67).image_size == 67


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        StepConfig().batch_size = 2  # type: ignore[misc]


def test_a_config_survives_being_recorded():
    config = StepConfig(execution="xla", precision="mixed_bfloat16", batch_size=3, seed=9, dropout=False)
    assert StepConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("values", [[], "graph", None, 3])
def test_what_is_no_configuration_is_refused(values):
    with pytest.raises(GnetError, match=r"^config: .* is no configuration"):
        StepConfig.from_dict(values)


def test_an_unknown_recorded_field_is_named():
    with pytest.raises(GnetError, match="'colour'"):
        StepConfig.from_dict({"colour": "red"})


def test_the_name_holds_the_axes_and_whatever_else_is_not_the_default():
    assert StepConfig().name == "graph-float32-b32-i224-synthetic-cpu"
    assert StepConfig(device="gpu:1", data="/some/My Data").name == "graph-float32-b32-i224-My_Data-gpu1"
    assert StepConfig(part="forward").name == "graph-float32-b32-i224-synthetic-cpu-part=forward"
    assert StepConfig(as_published=True).name == "graph-float32-b32-i224-synthetic-cpu-as_published=True"


def test_the_name_leaves_out_the_seed_and_what_a_data_set_decides():
    assert StepConfig(seed=5).name == StepConfig().name
    assert StepConfig(data="digits", classes=10).name == StepConfig(data="digits").name
    assert StepConfig(classes=10).name == f"{StepConfig().name}-classes=10"


def test_every_precision_has_a_type_to_multiply_in():
    assert tuple(COMPUTE_DTYPES) == PRECISIONS
