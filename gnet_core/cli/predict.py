"""The command `gnet predict`: what a trained network says of images."""

from __future__ import annotations

from pathlib import Path

import click

from gnet_core.cli import options
from gnet_core.cli.output import CASES_FAILED, FINE, complain, print_json
from gnet_core.config import GnetError
from gnet_core.plan.request import PredictRequest


@click.command()
@click.argument("model", type=options.PATH)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--top", type=options.WHOLE, default=3, show_default=True, help="Classes to name of each image.")
@options.as_json
@options.takes(PredictRequest)
def predict(request: PredictRequest) -> int:
    """Name the most probable classes of each IMAGE, by MODEL: the directory of a session of gnet train, whose best
    network is taken, or a .keras file of one.
    """
    import dataclasses

    from gnet_core.text import plain
    from gnet_core.training.prediction import Guess, TrainedNetwork

    network = TrainedNetwork(request.model)
    named: dict[str, list[Guess]] = {}
    failed: dict[str, str] = {}
    for image in request.images:
        try:
            named[image] = network.guesses(Path(image), request.top)
        except GnetError as error:
            failed[image] = str(error)
            complain(str(error))
    if request.as_json:
        images = [
            {"image": image, "classes": [dataclasses.asdict(guess) for guess in guesses]}
            for image, guesses in named.items()
        ]
        print_json({"images": images, "failed": [{"image": image, "why": why} for image, why in failed.items()]})
    else:
        for image, guesses in named.items():
            classes = ", ".join(f"{plain(guess.class_name)} {guess.probability:.1%}" for guess in guesses)
            click.echo(f"{plain(image)}: {classes}")
    return CASES_FAILED if failed else FINE
