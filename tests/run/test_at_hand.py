"""What a stored run records of its code, environment and data is believed as far as this checkout has it."""

import pytest

from gnet_core.config import GnetError, StepConfig
from gnet_core.plan.suites import AGAIN
from gnet_core.results import records
from gnet_core.run import at_hand, sources
from gnet_core.system import git
from tests.conftest import environment_of
from tests.faults import checkout as house
from tests.stored import processes

CONFIG = StepConfig(batch_size=8)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    return house.make_checkout(tmp_path_factory.mktemp("at_hand") / "checkout")


@pytest.fixture
def recorded(run_directory, checkout, tmp_path):
    """Gives a run of the checkout's code, after `change` has changed what its run.json has."""

    def load(change=None):
        document = run_directory.document
        here = sources.working_tree(checkout, tmp_path / "here")
        document["code"] = {"": dict(sources.digests(here))}
        document["environments"][""]["machine"]["commit"] = git.commit(checkout)
        if change:
            change(document)
        run_directory.add(CONFIG, *processes(1.0))
        return records.load_run(run_directory.path)

    return load


def test_a_revision_is_found_by_its_commit_and_believed_by_its_files(recorded, checkout, tmp_path):
    run = recorded()
    revision = at_hand.revision_of(run, "", checkout, tmp_path / "base")
    assert revision == (git.commit(checkout) or "")[:12]
    assert at_hand.differing_code(run, "", run.document.code[""]) == ""


def test_changes_that_measure_nothing_are_no_matter(recorded, checkout, tmp_path):
    def change(document):
        document["environments"][""]["machine"]["commit"] += "+changes"

    assert at_hand.revision_of(recorded(change), "", checkout, tmp_path / "base")


@pytest.mark.parametrize(
    ("commit", "message"),
    [
        (None, "records no commit that could be looked up"),
        ("main", "records no commit that could be looked up"),
        ("--upload-pack=x", "records no commit that could be looked up"),
        ("f" * 40, "was measured at a commit that cannot be had here: 'ffffffffffff' cannot be read"),
    ],
)
def test_a_commit_that_is_not_here_is_refused(recorded, checkout, tmp_path, commit, message):
    def change(document):
        document["environments"][""]["machine"]["commit"] = commit

    with pytest.raises(GnetError, match=message):
        at_hand.revision_of(recorded(change), "", checkout, tmp_path / "base")


def test_code_that_is_not_that_of_the_commit_is_named(recorded, checkout, tmp_path):
    def change(document):
        document["code"][""]["gnet_core/text.py"] = "0" * 16

    with pytest.raises(GnetError, match=r"with changes that its commit [0-9a-f]{12} lacks: gnet_core/text\.py"):
        at_hand.revision_of(recorded(change), "", checkout, tmp_path / "base")


def test_a_run_that_does_not_record_its_code_is_refused(recorded, checkout, tmp_path):
    run = recorded(lambda document: document.pop("code"))
    with pytest.raises(GnetError, match="does not record its code"):
        at_hand.revision_of(run, "", checkout, tmp_path / "base")


def test_another_environment_is_named_and_another_commit_is_none(recorded, environment):
    run = recorded()
    environment["machine"]["commit"] = "another"
    at_hand.require_environment(run, "", environment_of(environment))
    environment["tensorflow"]["version"] = "2.0.0"
    with pytest.raises(GnetError, match=r"with another environment: TensorFlow: 2\.21\.0 → 2\.0\.0"):
        at_hand.require_environment(run, "", environment_of(environment))


def test_other_images_are_refused(recorded):
    run = recorded()
    at_hand.require_data(run, "")
    with pytest.raises(GnetError, match="other images"):
        at_hand.require_data(run, "x")


@pytest.mark.parametrize("others", [("main", "here"), (AGAIN,)])
def test_cases_of_several_sources_are_refused(run_directory, others):
    for source in others:
        run_directory.add(CONFIG, *processes(1.0), source=source)
    run = records.load_run(run_directory.path)
    with pytest.raises(GnetError, match="compare runs of one source each"):
        at_hand.source_of(run, [row.case for row in run.rows])


def test_an_interpreter_that_a_file_names_is_never_started(run_directory, environment):
    run_directory.document["environments"]["torch"] = environment
    torch = StepConfig(batch_size=8, framework="torch")
    run_directory.add(CONFIG, *processes(1.0))
    run_directory.add(torch, *processes(1.0))
    run = records.load_run(run_directory.path)
    assert at_hand.source_of(run, [CONFIG.name]) == ""
    with pytest.raises(GnetError, match="torch had an interpreter of its own"):
        at_hand.source_of(run, [torch.name])
