"""Names as TensorFlow, Keras, Grappler and XLA give them. Those of a whole traced step are in test_profile."""

from __future__ import annotations

import pytest

from gnet_core.profile.parts import DIRECTIONS, OTHER, PARTS, SUMS, Place, place


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("googlenet_2_1/stem_7x7_1/convolution", Place("stem", "forward")),
        ("googlenet_2_1/stem_pool_2_1/MaxPool2d", Place("stem", "forward")),
        ("googlenet_2_1/inception_3a_5x5_reduce_bn_1/moments/mean", Place("inception_3a", "forward")),
        ("googlenet_2_1/inception_4e_pool_project_1/convolution", Place("inception_4e", "forward")),
        ("inception_model_1/pool_3_1/MaxPool2d", Place("pool_3", "forward")),
        ("googlenet_2_1/pool_4_1/MaxPool2d", Place("pool_4", "forward")),
        ("googlenet_2_1/class_1_dense_1/MatMul", Place("class_1", "forward")),
        ("googlenet_2_1/main_pool_1/Mean", Place("main", "forward")),
        (
            "gradient_tape/googlenet_2_1/inception_5b_3x3_1/convolution/Conv2DBackpropFilter",
            Place("inception_5b", "backward"),
        ),
        ("gradient_tape/googlenet_2_1/class_2_project_bn_1/batchnorm/mul", Place("class_2", "backward")),
        ("ConstantFolding/gradient_tape/googlenet_2_1/main_logits_1/Shape_folded", Place("main", "backward")),
        ("sparse_categorical_crossentropy_1/SparseSoftmax/Log", Place("loss", "forward")),
        ("gradient_tape/sparse_categorical_crossentropy/mul", Place("loss", "backward")),
        ("loss/sparse_categorical_crossentropy_1/SparseSoftmax/Log", Place("loss", "forward")),
        ("gradient_tape/loss/mul", Place("loss", "backward")),
        ("metrics/AssignAddVariableOp", Place("metrics", "neither")),
        ("AddN_81", Place(SUMS, "backward")),
        ("AddN_29/tmp_var_accum_6", Place(SUMS, "backward")),
        ("adam/mul_12", Place("optimizer", "neither")),
        ("loss_scale_optimizer/cond/adam/Sqrt", Place("optimizer", "neither")),
        ("Cast", Place(OTHER, "neither")),
        ("", Place(OTHER, "neither")),
        ("gradient_tape/mystery/mul", Place(OTHER, "backward")),
    ],
)
def test_a_name_tells_its_part_and_direction(name, expected):
    assert place(name) == expected


@pytest.mark.parametrize(
    "name", ["stemming/mul", "mainly/mul", "googlenet_2/inception_6a/mul", "adamant/mul", "pool_31/x"]
)
def test_a_name_that_only_begins_like_a_part_is_none(name):
    assert place(name).part == OTHER


def test_every_layer_of_the_network_has_a_part():
    from gnet_core.config import StepConfig
    from gnet_core.frameworks.tf.model import build_model

    layers = [layer.name for layer in build_model(StepConfig(image_size=67)).layers if layer.name != "images"]
    unplaced = [name for name in layers if place(f"googlenet_2/{name}/operation").part == OTHER]
    assert unplaced == []
    assert {place(f"googlenet_2/{name}/operation").part for name in layers} == set(PARTS[: PARTS.index("loss")])


def test_parts_are_in_the_order_of_a_step_and_directions_are_three():
    assert PARTS[0] == "stem"
    assert PARTS[-1] == OTHER
    assert DIRECTIONS == ("forward", "backward", "neither")
