"""Sources by their names: interpreters, revisions and settings from options or a file, crossed, and the base first."""

import re
import sys

import pytest

from gnet_core.config import GnetError
from gnet_core.plan.request import BenchRequest
from gnet_core.plan.suites import Source
from gnet_core.run import named_sources
from tests.run.test_sources import checkout  # noqa: F401 - a fixture


def test_interpreters_keep_their_order_and_names():
    programs = named_sources.interpreters([f"old={sys.executable}", "new=python3"])
    assert list(programs) == ["old", "new"]
    assert programs["old"] == sys.executable


def test_a_frameworks_name_is_no_source_but_the_interpreter_of_its_rows(tmp_path):
    here = Source(checkout=tmp_path)
    (alone,) = named_sources.with_interpreters(here, {})
    assert alone == here
    (own,) = named_sources.with_interpreters(here, {"torch": "t", "jax": "j"})
    assert (own.name, own.python, own.peers) == ("", here.python, {"torch": "t", "jax": "j"})
    (own,) = named_sources.with_interpreters(here, {"tensorflow": "tf", "jax": "j"})
    assert (own.name, own.python, own.peers) == ("", "tf", {"torch": here.python, "jax": "j"})
    old, new = named_sources.with_interpreters(here, {"old": "o", "torch": "t", "new": "n"})
    assert (old.name, old.python, old.peers) == ("old", "o", {"torch": "t"})
    assert (new.name, new.python, new.peers) == ("new", "n", {})
    with pytest.raises(GnetError, match="python: 'tensorflow' cannot be named beside 'old'"):
        named_sources.with_interpreters(here, {"tensorflow": "tf", "old": "o"})


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["python3"], "python: 'python3' is no NAME=INTERPRETER"),
        (["old="], "python: 'old=' is no NAME=INTERPRETER"),
        (["../x=python3"], "is no NAME=INTERPRETER"),
        (["again=python3"], "is no NAME=INTERPRETER"),
        (["Again=python3"], "is no NAME=INTERPRETER"),
        ([f"{'a' * 61}=python3"], "a name has up to 60 letters"),
        (["a=python3", "a=python3"], "python: 'a' is named twice"),
        (["a=python3", "A=python3"], "python: 'A' is named twice"),
        (["a=/nowhere/python"], "python: '/nowhere/python' of a is no program that can be started"),
    ],
)
def test_what_names_no_interpreter_is_refused(pairs, message):
    with pytest.raises(GnetError, match=message):
        named_sources.interpreters(pairs)


def test_settings_are_variables_by_name_and_a_value_may_hold_commas_blanks_and_equal_signs():
    flags = "clusters=TF_XLA_FLAGS=--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"
    assert named_sources.variables(
        ["onednn0=TF_ENABLE_ONEDNN_OPTS=0", "one=A_B=1,C=2", flags, "x=XLA_FLAGS=--p=a,b"]
    ) == {
        "onednn0": {"TF_ENABLE_ONEDNN_OPTS": "0"},
        "one": {"A_B": "1", "C": "2"},
        "clusters": {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit"},
        "x": {"XLA_FLAGS": "--p=a,b"},
    }
    assert named_sources.variables(["plain="]) == {"plain": {}}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["onednn0"], "set: 'onednn0' is no NAME=VARIABLE=VALUE"),
        (["onednn0=TF_ENABLE_ONEDNN_OPTS"], "is no NAME=VARIABLE=VALUE"),
        (["=A=1"], "is no NAME=VARIABLE=VALUE"),
        (["again=A=1"], "is no NAME=VARIABLE=VALUE"),
        (["torch=A=1"], "is no NAME=VARIABLE=VALUE"),
        (["../x=A=1"], "is no NAME=VARIABLE=VALUE"),
        (["a=A=1", "A=B=1"], "set: 'A' is named twice"),
        (["a=A=1,A=2"], "set: A has two values in 'a'"),
        (["a=1A=1"], "set: a: '1A' is no name of an environment variable"),
        (["a=A=x\ny"], "set: a: A is 'x.ny'; use at most 4096 printable characters"),
        (["a=GNET_SETTINGS={}"], "set: a: GNET_SETTINGS is the suite's own"),
        (["a=KERAS_BACKEND=jax"], "set: a: KERAS_BACKEND is the suite's own"),
        (["a=PYTHONHASHSEED=1"], "set: a: PYTHONHASHSEED is the suite's own"),
        (["a=TF_USE_LEGACY_KERAS=1"], "set: a: TF_USE_LEGACY_KERAS would decide the framework; the suite frameworks"),
        (["a=TF_NUM_INTRAOP_THREADS=1,OMP_NUM_THREADS"], "ends in ',OMP_NUM_THREADS', which has no '='"),
        (["a=A=1,"], "set: a: A ends in ',', which has no '='"),
        (["a=", "b="], "set: 'a' and 'b' both have no variable"),
        (["a=CUDA_VISIBLE_DEVICES=1"], "set: a: CUDA_VISIBLE_DEVICES would decide the device; --device chooses one"),
        (["a=XLA_FLAGS=--xla_force_host_platform_device_count=4"], "set: a: XLA_FLAGS would decide the device"),
        (["a=JAX_PLATFORMS=cpu"], "set: a: JAX_PLATFORMS would decide the device; --device chooses one"),
    ],
)
def test_what_is_no_setting_is_refused(pairs, message):
    with pytest.raises(GnetError, match=message):
        named_sources.variables(pairs)


def names(sources):
    return {source.name: dict(source.variables) for source in sources}


def test_settings_cross_with_sources_and_the_plain_one_keeps_the_peers(tmp_path):
    here = Source(checkout=tmp_path, peers={"torch": "t"})
    plain, single = named_sources.crossed([here], {"one": {"A": "1"}})
    assert names([plain, single]) == {"default": {}, "one": {"A": "1"}}
    assert (plain.peers, single.peers) == ({"torch": "t"}, {})
    assert names(named_sources.crossed([here], {"one": {"A": "1"}, "usual": {}})) == {"usual": {}, "one": {"A": "1"}}
    old, new = Source(name="old", checkout=tmp_path), Source(name="new", checkout=tmp_path, variables={"B": "2"})
    assert names(named_sources.crossed([old, new], {"one": {"A": "1"}})) == {
        "old": {},
        "old-one": {"A": "1"},
        "new": {"B": "2"},
        "new-one": {"A": "1", "B": "2"},
    }
    assert named_sources.crossed([old, new], {}) == [old, new]


@pytest.fixture
def of(checkout, tmp_path):  # noqa: F811 - the fixture of that name
    """The sources of a request in a checkout of two revisions."""
    folder = tmp_path / "code"
    folder.mkdir()

    def made(**options):
        return named_sources.of_request(BenchRequest(**options), Source(checkout=checkout), checkout, folder)

    return made


def test_the_base_comes_first(of):
    pythons = (f"old={sys.executable}", f"new={sys.executable}")
    assert list(names(of(python=pythons))) == ["old", "new"]
    assert list(names(of(python=pythons, base="new"))) == ["new", "old"]
    settings = ("one=A=1", "two=A=2")
    assert list(names(of(settings=settings, base="two"))) == ["two", "default", "one"]
    with pytest.raises(GnetError, match="base: 'newer' is unknown; use one of old, new"):
        of(python=pythons, base="newer")
    with pytest.raises(GnetError, match="base: 'new' is compared with nothing, as there is one source"):
        of(base="new")


def test_settings_beside_a_revision_are_set_for_both(of):
    assert names(of(against="main", settings=("one=A=1",))) == {
        "main": {},
        "main-one": {"A": "1"},
        "here": {},
        "here-one": {"A": "1"},
    }


def test_interpreters_cross_with_a_revision(of):
    pythons = (f"old={sys.executable}", f"new={sys.executable}")
    assert list(names(of(against="main", python=pythons))) == ["old-main", "old", "new-main", "new"]


def test_two_sources_of_one_name_are_refused(of):
    with pytest.raises(GnetError, match="sources: two of them are called 'default'"):
        of(settings=("DEFAULT=A=1",))
    with pytest.raises(GnetError, match="set: 'usual' names what has no variable, and that is called 'a' already"):
        of(python=(f"a={sys.executable}",), settings=("usual=", "b=A=1"))
    pythons = (f"a={sys.executable}", f"a-b={sys.executable}")
    with pytest.raises(GnetError, match="sources: two of them are called 'a-b'"):
        of(python=pythons, settings=("b=A=1",))


def test_a_file_names_interpreters_revisions_and_variables(of, tmp_path):
    file = tmp_path / "sources.toml"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    file.write_text(
        """
        base = "old-one"
        [[source]]
        name = "here"
        [[source]]
        name = "old-one"
        revision = "main"
        variables = { TF_ENABLE_ONEDNN_OPTS = "0" }
        [[source]]
        name = "near"
        python = "bin/python"
        [[source]]
        name = "gone"
        python = "nowhere/python"
        """
    )
    base, here, near, gone = of(sources=str(file))
    assert (base.name, base.variables) == ("old-one", {"TF_ENABLE_ONEDNN_OPTS": "0"})
    assert base.checkout != here.checkout
    assert (near.python, near.missing) == (str(tmp_path / "bin" / "python"), "")
    assert gone.missing == "python: 'nowhere/python' is no program that can be started; was its installation finished?"
    assert of(sources=str(file), base="near")[0].name == "near"
    assert "near-one" in names(of(sources=str(file), settings=("one=A=1",)))
    for beside in ({"python": ("x=python3",)}, {"against": "main"}):
        with pytest.raises(GnetError, match=f"cannot be named beside --{next(iter(beside))}; put it into the file"):
            of(sources=str(file), **beside)


SPOILT_FILES = {
    "no TOML": ("[[source]\n", "sources.toml is no TOML: .*line 1"),
    "no UTF-8": (b"name = '\xff'", "sources.toml is not UTF-8"),
    "no source": ("base = 'x'\n", "sources.toml: field 'source' is missing"),
    "an empty list": ("source = []\n", r"sources.toml: it has no \[\[source\]\]"),
    "an unknown key": ("[[source]]\nname = 'a'\ninterpreter = 'x'\n", r"sources.toml: .*source\[0\].*interpreter"),
    "no name": ("[[source]]\npython = 'x'\n", r"sources.toml: field 'source\[0\].name' is missing"),
    "a number": ("[[source]]\nname = 3\n", r"sources.toml: field 'source\[0\].name' is 3; it has to be text"),
    "a framework": ("[[source]]\nname = 'torch'\n", r"source\[0\]: name is 'torch'"),
    "a path for a name": ("[[source]]\nname = '../x'\n", r"source\[0\]: name is '../x'"),
    "twice": ("[[source]]\nname = 'a'\n[[source]]\nname = 'A'\n", "sources: two of them are called 'a'"),
    "no revision": (
        "[[source]]\nname = 'a'\nrevision = 'nowhere'\n",
        r"source\[0\]: revision: 'nowhere' cannot be read",
    ),
    "a revision that git cannot have": (
        '[[source]]\nname = "a"\nrevision = "a\\u0000b"\n',
        r"source\[0\]: revision is 'a.x00b', which git has not",
    ),
    "a number of too many digits": (f"base = {'1' * 5000}\n", "sources.toml is no TOML"),
    "no variable": (
        "[[source]]\nname = 'a'\nvariables = { 'x y' = '1' }\n",
        r"source\[0\]: variables: 'x y' is no name",
    ),
    "an unknown base": ("base = 'b'\n[[source]]\nname = 'a'\n[[source]]\nname = 'c'\n", "base: 'b' is unknown"),
}


@pytest.mark.parametrize(("content", "message"), SPOILT_FILES.values(), ids=SPOILT_FILES)
def test_a_file_that_cannot_be_is_refused_by_what_is_wrong_with_it(of, tmp_path, content, message):
    file = tmp_path / "sources.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GnetError) as refused:
        of(sources=str(file))
    assert re.search(message, str(refused.value)), str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused(of, tmp_path):
    with pytest.raises(GnetError, match=r"sources: .*nowhere\.toml cannot be read"):
        of(sources=str(tmp_path / "nowhere.toml"))
