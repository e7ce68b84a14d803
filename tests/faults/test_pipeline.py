"""The job of reports/README.md, run as a pipeline would run it, on code that is unchanged and on slower code."""

import datetime
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import yaml

from tests.faults import checkout as house

README = (house.ROOT / "reports" / "README.md").read_text(encoding="utf-8")
CASE = "graph-float32-b2-i96-synthetic-cpu@here"

QUICK = """    image_size=224,
    batch_size=8,
    throughput_batch_size=32,
    batch_sizes=(1, 8, 32),
    plan=_QUICK_PLAN,
    until="resolved",
    budget_seconds=360,
"""
SMALL = """    image_size=96,
    batch_size=2,
    throughput_batch_size=2,
    batch_sizes=(2,),
    plan=_QUICK_PLAN,
    until="resolved",
    budget_seconds=45,
    with_peaks=False,
"""
"""The preset that the job takes, of seconds and without the device's peaks, which are TensorFlow's to measure."""

VENV = """#!/bin/sh -e
# In place of `python3 -m venv .venv` makes an environment whose packages are those of the tests, and asks no network.
mkdir -p .venv/bin
printf '#!/bin/sh\\n' > .venv/bin/pip
printf '#!/bin/sh\\nexec %s -m gnet_core "$@"\\n' {python} > .venv/bin/gnet
chmod +x .venv/bin/pip .venv/bin/gnet
"""


def block(language, holding=""):
    """The only block of that language in the README that holds these words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (text,) = [text for text in blocks if holding in text]
    return text


def commands():
    """The commands of the job's steps."""
    (job,) = yaml.safe_load(block("yaml", "jobs:"))["jobs"].values()
    return [step["run"] for step in job["steps"] if "run" in step]


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The repository that the job checks out, of which a run takes seconds."""
    folder = house.make_checkout(tmp_path_factory.mktemp("pipeline") / "origin")
    change(folder / "gnet_core" / "plan" / "suites.py", QUICK, SMALL)
    change(folder / "benchmarks" / "bench_throughput.py", 'precision=("float32", "mixed_bfloat16"), ', "")
    git(folder, "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--all", "--message", "small")
    return folder


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


def git(folder, *words):
    subprocess.run(["git", "-C", str(folder), *words], check=True)


@pytest.fixture
def checkout(origin, tmp_path):
    """What the job's first step leaves, with the README's rules in it; their waiver is still in force."""
    folder = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(origin), str(folder)], check=True)
    next_month = datetime.date.today() + datetime.timedelta(days=30)
    rules = re.sub(r"expires = [\d-]+", f"expires = {next_month}", block("toml", "[[waiver]]"))
    (folder / "gnet-rules.toml").write_text(rules)
    stand_in = tmp_path / "bin" / "python3"
    stand_in.parent.mkdir()
    stand_in.write_text(VENV.format(python=shlex.quote(sys.executable)))
    stand_in.chmod(0o755)
    return folder


def run_job(checkout):
    """Run the job's commands, each by a shell of its own until one fails: status, output, the step's summary."""
    summary = checkout.parent / "step-summary"
    variables = {**os.environ, "GITHUB_STEP_SUMMARY": str(summary), "CI": "true"}
    variables["PATH"] = os.pathsep.join([str(checkout.parent / "bin"), os.environ["PATH"]])
    output = ""
    for number, command in enumerate(commands()):
        script = checkout.parent / f"step-{number}.sh"
        script.write_text(command)
        summary.touch()
        with subprocess.Popen(
            ["bash", "-e", str(script)],
            cwd=checkout,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output += process.communicate(timeout=180)[0]
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            break
    return process.returncode, output, summary.read_text()


def found(checkout):
    whole = ElementTree.parse(checkout / "junit.xml")  # noqa: S314 - which gnet has just written
    return {case.attrib["name"]: case[0] for case in whole.iter("testcase")}


def test_the_job_is_one_that_a_pipeline_can_run():
    (job,) = yaml.safe_load(block("yaml", "jobs:"))["jobs"].values()
    first, *_ = job["steps"]
    assert first["with"]["fetch-depth"] == 0  # or --against finds no other revision
    assert [shlex.split(command)[0] for command in commands()] == ["python3", ".venv/bin/gnet"]
    assert shutil.which("bash")


def test_code_that_is_unchanged_passes(checkout):
    status, output, summary = run_job(checkout)
    assert status == 0, output
    case = found(checkout)[CASE]
    assert case.tag in ("system-out", "skipped"), case.text
    assert "0 failures, 0 errors" in summary
    assert "::error" not in output
    assert "::warning title=gnet bench::*-mixed_bfloat16-* (waived until" in output  # the case is left out here
    (report,) = (checkout / "reports").glob("*/report.html")
    assert report.stat().st_size


def test_code_that_is_slower_fails_by_its_case(checkout):
    change(checkout / "gnet_core" / "frameworks" / "tf" / "case.py", "sleep(0.002)", "sleep(0.02)")
    status, output, summary = run_job(checkout)
    assert status == 1, output
    case = found(checkout)[CASE]
    assert (case.tag, case.attrib["type"]) == ("failure", "slower"), case.text
    assert "its own margin of 5 % (a shared runner)" in case.text
    assert "measure it again: gnet bench" in case.text
    assert f"\n::error title=gnet bench::{CASE}: slower: SLOWER, 0." in output
    assert f"Gate failed: slower: {CASE}" in output
    assert "1 failure, 0 errors" in summary
    assert "**failure:** slower: SLOWER" in summary
