"""The house's arrows: which package may import which, and what must not bring TensorFlow in."""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "gnet_core"

ALLOWED = {
    "config": set(),
    "text": set(),
    "files": {"config"},
    "system": {"config", "files"},
    "datasets": {"config", "files"},
    "networks": {"config"},
    "plan": {"config", "files", "training"},
    "stats": {"config"},
    "machine": {"config", "files", "system"},
    "frameworks": {"config", "datasets", "files", "machine", "networks", "system"},
    "training": {"config", "datasets", "files", "frameworks", "machine", "networks", "system"},
    "results": {"config", "files", "machine", "networks", "plan", "stats"},
    "profile": {"config", "files", "machine", "networks", "text"},
    "run": {"config", "datasets", "files", "frameworks", "machine", "plan", "results", "stats", "system"},
    "time_to_accuracy": {
        *("config", "datasets", "files", "frameworks", "machine", "plan", "run", "stats", "system", "training"),
    },
    "export": {"config", "files", "machine", "plan", "results", "stats", "text"},
    "report": {
        *("config", "files", "machine", "plan", "profile", "results", "stats", "text", "time_to_accuracy", "training"),
    },
    "gpu_check": {
        *("config", "files", "frameworks", "machine", "plan", "profile", "report", "results", "run", "stats", "system"),
        "text",
    },
}
"""Of each package, which others it may import. `cli` may import all of them, and nothing imports it."""

WITH_A_FRAMEWORK = {"frameworks", "training"}
"""Only in these may a module import TensorFlow, Keras, PyTorch or JAX."""


def modules():
    return sorted(CORE.rglob("*.py"))


def package(file):
    """The package of a module, or the module itself where it lies in gnet_core."""
    return file.relative_to(CORE).with_suffix("").parts[0]


@functools.cache
def imports(file):
    """The dotted names that a file imports anywhere, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def imported_packages(file):
    return {name.split(".")[1] for name in imports(file) if name.startswith("gnet_core.")}


def test_the_table_names_every_package_and_no_other():
    assert set(ALLOWED) | {"cli", "__init__", "__main__"} == {package(file) for file in modules()}


def test_the_table_has_no_circle():
    left = dict(ALLOWED)
    while left:
        free = [name for name, allowed in left.items() if not allowed & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(CORE)))
def test_a_module_imports_only_what_the_table_allows_its_package(file):
    if package(file) in ALLOWED:
        assert imported_packages(file) <= ALLOWED[package(file)] | {package(file)}
    else:
        assert package(file) in ("cli", "__init__", "__main__")


@pytest.mark.parametrize("name", sorted({package(file) for file in modules()} - {"__init__", "__main__"}))
def test_the_modules_of_a_package_import_each_other_without_a_circle(name):
    own = {file: {other for other in imports(file) if other.startswith(f"gnet_core.{name}")} for file in modules()}
    dotted = {file: ".".join(file.relative_to(ROOT).with_suffix("").parts) for file in own if package(file) == name}
    left = {
        module: {other for other in dotted.values() if other != module and reaches(own[file], other)}
        for file, module in dotted.items()
    }
    while left:
        free = [module for module, needed in left.items() if not needed & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for module in free:
            del left[module]


def reaches(imported, module):
    return any(each == module or each.startswith(f"{module}.") for each in imported)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(CORE)))
def test_only_frameworks_and_training_import_a_framework(file):
    frameworks = {name.partition(".")[0] for name in imports(file)} & {"tensorflow", "keras", "torch", "jax"}
    assert not frameworks or package(file) in WITH_A_FRAMEWORK


@pytest.mark.parametrize("file", [file for file in modules() if file.name == "__init__.py" and file.parent != CORE])
def test_a_package_says_what_it_is_for_and_imports_nothing(file):
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("bench_*.py")), ids=lambda file: file.stem)
def test_a_benchmark_imports_public_names_alone(file):
    import gnet_core

    assert imported_packages(file) <= set(gnet_core.__all__)


def test_what_runs_the_benchmarks_imports_only_what_declares_and_times_cases():
    allowed = {"config", "frameworks", "machine", "plan", "run", "system", "time_to_accuracy"}
    assert imported_packages(ROOT / "benchmarks" / "conftest.py") <= allowed


def test_nothing_imports_benchmarks_or_tests():
    for file in modules():
        assert not [name for name in imports(file) if name.partition(".")[0] in ("benchmarks", "tests")], file


def test_all_but_frameworks_and_training_can_be_imported_without_tensorflow():
    names = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in modules()
        if package(file) not in (*WITH_A_FRAMEWORK, "__init__", "__main__") and file.name != "__init__.py"
    ]
    light = ["gnet_core", *names, "gnet_core.frameworks.base", "gnet_core.frameworks.installed"]
    check = f"import sys, {', '.join(light)}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_help_imports_nothing_that_takes_long():
    check = "import sys; sys.argv = ['gnet', '--help']\nfrom gnet_core.cli.main import main\n"
    check += "try: main()\nexcept SystemExit: print({'tensorflow', 'pandas', 'msgspec'} & sys.modules.keys())"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("Usage: gnet")
    assert answer.stdout.endswith("set()\n")


def test_the_readme_tells_of_every_package_once():
    table = (ROOT / "README.md").read_text().partition("| package | its subject |")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted({*ALLOWED, "cli"})
