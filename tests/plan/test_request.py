"""A request comes back from its words, from the shell and from run.json as it was."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import subprocess
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from hypothesis import given
from hypothesis import strategies as some

from gnet_core.cli.main import commands
from gnet_core.cli.time_to_accuracy import time_to_accuracy
from gnet_core.config import (
    AUGMENTATIONS,
    EXECUTIONS,
    FRAMEWORKS,
    LAYERS,
    PRECISIONS,
    GnetError,
    Layers,
    Part,
    StepConfig,
    Widths,
)
from gnet_core.frameworks.tf import peaks
from gnet_core.plan.request import (
    GATES,
    STOPPING_RULES,
    BenchRequest,
    InfoRequest,
    PeaksRequest,
    PredictRequest,
    ProfileRequest,
    ReportRequest,
    Request,
    TimeToAccuracyRequest,
    TrainRequest,
    command_line,
    program_words,
    words,
)

COMMANDS: dict[type[Request], click.Command] = {
    PeaksRequest: peaks.command,
    TimeToAccuracyRequest: time_to_accuracy,
    **{
        kind: commands.commands[kind.program[1]]
        for kind in (BenchRequest, InfoRequest, PredictRequest, ProfileRequest, ReportRequest, TrainRequest)
    },
}

ODD = [
    "",
    "-",
    "--",
    "--help",
    "-x",
    "a b",
    "a  b",
    "'",
    '"',
    "`id`",
    "$(id)",
    "a=b",
    "=",
    "ü→🐍",
    "a\nb",
    "\\",
    "|",
    "*",
]

TEXT = some.sampled_from(ODD) | some.text(some.characters(exclude_characters="\0", codec="utf-8"))
WHOLE = some.integers(1, 2**70)
NUMBER = some.integers(-(2**70), 2**70) | some.floats(allow_nan=False)


def several(values: some.SearchStrategy[Any], least: int = 1) -> some.SearchStrategy[Any]:
    return some.lists(values, min_size=least, max_size=4).map(tuple)


VALUES: dict[str, some.SearchStrategy[Any]] = {
    "str": TEXT,
    "str | None": some.none() | TEXT,
    "bool": some.booleans(),
    "int": WHOLE,
    "int | None": some.none() | WHOLE,
    "float": NUMBER,
    "float | None": some.none() | NUMBER,
    "Path": TEXT.map(Path),
    "Path | None": some.none() | TEXT.map(Path),
    "Until | None": some.none() | some.sampled_from(STOPPING_RULES),
    "Augmentation | None": some.none() | some.sampled_from(AUGMENTATIONS),
    "Layers": TEXT,
    "Execution": TEXT,
    "Precision": TEXT,
    "Part": TEXT,
    "Widths": TEXT,
    "Schedule": TEXT,
    "tuple[str, ...]": several(TEXT, 0),
    "tuple[Execution, ...]": several(some.sampled_from(EXECUTIONS)),
    "tuple[Precision, ...]": several(some.sampled_from(PRECISIONS)),
    "tuple[int, ...] | None": some.none() | several(WHOLE),
    "tuple[Execution, ...] | None": some.none() | several(some.sampled_from(EXECUTIONS)),
    "tuple[Precision, ...] | None": some.none() | several(some.sampled_from(PRECISIONS)),
}
"""By the type of a field, what its command takes for it."""

OWN_VALUES: dict[str, some.SearchStrategy[Any]] = {
    "fail_on": several(some.sampled_from(GATES), 0),
    "seconds": some.floats(allow_nan=False),
    "images": several(TEXT),
    "budget": some.none() | some.integers(1, 10**8 - 1),
}
"""By the name of a field of which its command takes less than its type could have."""


def requests(kind: type[Request]) -> some.SearchStrategy[Any]:
    values = {field.name: OWN_VALUES.get(field.name, VALUES[str(field.type)]) for field in dataclasses.fields(kind)}
    if kind is PeaksRequest:
        values["precision"] = several(some.sampled_from(PRECISIONS))
    return some.builds(kind, **values)


def parse(kind: type[Request], said: list[str]) -> Request:
    return kind(**COMMANDS[kind].make_context("it", list(said)).params)


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_the_words_of_a_request_are_parsed_back_to_it(kind: type[Request]) -> None:
    @given(requests(kind))
    def check(request: Request) -> None:
        assert parse(kind, words(request)) == request

    check()


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_every_option_of_a_command_is_a_field_of_its_request_with_the_same_default(kind: type[Request]) -> None:
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    parsed = COMMANDS[kind].make_context("it", ["x"] * len(needed)).params
    assert sorted(parsed) == sorted(field.name for field in dataclasses.fields(kind))
    defaults = {field.name: field.default for field in dataclasses.fields(kind) if field.name not in needed}
    assert {name: parsed[name] for name in defaults} == defaults


def docstrings_of_fields() -> dict[str, str]:
    """The text below each field of StepConfig."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(StepConfig)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


@pytest.mark.parametrize("kind", [BenchRequest, ProfileRequest, TrainRequest], ids=lambda kind: kind.__name__)
def test_a_field_of_a_case_without_an_option_says_of_the_command_why(kind: type[Request]) -> None:
    options = {field.name for field in dataclasses.fields(kind)}
    documented = docstrings_of_fields()
    assert documented.keys() == {field.name for field in dataclasses.fields(StepConfig)}
    silent = [
        name for name, text in documented.items() if name not in options and f"gnet {kind.program[1]}" not in text
    ]
    assert not silent


def test_what_is_at_its_default_is_left_out() -> None:
    assert words(BenchRequest()) == []
    assert words(BenchRequest(seed=0, aa=False, device="auto", layers="keras")) == ["--layers", "keras"]
    assert words(ProfileRequest(dropout=False)) == ["--no-dropout"]
    assert program_words(InfoRequest(as_json=True)) == ["gnet_core", "info", "--json"]


def test_an_option_that_takes_several_values_is_written_as_its_command_reads_it() -> None:
    request = BenchRequest(suites=("parts",), execution=("graph", "xla"), batch_size=(1, 2), python=("a=b", "c=d"))
    assert command_line(request) == (
        "gnet bench parts --execution graph,xla --batch-size 1,2 --python a=b --python c=d"
    )


def test_a_suite_that_looks_like_an_option_is_none() -> None:
    assert words(BenchRequest(suites=("-x",), aa=True)) == ["--aa", "--", "-x"]


@pytest.mark.parametrize("odd", [*ODD, "".join(ODD), "\u202egnp.exe", "\x1b[2J", "\udcff"])
def test_a_shell_reads_the_line_for_people_as_the_words_of_the_request(odd: str) -> None:
    request = BenchRequest(data=odd, python=(odd, f"x={odd}"), out=Path(f"a folder{odd}"))
    line = command_line(request)
    answer = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    printed = [word.decode(errors="surrogateescape") for word in answer.stdout.split(b"\0")[:-1]]
    assert printed == ["gnet", "bench", *words(request)]


@pytest.mark.parametrize("odd", [*ODD, "".join(ODD), "\u202egnp.exe", "\x1b[2J", "\udcff"])
def test_the_line_for_people_is_not_changed_where_text_is_made_harmless(odd: str) -> None:
    from gnet_core.text import code, plain

    line = command_line(BenchRequest(data=f"x{odd}y"))
    assert plain(line) == line
    assert code(line).strip("`").replace("\\|", "|") == line


@given(requests(BenchRequest), some.sampled_from(LAYERS), some.sampled_from(get_args(Widths)))
def test_run_json_has_what_decides_what_is_measured_and_gives_it_back(
    request: BenchRequest, layers: Layers, widths: Widths
) -> None:
    request = dataclasses.replace(request, layers=layers, widths=widths)
    options = json.loads(json.dumps(request.to_dict()))
    assert BenchRequest.from_dict("run.json: options", options) == dataclasses.replace(
        request, out=None, resume=None, dry_run=False, fail_on=(), rules=None, junit=None, github=False, as_json=False
    )
    assert not set(BenchRequest.not_recorded) & options.keys()


def test_an_option_that_an_older_run_json_lacks_was_not_asked_for() -> None:
    assert BenchRequest.from_dict("x", {}) == BenchRequest()
    assert BenchRequest.from_dict("x", {"seed": 3}) == BenchRequest(seed=3)


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("aa", "no", "true or false"),
        ("aa", 1, "true or false"),
        ("replicates", True, "a whole number or null"),
        ("batch_size", [True], "a whole number"),
        ("batch_size", 8, "a list or null"),
        ("suites", None, "a list"),
        ("execution", [["graph"]], "one of eager, graph, xla"),
        ("worker_memory", "1", "a whole number or null"),
        ("layers", None, "one of keras, fused"),
    ],
)
def test_an_option_of_a_type_that_no_command_line_gives_is_refused(option: str, value: object, wanted: str) -> None:
    with pytest.raises(
        GnetError, match=rf"^run\.json: options: field '{option}(\[0\])?' is .*; it has to be {wanted}$"
    ):
        BenchRequest.from_dict("run.json: options", {option: value})


CONFIGS = some.builds(
    StepConfig,
    execution=some.sampled_from(EXECUTIONS),
    precision=some.sampled_from(PRECISIONS),
    part=some.sampled_from([part for part in get_args(Part) if part != "input"]),
    layers=some.sampled_from(LAYERS),
    batch_size=some.integers(1, 2**20),
    image_size=some.integers(67, 2**14),
    classes=some.integers(2, 2**16),
    widths=some.sampled_from(get_args(Widths)),
    aux_weight=some.integers(0, 9) | some.floats(0, 9),
    dropout=some.booleans(),
    bn_momentum=some.just(0) | some.floats(0, 1, exclude_max=True),
    learning_rate=some.integers(0, 9) | some.floats(0, 9),
    as_published=some.booleans(),
    data=some.just("synthetic") | TEXT.filter(bool),
    device=some.sampled_from(["cpu", "gpu:3"]),
    seed=some.integers(0, 2**32 - 1),
)

UNTRACED = {"framework", "feed", "replicas", "workers", "batch_norm", "all_reduce"}
"""Fields whose cases are refused, or that mean nothing to one replica."""


def test_the_cases_of_these_tests_differ_in_every_field_that_can_be_traced() -> None:
    varied = set(CONFIGS.wrapped_strategy.kwargs)  # type: ignore[attr-defined]
    assert varied == {field.name for field in dataclasses.fields(StepConfig)} - UNTRACED


@given(CONFIGS)
def test_a_case_is_traced_from_words_as_it_is(config: StepConfig) -> None:
    parsed = parse(ProfileRequest, words(ProfileRequest.of(config, out=Path("x"))))
    assert isinstance(parsed, ProfileRequest)
    classes = 47 if config.data == "synthetic" else 10  # which the data set has
    traced = parsed.config(device=parsed.device, data=parsed.data, classes=classes)
    assert traced == config
    assert traced.name == config.name


@pytest.mark.parametrize("framework", [framework for framework in FRAMEWORKS if framework != "tensorflow"])
def test_a_step_of_another_framework_is_not_traced(framework: Any) -> None:
    with pytest.raises(GnetError, match=f"framework: '{framework}' cannot be traced"):
        ProfileRequest.of(StepConfig(framework=framework))


@pytest.mark.parametrize(
    ("part", "feed"), [("train", "jpeg"), ("train", "cache"), ("forward", "tfrecord"), ("input", "jpeg")]
)
def test_a_step_that_is_fed_and_a_loader_alone_are_not_traced(part: Any, feed: Any) -> None:
    with pytest.raises(GnetError, match=f"^feed: '{feed}' cannot be traced; gnet profile takes steps on a batch that"):
        ProfileRequest.of(StepConfig(part=part, feed=feed))
    with pytest.raises(GnetError, match=r"^part: 'input' has no step to trace; use train, gradients or forward$"):
        ProfileRequest(part="input").config(device="cpu", data="synthetic")


def test_a_step_of_several_replicas_is_not_traced() -> None:
    with pytest.raises(GnetError, match="^replicas: 4 cannot be traced together; gnet profile takes steps of one$"):
        ProfileRequest.of(StepConfig(replicas=2, workers=2))


def test_no_field_of_a_request_has_a_type_that_these_tests_do_not_draw() -> None:
    drawn = {field.type for kind in COMMANDS for field in dataclasses.fields(kind)}
    assert drawn <= VALUES.keys()
