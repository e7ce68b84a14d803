"""The report of a training session, made of its training.json alone: curves, confusion, a sheet of images, a ledger."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnet_core.machine import overview
from gnet_core.plan.request import quoted
from gnet_core.report import documents
from gnet_core.report.document import (
    Banner,
    Block,
    Bullets,
    Command,
    Document,
    Files,
    Paragraph,
    Section,
    Sentence,
    section,
)
from gnet_core.report.drawing import COLOURS, Picture, described, draw, draw_lines, legible
from gnet_core.report.environment_section import environment_section
from gnet_core.report.fields import case_words
from gnet_core.report.grid import Column, Grid, grid, text_table
from gnet_core.text import percent, plain
from gnet_core.training.document import SAMPLE_SIDE, Confusion, Sample, Training
from gnet_core.training.session import EpochRecord, best

LEDGER_TOLERANCE = 0.01
"""Share of the wall time by which the ledger's sum may differ from it."""
MAX_HEAT_MAP_CLASSES = 20
"""Most classes of which a heat map can be read; of more, the pairs that are confused most say more."""
MAX_PAIRS = 15
MAX_CLASSES_DRAWN = 30
MAX_CLASSES_LISTED = 200
MAX_EPOCHS_LISTED = 200

_CURVE_POINTS = 400
_SHEET_COLUMNS = 6
_BAR = 0.7  # height of a bar, as a share of its line's
ENTRIES = {
    "imports": "imports, and opening the data",
    "build": "making network, step and input",
    "trace": "tracing",
    "compile": "first steps, which compile",
    "input_wait": "waiting for input",
    "train": "training steps",
    "test": "testing",
    "checkpoint": "checkpoints and results",
    "other": "other",
}
"""Entries of the ledger in words."""


class _ClassAccuracy(NamedTuple):
    name: str
    right: int
    images: int

    @property
    def accuracy(self) -> float:
        return self.right / self.images


def write(directory: Path, training: Training) -> None:
    """Write report.html, report.md and plots/. Raises as documents.write does."""
    documents.write(directory, document(training), {})


def document(training: Training, *, with_pictures: bool = True) -> Document:
    """The whole report."""
    config, data_set, environment = training.case, training.data_set, training.environment
    where = f"{overview.label(environment, config.device)}, {environment.version('tensorflow')}"
    asked = f"{training.epochs} epochs asked for, {training.steps_per_epoch} steps an epoch"
    how = f"{asked}, on {plain(where)}, written {training.created}."
    accuracies = _accuracies(training)
    return Document(
        heading=f"What GoogleNet_2 learned of {plain(data_set.data)}",
        banners=_banners(training),
        intro=[
            Paragraph(Sentence(f"{', '.join(case_words(config))}:", how)),
            Paragraph(
                f"{data_set.train_images} images to train with, {data_set.test_images} to test with, "
                f"{len(data_set.class_names)} classes."
            ),
        ],
        summary=[Bullets(_answers(training)), *([_curves(training)] if with_pictures else [])],
        sections=[
            _why_it_collapses(training),
            section("Epochs", _epochs(training)),
            section("How it was trained", _recipe(training), _learning_rate(training) if with_pictures else None),
            section(
                "What it confuses",
                _heat_map(training) if with_pictures else None,
                _most_confused(training),
            ),
            section(
                "Accuracy by class",
                _accuracy_bars(accuracies) if with_pictures and accuracies else None,
                _accuracy_table(accuracies),
            ),
            section("What it says of images", *_sheet(training, with_pictures=with_pictures)),
            section("Where the time went", _ledger(training), Paragraph(_ledger_sum(training), soft=True)),
            section("Files", *_files(with_pictures=with_pictures), reference=True),
            environment_section(environment),
        ],
    )


def _banners(training: Training) -> list[Banner]:
    if training.case.as_published:
        return [Banner("bad", "As published, this network cannot learn; below is why.")]
    return []


def _answers(training: Training) -> list[str]:
    """What it came to, a sentence each."""
    last, top = training.history[-1], best(training.history)
    lines = [
        f"Test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}, the last; "
        f"best {top.test_accuracy:.2%} after epoch {top.epoch}.",
        f"Wall time {training.wall_seconds:.0f} s, {last.images_per_second:.0f} images/s in the last epoch's training.",
    ]
    if training.target is not None:
        reached = training.reached
        lines.append(
            f"The target of {training.target:.2%} was not reached."
            if reached is None
            else f"The target of {training.target:.2%} was reached after epoch {reached.epoch}, step {reached.step}, "
            f"{reached.seconds:.1f} s."
        )
    if training.mllog:
        lines.append(f"{plain(training.mllog)} has MLPerf's log lines, and this is no MLPerf result.")
    if skipped := sum(record.skipped_steps for record in training.history):
        lines.append(f"Loss scaling left out {skipped} steps, whose gradients were not finite.")
    return lines


def _why_it_collapses(training: Training) -> Section:
    """Why a session as published ends where it began; empty for any other."""
    if not training.case.as_published:
        return section("Why it collapses")
    classes = len(training.data_set.class_names)
    return section(
        "Why it collapses",
        Bullets(
            [
                "The published network ends in a ReLU and takes what comes out for probabilities. The loss clips them "
                "to between 10⁻⁷ and 1 − 10⁻⁷ before it takes their logarithm.",
                "An output of 0 or less is 0 behind the ReLU, and one above 1 is clipped: neither passes a "
                "gradient on. Steps that push the wrong classes down end with all outputs at 0, from where "
                "nothing brings them back.",
                f"With all outputs equal the loss is that of guessing, ln {classes} = {math.log(classes):.3f}, and the "
                f"accuracy that of one class, {1 / classes:.2%} where all have as many images.",
                "Without --as-published the last layer gives logits and the loss takes them as such.",
            ]
        ),
    )


def _epochs(training: Training) -> Grid:
    columns = [
        Column[EpochRecord]("epoch", lambda record: str(record.epoch)),
        Column[EpochRecord]("train loss", lambda record: f"{record.train_loss:.4f}"),
        Column[EpochRecord]("train accuracy", lambda record: f"{record.train_accuracy:.2%}"),
        Column[EpochRecord]("test loss", lambda record: f"{record.test_loss:.4f}"),
        Column[EpochRecord]("test accuracy", lambda record: f"{record.test_accuracy:.2%}"),
        Column[EpochRecord]("s", lambda record: f"{record.epoch_seconds:.1f}"),
        Column[EpochRecord]("images/s", lambda record: f"{record.images_per_second:.1f}"),
        Column[EpochRecord]("skipped", lambda record: str(record.skipped_steps or "")),
    ]
    return grid(columns, training.history[-MAX_EPOCHS_LISTED:], "Epochs")


def _recipe(training: Training) -> Grid:
    recipe, case, steps = training.recipe, training.case, training.epochs * training.steps_per_epoch
    rows = [
        ("highest learning rate", f"{case.learning_rate:g}"),
        ("schedule", recipe.schedule),
        ("warm-up", f"{recipe.warmup:.0%} of the run" if recipe.warmup else "none"),
        ("weight decay", f"{recipe.weight_decay:g}" if recipe.weight_decay else "none"),
        ("label smoothing", f"{recipe.label_smoothing:g}" if recipe.label_smoothing else "none"),
        ("batch normalisation's momentum", f"{recipe.bn_momentum(case, steps):.4g}"),
        ("averaged weights", f"decay {recipe.average_decay(steps):.4g}" if recipe.average else "none"),
        ("augmentation", recipe.augment),
    ]
    return text_table(("what", "value"), rows, "The recipe")


def _most_confused(training: Training) -> Grid:
    names = training.data_set.class_names
    of_label = _images_by_label(training.confusion)
    wrong = sorted(
        (entry for entry in training.confusion if entry.label != entry.said), key=lambda entry: -entry.images
    )
    columns = [
        Column[Confusion]("class", lambda entry: legible(names[entry.label]), text=True),
        Column[Confusion]("taken for", lambda entry: legible(names[entry.said]), text=True),
        Column[Confusion]("images", lambda entry: str(entry.images)),
        Column[Confusion]("of the class", lambda entry: f"{entry.images / of_label[entry.label]:.0%}"),
    ]
    return grid(columns, wrong[:MAX_PAIRS], "The classes that are confused most")


def _accuracies(training: Training) -> list[_ClassAccuracy]:
    """The classes that have test images, the worst first."""
    names, images = training.data_set.class_names, _images_by_label(training.confusion)
    right = {entry.label: entry.images for entry in training.confusion if entry.label == entry.said}
    rows = [_ClassAccuracy(legible(names[label]), right.get(label, 0), images[label]) for label in sorted(images)]
    return sorted(rows, key=lambda row: row.accuracy)


def _images_by_label(confusion: list[Confusion]) -> dict[int, int]:
    images: dict[int, int] = defaultdict(int)
    for entry in confusion:
        images[entry.label] += entry.images
    return images


def _accuracy_table(accuracies: list[_ClassAccuracy]) -> Grid:
    columns = [
        Column[_ClassAccuracy]("class", lambda row: row.name, text=True),
        Column[_ClassAccuracy]("accuracy", lambda row: f"{row.accuracy:.1%}"),
        Column[_ClassAccuracy]("right", lambda row: str(row.right)),
        Column[_ClassAccuracy]("test images", lambda row: str(row.images)),
    ]
    return grid(columns, accuracies[:MAX_CLASSES_LISTED], "Accuracy by class, the lowest first")


def _ledger(training: Training) -> Grid:
    whole = training.wall_seconds or 1.0
    seconds = dataclasses.asdict(training.wall_time)
    columns = [
        Column[str]("spent on", lambda entry: ENTRIES[entry], text=True),
        Column[str]("s", lambda entry: f"{seconds[entry]:.2f}"),
        Column[str]("share", lambda entry: f"{seconds[entry] / whole:.1%}"),
    ]
    return grid(columns, list(ENTRIES), "Wall time")


def _ledger_sum(training: Training) -> str:
    total, whole = training.wall_time.total, training.wall_seconds
    off = abs(total - whole) / whole if whole else 0.0
    text = f"The entries sum to {total:.2f} s of {whole:.2f} s of wall time ({percent(off)} apart)."
    return text if off <= LEDGER_TOLERANCE else f"{text} That is more than {LEDGER_TOLERANCE:.0%}: do not quote them."


def _files(*, with_pictures: bool) -> list[Block]:
    if not with_pictures:
        return []
    named = [
        ("history.csv", "a row an epoch"),
        ("training.json", "what this page is made of"),
        ("train.json", "what was run on what, from which the session is resumed"),
        ("best.keras", "the network at its best test accuracy"),
    ]
    return [
        Files(named),
        Command(f"tensorboard --logdir {quoted('tensorboard')}", "In this directory, the curves as they are drawn:"),
    ]


def _curves(training: Training) -> Picture:
    history = training.history
    epochs = [record.epoch for record in history]

    def paint(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        panels = (("loss", 1.0, "cross-entropy, nats"), ("accuracy", 100.0, "accuracy, % of images"))
        for panel, (name, scale, label) in zip(axes, panels, strict=True):
            for part, marker in (("train", "o--"), ("test", "s-")):
                values = [scale * getattr(record, f"{part}_{name}") for record in history]
                panel.plot(epochs, values, marker, label=part, markersize=4)
            panel.set_xlabel("epoch")
            panel.set_ylabel(label)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            panel.legend()

    top = best(history)
    title = f"Test accuracy {history[-1].test_accuracy:.2%} at the end, {top.test_accuracy:.2%} at its best"
    lines = [f"epoch {record.epoch} {record.test_accuracy:.1%}" for record in history]
    return draw("curves", title, described("Loss and accuracy by epoch; tested:", lines), paint, 3.4, columns=2)


def _learning_rate(training: Training) -> Picture:
    steps = training.epochs * training.steps_per_epoch
    sampled = np.unique(np.linspace(1, steps, _CURVE_POINTS).round().astype(int)).tolist()
    rates = [training.recipe.learning_rate(training.case, step, steps) for step in sampled]

    def paint(axes: Any) -> None:
        axes.plot([step / training.steps_per_epoch for step in sampled], rates, color=COLOURS[0])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epochs done")
        axes.set_ylabel("learning rate")

    title = (
        f"The learning rate is {rates[0]:.2g} throughout"
        if min(rates) == max(rates)
        else f"The learning rate ends at {rates[-1]:.2g} after a highest of {max(rates):.2g}"
    )
    return draw("learning-rate", title, f"A line from {rates[0]:.2g} over {max(rates):.2g} to {rates[-1]:.2g}.", paint)


def _heat_map(training: Training) -> Picture | None:
    """The confusion matrix in greys with its numbers, where it has few enough classes to be read."""
    names = training.data_set.class_names
    classes = len(names)
    if classes > MAX_HEAT_MAP_CLASSES or not training.confusion:
        return None
    counts = np.zeros((classes, classes), int)
    for entry in training.confusion:
        counts[entry.label, entry.said] = entry.images
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    labels = [legible(name, 16) for name in names]

    def paint(axes: Any) -> None:
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        for label, said in zip(*np.nonzero(counts), strict=True):
            # Fixed colours: a page that is dark has its own ink, but the cells stay white to black.
            ink = "#ffffff" if shares[label, said] > 0.5 else "#000000"
            axes.text(said, label, str(counts[label, said]), ha="center", va="center", color=ink)
        axes.set_xticks(range(classes), labels, rotation=60, ha="right")
        axes.set_yticks(range(classes), labels)
        axes.set_xlabel("what it said")
        axes.set_ylabel("class")
        axes.grid(visible=False)

    right = int(np.trace(counts)) / int(counts.sum())
    lines = [f"{labels[entry.label]} as {labels[entry.said]} {entry.images}" for entry in training.confusion]
    title = f"{right:.1%} of the test images are on the diagonal"
    return draw("confusion", title, described("Images by class and by what was said of them:", lines), paint, 5.4)


def _accuracy_bars(accuracies: list[_ClassAccuracy]) -> Picture:
    shown = accuracies[:MAX_CLASSES_DRAWN]

    def paint(axes: Any) -> None:
        axes.barh(range(len(shown)), [100 * row.accuracy for row in shown], _BAR, color=COLOURS[0])
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy, % of the class' test images")

    title = f"{shown[0].name} is recognised least, in {shown[0].accuracy:.0%} of its images"
    lines = [f"{row.name} {row.accuracy:.0%}" for row in shown]
    names = [legible(row.name, 30) for row in shown]
    return draw_lines("accuracy-by-class", title, described("Bars of accuracy by class:", lines), paint, names)


def _sheet(training: Training, *, with_pictures: bool) -> list[Block]:
    if not training.samples:
        return []
    note = "Up to half of them it got wrong, those of which it was surest; the others are spread over the test images."
    return [Paragraph(note, soft=True), *([_sheet_picture(training)] if with_pictures else [])]


def _sheet_picture(training: Training) -> Picture:
    names, samples = training.data_set.class_names, training.samples
    rows = math.ceil(len(samples) / _SHEET_COLUMNS)

    def caption(sample: Sample) -> str:
        said = f"{legible(names[sample.said], 13)} {sample.probability:.0%}"
        return f"✓ {said}" if sample.said == sample.label else f"✗ {said}\nis {legible(names[sample.label], 13)}"

    def paint(axes: Any) -> None:
        for number, sample in enumerate(samples):
            row, column = divmod(number, _SHEET_COLUMNS)
            pixels = np.frombuffer(sample.pixels, np.uint8).reshape(SAMPLE_SIDE, SAMPLE_SIDE, 3)
            axes.imshow(pixels, extent=(column + 0.05, column + 0.95, row + 0.7, row + 0.05))
            axes.text(column + 0.5, row + 0.73, caption(sample), ha="center", va="top", fontsize=7)
        axes.set_xlim(0, _SHEET_COLUMNS)
        axes.set_ylim(rows, 0)
        axes.set_aspect("auto")
        axes.axis("off")

    wrong = sum(sample.said != sample.label for sample in samples)
    lines = [caption(sample).replace("\n", ", ") for sample in samples]
    title = f"{wrong} wrong and {len(samples) - wrong} right of the test images"
    description = described("Test images, each with what was said of it:", lines)
    return draw("sheet", title, description, paint, 0.5 + 1.5 * rows)
