"""NVIDIA's libraries are loaded before TensorFlow looks for them; played by a TensorFlow that only opens them."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gnet_core.machine import cuda_libraries
from tests import stand_ins

ROOT = Path(__file__).parents[2]
BUILD_INFO = "build_info = collections.OrderedDict([('cuda_version', '12.5.1'), ('is_cuda_build', {})])\n"
OPENED = "import ctypes, os\ntry:\n    ctypes.CDLL('libcusolver.so.11', os.RTLD_NOLOAD)\n    opened = True\n"
OPENED += "except OSError:\n    opened = False\n"
FIND = (
    "import json; from gnet_core.machine.cuda_libraries import find; "
    "print(json.dumps([library._asdict() for library in find()]))"
)


class Site:
    """A folder with a TensorFlow built for CUDA, NVIDIA's wheels beside it, and a driver in a folder of its own.

    On its import that TensorFlow notes as `tensorflow.opened` whether cuSOLVER's library can be had by its name alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver = folder / "driver"
        self.environ = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "LD_LIBRARY_PATH": str(self.driver)}

    def library(self, name: str) -> Path:
        library = next(library for library in cuda_libraries.LIBRARIES if library.name == name)
        return self.folder / "nvidia" / library.folder / "lib" / name

    def build_for_cuda(self, answer: bool) -> None:
        (self.folder / "tensorflow/python/platform/build_info.py").write_text(BUILD_INFO.format(answer))

    def run(self, program: str, **environ: str) -> str:
        """What a fresh Python prints that runs the program with this folder in front."""
        kept = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        command, environment = [sys.executable, "-c", program], kept | self.environ | environ
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.strip()

    def find(self, **environ: str) -> dict[str, cuda_libraries.Library]:
        return {fields["name"]: cuda_libraries.Library(**fields) for fields in json.loads(self.run(FIND, **environ))}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder)
    (folder / "tensorflow/python/platform").mkdir(parents=True)
    (folder / "tensorflow/__init__.py").write_text(OPENED)
    (folder / "keras").mkdir()
    (folder / "keras/__init__.py").write_text("import tensorflow\n")
    site.build_for_cuda(True)
    site.driver.mkdir()
    stand_ins.build(stand_ins.CUDA, site.driver)
    for library in cuda_libraries.LIBRARIES[1:]:
        file = site.library(library.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        # None of them names a folder for what it is linked with, as a wheel's may not.
        linked = [site.library("libcusparse.so.12")] if library.name == "libcusolver.so.11" else []
        stand_ins.build_empty(file, *linked)
    return folder


@pytest.fixture
def site(built, tmp_path):
    return Site(Path(shutil.copytree(built, tmp_path / "site")))


def test_each_library_is_found_in_the_wheel_beside_tensorflow(site):
    libraries = site.find()
    assert list(libraries) == [library.name for library in cuda_libraries.LIBRARIES]
    assert libraries.pop("libcuda.so.1").path == str(site.driver / "libcuda.so.1")
    assert {name: library.path for name, library in libraries.items()} == {
        name: str(site.library(name)) for name in libraries
    }
    assert libraries["libcusolver.so.11"].package == "nvidia-cusolver-cu12"


def test_a_missing_library_has_the_linkers_words_and_the_others_are_found(site):
    site.library("libcusolver.so.11").unlink()
    libraries = site.find()
    missing = [library for library in libraries.values() if library.path is None]
    assert [library.name for library in missing] == ["libcusolver.so.11"]
    assert missing[0].error == "libcusolver.so.11: cannot open shared object file: No such file or directory"


def test_the_error_of_a_library_names_what_it_is_linked_with_and_lacks(site):
    site.library("libcusparse.so.12").unlink()
    libraries = site.find()
    assert libraries["libcusolver.so.11"].path is None
    assert str(libraries["libcusolver.so.11"].error).startswith("libcusparse.so.12: cannot open shared object file")


def test_a_file_that_is_no_library_has_an_error_and_fails_nothing(site):
    site.library("libcudnn.so.9").write_text("no library")
    assert "libcudnn.so.9: file too short" in str(site.find()["libcudnn.so.9"].error)
    assert site.run("import gnet_core, tensorflow; print(tensorflow.opened)") == "True"


def test_what_ld_library_path_has_goes_before_the_wheel_as_it_does_for_tensorflow(site):
    own = shutil.copy(site.library("libcudnn.so.9"), site.driver)
    assert site.find()["libcudnn.so.9"].path == own


def test_what_is_loaded_already_stays_what_it_is(site, tmp_path):
    other = shutil.copy(site.library("libcudnn.so.9"), tmp_path)
    libraries = json.loads(site.run(f"import ctypes; ctypes.CDLL({other!r}); {FIND}"))
    assert next(library["path"] for library in libraries if library["name"] == "libcudnn.so.9") == other


@pytest.mark.parametrize(
    "program",
    [
        "import gnet_core, tensorflow",
        "import gnet_core, keras, tensorflow",
        "import tensorflow, gnet_core; exec(open(tensorflow.__file__).read(), vars(tensorflow))",
    ],
    ids=["TensorFlow after gnet", "Keras after gnet", "TensorFlow before gnet"],
)
def test_a_program_has_the_libraries_loaded_when_tensorflow_looks_for_them(site, program):
    assert site.run("import tensorflow; print(tensorflow.opened)") == "False"
    assert site.run(f"{program}; print(tensorflow.opened)") == "True"


def modules_that_import_tensorflow():
    """Those of the package that import it or Keras as they are imported themselves; JAX's case has Keras on JAX."""
    for file in sorted((ROOT / "gnet_core").rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if {name.partition(".")[0] for name in names} & {"tensorflow", "keras"} and file.stem != "keras_jax":
                yield ".".join(file.relative_to(ROOT).with_suffix("").parts)
                break


def test_every_module_that_imports_tensorflow_has_the_libraries_loaded_first(site):
    (site.folder / "tensorflow/__init__.py").write_text("raise ImportError('seen')")
    modules = list(modules_that_import_tensorflow())
    names = {"device", "model", "peaks", "precision_proof", "step", "trace", "training"}
    assert names <= {module.rpartition(".")[2] for module in modules}
    program = f"""
import importlib, json, sys
from gnet_core.machine import cuda_libraries
calls, calls_by_module = [], {{}}
cuda_libraries.load = lambda: calls.append("tensorflow" in sys.modules)
for module in {modules}:
    try:
        importlib.import_module(module)
    except ImportError as error:
        assert str(error) == "seen", error
    calls_by_module[module] = calls[:1]
    loaded = [name for name in sys.modules if name.startswith("gnet_core.")]
    for name in set(loaded) - set(["gnet_core.machine", "gnet_core.machine.cuda_libraries"]):
        del sys.modules[name]
    calls.clear()
print(json.dumps(calls_by_module))"""
    assert json.loads(site.run(program)) == {module: [False] for module in modules}


def test_nothing_is_loaded_where_tensorflow_will_open_nothing(site):
    program = "import gnet_core, tensorflow; print(tensorflow.opened)"
    assert site.run(program, LD_LIBRARY_PATH="") == "False", "without a driver"
    for hidden in ("", "-1", "-1,0"):
        assert site.run(program, CUDA_VISIBLE_DEVICES=hidden) == "False", hidden
    assert site.run(program, CUDA_VISIBLE_DEVICES="0") == "True"
    site.build_for_cuda(False)
    assert site.run(program) == "False", "built for a CPU"
    shutil.rmtree(site.folder / "tensorflow/python")
    assert site.run(program) == "False", "whose build cannot be told"


def test_help_loads_nothing(site):
    program = "import sys; sys.argv = ['gnet', '--help']\nfrom gnet_core.cli.main import main\ntry:\n    main()\n"
    program += f"except SystemExit:\n    pass\n{OPENED}print(opened, 'tensorflow' in sys.modules)"
    assert site.run(program).endswith("False False")
