"""GoogleNet_2's architecture, after a published notebook: a batch-normalised GoogLeNet with auxiliary classifiers."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from gnet_core.config import StepConfig, Widths
from gnet_core.networks.builder import Kit, Tensor


class Filters(NamedTuple):
    """Filter counts of one inception block; `reduce3` and `reduce5` are the 1×1 convolutions before the 3×3 and 5×5."""

    conv1: int
    reduce3: int
    conv3: int
    reduce5: int
    conv5: int
    pool: int


# As the notebook ran: its pool projection took the 5×5-reduce width, and its own column of pool widths was never used.
PUBLISHED = {
    "3a": Filters(conv1=64, reduce3=96, conv3=128, reduce5=16, conv5=32, pool=16),
    "3b": Filters(conv1=128, reduce3=128, conv3=192, reduce5=32, conv5=64, pool=32),
    "4a": Filters(conv1=192, reduce3=96, conv3=208, reduce5=16, conv5=64, pool=16),
    "4b": Filters(conv1=160, reduce3=112, conv3=224, reduce5=24, conv5=64, pool=24),
    "4c": Filters(conv1=128, reduce3=128, conv3=256, reduce5=24, conv5=64, pool=24),
    "4d": Filters(conv1=112, reduce3=144, conv3=288, reduce5=32, conv5=64, pool=32),
    "4e": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=32),
    "5a": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=32),
    "5b": Filters(conv1=384, reduce3=192, conv3=384, reduce5=48, conv5=128, pool=48),
}

# Szegedy et al., "Going deeper with convolutions", arXiv 1409.4842, table 1.
PAPER = {
    "3a": Filters(conv1=64, reduce3=96, conv3=128, reduce5=16, conv5=32, pool=32),
    "3b": Filters(conv1=128, reduce3=128, conv3=192, reduce5=32, conv5=96, pool=64),
    "4a": Filters(conv1=192, reduce3=96, conv3=208, reduce5=16, conv5=48, pool=64),
    "4b": Filters(conv1=160, reduce3=112, conv3=224, reduce5=24, conv5=64, pool=64),
    "4c": Filters(conv1=128, reduce3=128, conv3=256, reduce5=24, conv5=64, pool=64),
    "4d": Filters(conv1=112, reduce3=144, conv3=288, reduce5=32, conv5=64, pool=64),
    "4e": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=128),
    "5a": Filters(conv1=256, reduce3=160, conv3=320, reduce5=32, conv5=128, pool=128),
    "5b": Filters(conv1=384, reduce3=192, conv3=384, reduce5=48, conv5=128, pool=128),
}

TABLES: dict[Widths, dict[str, Filters]] = {"published": PUBLISHED, "paper": PAPER}


def inception_layer(x: Tensor, filters: Filters, kit: Kit, name: str, *, norm_before_conv3: bool = False) -> Tensor:
    """One pre-activation inception block: (batch, h, w, c) → (batch, h, w, conv1 + conv3 + conv5 + pool).

    `norm_before_conv3` normalises between the 3×3-reduce and the 3×3, which the notebook made and then bypassed.
    """
    a = kit.norm_relu(x, f"{name}_1x1")
    a = kit.conv(a, filters.conv1, 1, f"{name}_1x1")

    b = kit.norm_relu(x, f"{name}_3x3_reduce")
    b = kit.conv(b, filters.reduce3, 1, f"{name}_3x3_reduce", normalised=norm_before_conv3)
    b = kit.norm_relu(b, f"{name}_3x3") if norm_before_conv3 else kit.relu(b, f"{name}_3x3_relu")
    b = kit.conv(b, filters.conv3, 3, f"{name}_3x3", padding="same")

    c = kit.norm_relu(x, f"{name}_5x5_reduce")
    c = kit.conv(c, filters.reduce5, 1, f"{name}_5x5_reduce")
    c = kit.norm_relu(c, f"{name}_5x5")
    c = kit.conv(c, filters.conv5, 5, f"{name}_5x5", padding="same")

    d = kit.max_pool(x, f"{name}_pool", strides=1, padding="same")
    d = kit.norm_relu(d, f"{name}_pool_project")
    d = kit.conv(d, filters.pool, 1, f"{name}_pool_project")

    return kit.concatenate([a, b, c, d], f"{name}_concat")


def classifier_layer(x: Tensor, classes: int, kit: Kit, name: str, dropout: float = 0.7) -> Tensor:
    """An auxiliary classifier: (batch, h, w, c) → float32 logits (batch, classes). Its pool is clipped to the map."""
    x = kit.average_pool(x, f"{name}_pool", size=5, strides=3)
    x = kit.norm_relu(x, f"{name}_project")
    x = kit.conv(x, 128, 1, f"{name}_project", normalised=False)
    x = kit.flatten(x, f"{name}_flatten")
    x = kit.dense(x, 1024, f"{name}_dense")
    x = kit.relu(x, f"{name}_dense_relu")
    x = kit.dropout(x, dropout, f"{name}_dropout")
    return kit.logits(x, classes, f"{name}_logits")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The whole network, in whatever kit it is to be made or computed; shapes are (batch, height, width, channels)."""

    classes: int
    widths: Widths = "published"
    dropout: bool = True
    as_published: bool = False

    @classmethod
    def of(cls, config: StepConfig) -> Architecture:
        names = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: getattr(config, name) for name in names})

    def outputs(self, images: Tensor, kit: Kit, *, classifiers: bool = True) -> tuple[Tensor, ...]:
        """Images (batch, h, w, 3) → float32 logits (main, class_1, class_2), or (main,) without the classifiers."""
        aux_rate, main_rate = (0.7, 0.4) if self.dropout else (0.0, 0.0)
        aux: list[Tensor] = []
        x = kit.conv(images, 64, 7, "stem_7x7", strides=2)  # 224 → 109
        x = kit.norm_relu_pool(x, "stem_7x7", "stem_pool_1")  # 54
        x = kit.conv(x, 192, 3, "stem_3x3", padding="same")
        x = kit.norm_relu_pool(x, "stem_3x3", "stem_pool_2")  # 26
        for block in ("3a", "3b"):
            x = self._block(x, block, kit)
        x = kit.max_pool(x, "pool_3")  # 12
        for block in ("4a", "4b", "4c", "4d", "4e"):
            x = self._block(x, block, kit)
            if classifiers and block in ("4a", "4d"):
                aux.append(classifier_layer(x, self.classes, kit, f"class_{len(aux) + 1}", aux_rate))
        x = kit.max_pool(x, "pool_4")  # 5
        for block in ("5a", "5b"):
            x = self._block(x, block, kit)
        x = kit.norm_relu(x, "main")
        x = kit.global_average_pool(x, "main_pool")
        x = kit.dropout(x, main_rate, "main_dropout")
        main = kit.logits(x, self.classes, "main_logits")
        if self.as_published:
            main = kit.relu(main, "main_output_relu")
        return main, *aux

    def _block(self, x: Tensor, block: str, kit: Kit) -> Tensor:
        filters, name = TABLES[self.widths][block], f"inception_{block}"
        return inception_layer(x, filters, kit, name, norm_before_conv3=self.widths == "paper")
