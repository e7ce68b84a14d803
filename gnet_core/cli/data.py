"""The commands `gnet data check` and `gnet data pack`: a data set looked at, and written into a few large files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnet_core.cli import options
from gnet_core.cli.output import CASES_FAILED, FINE, complain, print_json
from gnet_core.config import GnetError, StepConfig

if TYPE_CHECKING:
    from gnet_core.datasets.data_set import DataSet
    from gnet_core.datasets.overview import Overview


@click.group("data")
def data_group() -> None:
    """Look at the images of a data set, or pack them."""


@data_group.command()
@click.argument("path", metavar="NAME_OR_PATH")
@options.strict
@options.as_json
def check(path: str, strict: bool, as_json: bool) -> int:
    """Tell classes, sizes, kinds of file, duplicates, and each broken image with its reason.

    Every image is decoded. Exit status 3 where some are broken, 2 where the data cannot be used or --strict is given.
    """
    from gnet_core.datasets.overview import overview

    found = overview(_opened(path, strict=strict))
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        _print(found)
    return CASES_FAILED if found.broken else FINE


@data_group.command()
@click.argument("path", metavar="NAME_OR_PATH")
@click.option("--out", type=options.PATH, help="New or empty directory to write.")
@options.strict
@options.as_json
def pack(path: str, out: Path | None, strict: bool, as_json: bool) -> int:
    """Write the images, as they are encoded, into TFRecord files that --data takes."""
    from gnet_core.files.whole import require_empty
    from gnet_core.system.claims import claimed_empty

    if out is None:
        raise GnetError("out: it is missing; name the directory to write with --out")
    require_empty(out)
    data = _opened(path, strict=strict)
    from gnet_core.frameworks.tf import pack as packing

    with claimed_empty(out):
        index = packing.pack(data, out)
    shards = [*index.train.shards, *index.test.shards]
    images, size_bytes = sum(shard.images for shard in shards), sum(shard.size_bytes for shard in shards)
    if as_json:
        print_json({"directory": str(out), "images": images, "size_bytes": size_bytes, "files": len(shards)})
    else:
        click.echo(f"{images:,} images, {size_bytes / 1e6:,.1f} MB, are in {len(shards)} files in {out}")
    for note in data.notes:
        complain(f"note: {note}")
    return FINE


def _opened(path: str, *, strict: bool) -> DataSet:
    """The data set without any image that is broken. Raises GnetError, also for a pack whose content has changed."""
    from gnet_core.config import bad_data
    from gnet_core.datasets import packs
    from gnet_core.datasets.catalog import absolute, open_data
    from gnet_core.datasets.data_set import RecordFiles

    data = open_data(absolute(path), strict=strict)
    for split in (data.train, data.test):
        changed = packs.changed_shards(split.images) if isinstance(split.images, RecordFiles) else ()
        for shard in changed:
            raise bad_data(shard.path, shard.reason)
    from gnet_core.frameworks.tf import decode_check, device

    device.prepare(StepConfig(device="cpu"))  # a GPU is of no use here, and may be another's
    return decode_check.decodable(data, strict=strict, progress=complain)


def _print(found: Overview) -> None:
    """Print tables of what was found."""
    from tabulate import tabulate

    names = [item.name if item.name.isprintable() else ascii(item.name) for item in found.classes]
    rows = [(name, item.train, item.test) for name, item in zip(names, found.classes, strict=True)]
    total = ("all", sum(item.train for item in found.classes), sum(item.test for item in found.classes))
    print(tabulate([*rows, total], headers=("class", "train", "test"), disable_numparse=True))
    sizes = (("smallest", found.smallest), ("median", found.median), ("largest", found.largest))
    lines = [
        ("sizes", ", ".join(f"{name} {size.width}×{size.height}" for name, size in sizes)),
        ("kinds", ", ".join(f"{kind} {count:,}" for kind, count in found.kinds.items())),
        ("transparent", f"{found.transparent:,} (shown on white)"),
        ("turned", f"{found.turned:,} (turned upright, as their EXIF data say)"),
        ("duplicates", f"{found.duplicates:,}"),
        ("broken", f"{len(found.broken):,}"),
    ]
    print("\n" + tabulate(lines, tablefmt="plain", disable_numparse=True))
    if found.broken or found.notes:
        print()
    for image in found.broken:
        print(f"Broken: {image.path!a} {image.reason}")
    for note in found.notes:
        print(f"Note: {note}")
