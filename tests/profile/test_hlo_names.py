"""Where compiled instructions came from, on a module in XLA's own text."""

from __future__ import annotations

import pytest

from gnet_core.profile.hlo_names import LAYOUT_COPY, Module, Operation

FORWARD = "googlenet_2_1/inception_3a_3x3_relu_1/Relu"
INPUT_GRADIENT = "gradient_tape/googlenet_2_1/inception_3b_1x1_1/convolution/Conv2DBackpropInput"
POOL_GRADIENT = "gradient_tape/googlenet_2_1/stem_pool_1_1/MaxPool2d/MaxPoolGrad"


def origin(kind: str, name: str) -> str:
    return f'metadata={{op_type="{kind}" op_name="{name}" source_file="/x/ops.py" source_line=1}}'


TEXT = f"""HloModule a_inference_counted, is_scheduled=true

%fused_moves (param_0: f32[2,3]) -> f32[3,2] {{
  %param_0 = f32[2,3]{{1,0}} parameter(0)
  %transpose.1 = f32[3,2]{{1,0}} transpose(%param_0), dimensions={{1,0}}
  ROOT %copy.1 = f32[3,2]{{1,0}} copy(%transpose.1)
}}

%fused_sum (param_1: f32[2,3]) -> f32[2,3] {{
  %param_1 = f32[2,3]{{1,0}} parameter(0)
  %mul.1 = f32[2,3]{{1,0}} multiply(%param_1, %param_1), {origin("Mul", "gradient_tape/googlenet_2_1/main_bn_1/mul")}
  ROOT %add.1 = f32[2,3]{{1,0}} add(%mul.1, %param_1), {origin("AddN", "AddN_3")}
}}

%fused_window (param_2: f32[2,3], param_3: s32[2,3]) -> (f32[2], s32[2]) {{
  %param_2 = f32[2,3]{{1,0}} parameter(0)
  %param_3 = s32[2,3]{{1,0}} parameter(1)
  ROOT %reduce-window.1 = (f32[2]{{0}}, s32[2]{{0}}) reduce-window(%param_2, %param_3), window={{size=3}}
}}

ENTRY %main (arg0: f32[2,3], arg1: f32[2,3]) -> f32[2,3] {{
  %arg0 = f32[2,3]{{1,0}} parameter(0), metadata={{op_name="XLA_Args"}}
  %arg1 = f32[2,3]{{1,0}} parameter(1), metadata={{op_name="XLA_Args"}}
  %relu.1 = f32[2,3]{{1,0}} maximum(%arg0, %arg0), {origin("Relu", FORWARD)}
  %iota.1 = s32[2,3]{{1,0}} iota(), iota_dimension=0
  %moved.1 = f32[3,2]{{1,0}} fusion(%relu.1), kind=kLoop, calls=%fused_moves
  %gradient.1 = f32[2,3]{{1,0}} convolution(%arg0, %copy.9), dim_labels=b01f_01io->b01f, \
{origin("Conv2DBackpropInput", INPUT_GRADIENT)}
  %copy.9 = f32[3,2]{{1,0}} copy(%arg1)
  %filter.7 = f32[2,3]{{1,0}} convolution(%moved.1, %gradient.1), window={{size=3x3}}, dim_labels=b01f_01io->b01f
  %update.1 = f32[2,3]{{1,0}} add(%filter.7, %arg0), {origin("AssignAddVariableOp", "adam/AssignAddVariableOp_4")}
  %sum_fusion.2 = f32[2,3]{{1,0}} fusion(%gradient.1), kind=kLoop, calls=%fused_sum
  %window.5 = (f32[2]{{0}}, /*index=1*/s32[2]{{0}}) fusion(%relu.1, %iota.1), kind=kLoop, calls=%fused_window
  %get-tuple-element.3 = s32[2]{{0}} get-tuple-element(%window.5), index=1
  %scatter.1 = f32[2,3]{{1,0}} scatter(%get-tuple-element.3, %gradient.1), {origin("MaxPoolGrad", POOL_GRADIENT)}
  %lonely.4 = f32[2,3]{{1,0}} sort(%iota.8)
  ROOT %tuple.1 = (f32[2,3]{{1,0}}) tuple(%update.1)
}}
"""


@pytest.fixture(scope="module")
def module() -> Module:
    return Module(TEXT.splitlines())


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("relu.1", Operation(FORWARD, "Relu")),
        ("gradient.1", Operation(INPUT_GRADIENT, "Conv2DBackpropInput")),
        ("update.1", Operation("adam/AssignAddVariableOp_4", "AssignAddVariableOp")),
    ],
)
def test_an_instruction_with_a_name_keeps_it(module, instruction, expected):
    assert module.source(instruction) == expected


def test_a_fusion_is_named_after_the_last_that_tells_a_part(module):
    assert module.source("sum_fusion.2") == Operation("gradient_tape/googlenet_2_1/main_bn_1/mul", "Mul")


def test_a_filter_gradient_without_a_name_belongs_to_the_layer_whose_input_it_takes(module):
    assert module.source("filter.7") == Operation(f"gradient_tape/{FORWARD}", "Conv2DBackpropFilter")


def test_what_lost_its_name_is_told_by_what_uses_it(module):
    assert module.source("window.5") == Operation(POOL_GRADIENT, "MaxPoolGrad")


def test_a_copy_into_another_layout_is_one_of_whatever_wants_it(module):
    assert module.source("copy.9") == Operation(INPUT_GRADIENT, LAYOUT_COPY)


def test_the_optimizer_s_use_of_a_gradient_tells_nothing_so_its_source_does(module):
    assert module.source("moved.1") == Operation(FORWARD, LAYOUT_COPY)


def test_what_nothing_tells_is_its_own_kind(module):
    assert module.source("lonely.4") == Operation("", "lonely")
    assert module.source("unheard-of.12") == Operation("", "unheard-of")


def test_text_that_is_no_module_names_nothing():
    assert Module(["", "garbage", "%", "  %x", "  %x = ", "ENTRY"]).source("x.1") == Operation("", "x")
