"""Batch normalisations that see a single value a channel."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.frameworks.tf.model import build_model
from gnet_core.frameworks.tf.step import make_train_step
from gnet_core.networks.googlenet import Architecture
from gnet_core.networks.map_sizes import SizeKit, require_learnable, single_value_norms

SMALL = StepConfig(batch_size=1, image_size=72, classes=3, execution="eager")


@pytest.mark.parametrize(("image_size", "widths"), [(67, "published"), (147, "paper"), (224, "published")])
def test_the_sides_are_those_of_the_network_that_keras_makes(image_size, widths):
    config = dataclasses.replace(SMALL, image_size=image_size, widths=widths)
    kit = SizeKit()
    Architecture.of(config).outputs(image_size, kit)
    norms = (layer for layer in build_model(config).layers if isinstance(layer, keras.layers.BatchNormalization))
    assert kit.normalised_sides == {norm.name: norm.input.shape[1] for norm in norms}


@pytest.mark.parametrize(
    ("changes", "count", "first"),
    [
        ({}, 13, "class_1_project_bn"),
        ({"image_size": 98}, 13, "class_1_project_bn"),
        ({"image_size": 99}, 2, "class_1_project_bn"),
        ({"image_size": 146}, 2, "class_1_project_bn"),
        ({"aux_weight": 0.0}, 11, "inception_5a_1x1_bn"),
        ({"as_published": True}, 11, "inception_5a_1x1_bn"),
    ],
)
def test_a_batch_of_one_small_image_is_refused_with_the_size_that_would_do(changes, count, first):
    config = dataclasses.replace(SMALL, **changes)
    enough = 147 if config.trains_classifiers else 99
    assert (len(single_value_norms(config)), single_value_norms(config)[0]) == (count, first)
    with pytest.raises(GnetError, match=rf"^batch_size: 1 is too small at image_size .* at least {enough} pixels"):
        require_learnable(config)
    require_learnable(dataclasses.replace(config, image_size=enough))
    require_learnable(dataclasses.replace(config, batch_size=2))


@pytest.mark.parametrize(("batch_size", "learns"), [(1, False), (2, True)])
def test_no_gradient_of_the_image_comes_through_a_normalisation_of_one_value(batch_size, learns):
    config = dataclasses.replace(SMALL, batch_size=batch_size, aux_weight=0.0, dropout=False)
    model = build_model(config)
    stem = model.get_layer("stem_7x7").kernel
    before = np.array(stem)
    images = np.random.default_rng(0).random((batch_size, 72, 72, 3), np.float32)
    make_train_step(model, config)(keras.ops.convert_to_tensor(images), keras.ops.arange(batch_size, dtype="uint16"))
    assert (not np.array_equal(before, np.array(stem))) == learns
