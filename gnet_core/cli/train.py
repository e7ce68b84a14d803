"""The command `gnet train`: a training session, begun or gone on with, and its report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from gnet_core.cli import options
from gnet_core.cli.output import complain, print_json, write_documents
from gnet_core.cli.report import complain_of
from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.request import TrainRequest
from gnet_core.training.recipe import LEARNING_RATE, Recipe

if TYPE_CHECKING:
    from gnet_core.datasets.data_set import DataSet
    from gnet_core.training.training import Trained

KEPT_BYTES = 2**30
"""Memory for images that are decoded once, where none is named: 66,000 of 72 pixels a side, or 7,100 photos of 224."""


class _Asked(NamedTuple):
    """The session that is asked for, its device still open and its images not yet decoded."""

    config: StepConfig
    recipe: Recipe
    epochs: int
    dataset: DataSet
    memory_bytes: int


@click.command()
@options.data("digits", "digits, fashion-mnist, a folder, or tfds:NAME@DIR.")
@click.option("--epochs", type=options.WHOLE, default=10, show_default=True)
@click.option("--batch-size", type=options.WHOLE, default=32, show_default=True)
@click.option("--image-size", type=options.WHOLE, help="Pixels a side; else what suits the data.")
@options.recipe
@options.step
@click.option("--memory", type=options.WHOLE, metavar="BYTES", help="For images that are decoded once; else 1 GiB.")
@options.strict
@click.option("--target", type=options.NUMBER, metavar="PERCENT", help="Test accuracy at which to end.")
@click.option("--save-every", type=options.WHOLE, metavar="STEPS", help="Save a state amid epochs, too.")
@click.option("--saved-model", is_flag=True, help="Write the last network as a SavedModel as well.")
@options.mllog("Append MLPerf's log lines to this file, which make no MLPerf result.")
@options.out("<date-time>-train-<data>")
@click.option("--resume", type=options.PATH, help="Go on with the session in this directory.")
@options.takes(TrainRequest)
def train(request: TrainRequest) -> int:
    """Train and test for some epochs; write history, a report, and the best and the last network."""
    from gnet_core.config import slug
    from gnet_core.files.whole import require_empty
    from gnet_core.networks.map_sizes import require_learnable

    if request.out is not None and request.resume is not None:
        raise GnetError(f"out: {request.out} cannot be named beside --resume, which goes on in its own directory")
    options.require_device_form(request.device)
    asked = _new(request) if request.resume is None else _resumed(request, request.resume)
    asked.dataset.require_augmentation(asked.recipe.augment)
    if request.out is not None:
        require_empty(request.out)
    if request.mllog is not None and request.resume is None:
        options.require_new_file("mllog", request.mllog)
    require_learnable(asked.config)
    from gnet_core.frameworks.tf import decode_check
    from gnet_core.frameworks.tf import device as devices
    from gnet_core.machine.devices import require_precision
    from gnet_core.report import training as reporting
    from gnet_core.training import training
    from gnet_core.training.document import read_training
    from gnet_core.training.ledger import process_seconds

    environment = devices.environment()
    as_before = request.resume is not None and request.device == "auto"
    device = options.choose_device(asked.config.device if as_before else request.device, environment)
    config = dataclasses.replace(asked.config, device=device)
    require_precision(config.precision, config.device, environment)
    directory = request.resume or request.out or options.default_directory("train", slug(config.data))
    devices.make_repeatable(config)
    devices.prepare(config)  # before the first image is decoded, which begins to use devices
    dataset = decode_check.decodable(asked.dataset, strict=request.strict, progress=complain)
    for note in dataset.notes:
        complain(f"note: {note}")
    trained = training.train(
        config,
        dataset,
        directory,
        asked.epochs,
        recipe=asked.recipe,
        memory_bytes=asked.memory_bytes,
        resume=request.resume is not None,
        save_every=request.save_every,
        target=None if request.target is None else request.target / 100,
        saved_model=request.saved_model,
        mllog=request.mllog,
        import_seconds=process_seconds(),
    )
    unwritten = write_documents(lambda: reporting.write(directory, read_training(directory)), directory)
    _print(trained, directory, request)
    return complain_of(unwritten, directory)


def _new(request: TrainRequest) -> _Asked:
    from gnet_core.datasets.catalog import absolute, open_data

    data = absolute(request.data)
    dataset = open_data(data, strict=request.strict)
    config = request.config(
        device="cpu",
        data=data,
        classes=dataset.classes,
        image_size=dataset.default_image_size,
        learning_rate=StepConfig.learning_rate if request.as_published else LEARNING_RATE,
    )
    given = _given_of_recipe(request)
    recipe = dataclasses.replace(Recipe(augment=dataset.default_augmentation), **given)
    if config.as_published and given:
        raise GnetError(f"{min(given)}: it cannot be chosen beside --as-published, which trains without a recipe")
    if options.is_given("bn_momentum") and "fit_bn_momentum" not in given:
        recipe = dataclasses.replace(recipe, fit_bn_momentum=False)
    return _Asked(config, recipe, request.epochs, dataset, request.memory or KEPT_BYTES)


def _resumed(request: TrainRequest, directory: Path) -> _Asked:
    """The session in a directory. What is not asked for again is as it was; what is asked for otherwise will be refused
    by name.
    """
    from gnet_core.datasets.catalog import absolute, open_data
    from gnet_core.training import session

    recorded = session.recorded_session(directory)
    asked = {**request.asked(), "data": absolute(request.data)}
    given = {name: asked[name] for name in asked if name != "device" and options.is_given(name)}
    config = dataclasses.replace(recorded.config, **given)
    recipe = dataclasses.replace(recorded.recipe, **_given_of_recipe(request))
    epochs = request.epochs if recorded.epochs is None or options.is_given("epochs") else recorded.epochs
    dataset = open_data(config.data, strict=request.strict)
    return _Asked(config, recipe, epochs, dataset, request.memory or recorded.data_set.memory or KEPT_BYTES)


def _given_of_recipe(request: TrainRequest) -> dict[str, Any]:
    """The fields of the recipe that the command line names."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    return {name: getattr(request, name) for name in names if options.is_given(name)}


def _print(trained: Trained, directory: Path, request: TrainRequest) -> None:
    import msgspec
    from tabulate import tabulate

    from gnet_core.training.session import best

    rows: list[dict[str, Any]] = [dataclasses.asdict(record) for record in trained.history]
    if request.as_json:
        plain = msgspec.to_builtins({"wall_time": trained.wall_time, "reached": trained.reached})
        print_json({"directory": str(directory), "epochs": rows, **plain})
        return
    click.echo(tabulate(rows, headers="keys", floatfmt=".4g"))
    if reached := trained.reached:
        click.echo(f"\nTarget reached after epoch {reached.epoch}, step {reached.step}, {reached.seconds:.1f} s.")
    elif request.target is not None:
        click.echo(f"\nThe target of {request.target:g} % was not reached.")
    top = best(trained.history)
    click.echo(f"\nBest test accuracy {top.test_accuracy:.2%} in epoch {top.epoch}. Written to {directory}")
