"""The public names finish a job, and the example of each runs."""

import doctest
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gnet_core
from tests.faults import checkout

ROOT = Path(__file__).parents[1]


def examples_of(name):
    value = getattr(gnet_core, name)
    return doctest.DocTestParser().get_doctest(value.__doc__, {}, name, value.__module__, 0)


def test_there_are_at_most_ten_and_each_can_be_had():
    assert len(gnet_core.__all__) <= 10
    assert set(gnet_core.__all__) <= set(dir(gnet_core))
    for name in gnet_core.__all__:
        assert getattr(gnet_core, name).__name__ == name


@pytest.mark.parametrize("name", gnet_core.__all__)
def test_the_example_of_a_public_name_does_what_it_says(name, tmp_path, monkeypatch):
    if name == "load_run":
        shutil.copytree(ROOT / "reports" / "example", tmp_path / "reports" / "example")
    monkeypatch.chdir(tmp_path)
    examples = examples_of(name)
    assert any(f"import {name}" in example.source or f", {name}" in example.source for example in examples.examples)
    told: list[str] = []
    doctest.DocTestRunner().run(examples, out=told.append)
    assert not told, "".join(told)


def test_the_example_of_a_suite_is_a_whole_benchmark_whose_rows_can_be_read(tmp_path):
    there = checkout.make_checkout(tmp_path / "checkout")
    module = "".join(example.source for example in examples_of("Suite").examples)
    (there / "benchmarks" / "bench_image_size.py").write_text(module)
    words = ("image-size", "--preset", "smoke", "--device", "cpu", "--batch-size", "2", "--out", "measured")
    status, _, err = checkout.gnet(there, "bench", *words)
    assert status == 0, err
    rows = gnet_core.load_run(there / "measured").rows
    assert [(row.image_size, row.status) for row in rows] == [(96, "ok"), (128, "ok")]
    assert all(row.images_per_second for row in rows)


@pytest.mark.parametrize("name", ["make_test_step", "classifier_layer", "inception_layer"])
def test_a_name_that_was_public_is_still_there_and_says_where_it_is_now(name):
    with pytest.warns(
        DeprecationWarning, match=rf"^gnet_core\.{name} has moved; import it from gnet_core\.\S+$"
    ) as told:
        moved = getattr(gnet_core, name)
    assert str(told[0].message).endswith(f" {moved.__module__}")
    assert told[0].filename == __file__
    assert name not in gnet_core.__all__


def test_a_name_that_there_is_not_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'gnet_core' has no attribute 'nothing'"):
        gnet_core.nothing  # noqa: B018


def test_no_framework_is_imported_for_the_names_that_need_none():
    light = [
        name for name in gnet_core.__all__ if name not in ("GoogleNet_2", "build_model", "make_train_step", "train")
    ]
    check = f"import sys\nfrom gnet_core import {', '.join(light)}\n"
    check += "sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0
