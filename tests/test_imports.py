"""The house's arrows: who may import whom, and what must not bring TensorFlow in."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "__init__": {"*"},  # by name, on first use
    "__main__": {"cli"},
    "config": set(),
    "files": {"config"},
    "migrations": {"config", "files"},
    "claims": {"config", "files", "interrupts"},
    "settings": {"config", "files"},
    "variables": {"settings"},
    "cgroups": {"files"},
    "children": {"variables"},
    "git": set(),
    "interrupts": set(),
    "streams": set(),
    "protocol": set(),
    "stats": set(),
    "nvml": set(),
    "cuda_libraries": set(),
    "environments": {"config"},
    "gpu_chain": {"config", "cuda_libraries", "environments", "nvml"},
    "gpu_memory": {"config", "nvml", "sweep"},
    "machine": {"cgroups", "config", "environments", "git", "gpu_chain", "nvml", "settings", "variables"},
    "sweep": {"config"},
    "request": {"config", "shapes"},
    "text": set(),
    "json_documents": {"config", "files", "run_files"},
    "allocator": set(),
    "synthetic": {"config"},
    "kit": set(),
    "architecture": {"config", "kit"},
    "layers": {"config", "kit"},
    "fused": {"kit", "layers"},
    "model": {"architecture", "config", "fused", "kit", "layers", "settings"},
    "frameworks": {
        "config",
        "environments",
        "gpu_chain",
    },  # a framework's modules by name, when it is measured or described
    "installed": {"children", "config", "environments", "frameworks", "machine"},
    "tensorflow_case": {"config", "data", "device", "flops", "model", "precision_proof", "step"},
    "torch_device": {"allocator", "config", "machine"},
    "torch_case": {"architecture", "config", "kit", "synthetic", "torch_device"},
    "jax_device": {"allocator", "config", "machine"},
    "jax_case": {"architecture", "config", "flops", "jax_device", "layers", "settings", "synthetic"},
    "image_headers": set(),
    "image_files": {"config", "files", "image_headers"},
    "idx_files": {"config", "files"},
    "datasets": {"config", "files", "idx_files", "image_files"},
    "data": {"config", "datasets", "synthetic"},
    "device": {"config", "machine"},
    "step": {"config", "model", "device", "fused"},
    "conditions": {"cgroups", "config", "gpu_conditions", "machine", "nvml"},
    "gpu_conditions": {"nvml"},
    "gpu_summary": {"gpu_conditions"},
    "equal_work": {"config"},
    "flops": {"config"},
    "peaks": {"config", "device", "machine"},
    "precision_proof": {"config", "device", "step"},
    "timing": {"config", "equal_work", "files", "frameworks", "machine", "protocol", "sweep"},
    "command_buffers": set(),
    "trace": {"command_buffers", "config", "model", "step", "data", "device", "profile"},
    "map_sizes": {"architecture", "config", "kit"},
    "session": {"claims", "config", "datasets", "files", "migrations"},
    "training": {
        *("claims", "config", "csv_text", "data", "datasets", "device", "files", "map_sizes", "model", "session"),
        "step",
    },
    "schedule": {"config", "sweep"},
    "sources": {"config", "environments", "git", "sweep"},
    "worker": {
        *("children", "config", "files", "interrupts", "machine", "migrations", "protocol", "schedule", "shapes"),
        *("sweep", "timing"),
    },
    "cohort": {"conditions", "config", "gpu_conditions", "schedule", "sweep", "worker"},
    "runner": {
        *("children", "cohort", "config", "environments", "files", "frameworks", "git", "gpu_memory", "interrupts"),
        *("machine", "migrations", "request", "schedule", "sweep", "turns", "worker"),
    },
    "resuming": {
        *("config", "gpu_memory", "machine", "migrations", "raw_files", "request", "runner", "schedule", "shapes"),
        "sources",
        *("sweep", "turns"),
    },
    "run_files": {"config", "files"},
    "csv_text": set(),
    "shapes": {"config", "files", "machine", "run_files"},
    "turns": {"config", "csv_text", "files", "run_files"},
    "raw_files": {"config", "migrations", "run_files", "shapes", "stats"},
    "records": {
        *("config", "environments", "equal_work", "files", "gpu_summary", "map_sizes", "migrations", "raw_files"),
        "request",
        *("run_files", "shapes", "stats", "turns"),
    },
    "verdicts": {"config", "stats"},
    "gates": {"comparisons", "config", "records", "verdicts"},
    "comparisons": {"config", "equal_work", "records", "sweep", "verdicts"},
    "xprof_tools": {"config", "run_files"},
    "network_parts": set(),
    "hlo_names": {"network_parts"},
    "compiled_step": {"hlo_names"},
    "traced_operations": {"compiled_step", "config", "network_parts", "xprof_tools"},
    "step_breakdown": {"tables", "xprof_tools"},
    "tensor_cores": set(),
    "gpu_tables": {"tensor_cores", "xprof_tools"},
    "profile": {"config", "gpu_tables", "step_breakdown", "tables", "tensor_cores", "traced_operations", "xprof_tools"},
    "profile_document": {"config", "machine", "run_files", "migrations", "network_parts", "shapes", "tensor_cores"},
    "device_time": {"profile_document", "tables"},
    "profile_view": {
        *("device_time", "drawing", "network_parts", "profile_document", "request", "step_breakdown", "tables"),
        "tensor_cores",
    },
    "profile_comparison": {
        *("config", "files", "machine", "profile_document", "records", "run_files", "shapes", "tables"),
    },
    "profile_comparison_report": {"documents", "drawing", "html", "network_parts", "profile_comparison", "tables"},
    "sections": {"comparisons", "config", "records", "verdicts"},
    "tables": {"markdown", "records", "sections", "verdicts"},
    "drawing": set(),
    "documents": {"config", "drawing", "files"},
    "forest": {"drawing", "tables", "verdicts"},
    "plots": {"answers", "drawing", "forest", "records", "sections", "tables", "verdicts"},
    "html": {"drawing", "tables"},
    "answers": {"comparisons", "records", "sections", "tables", "verdicts"},
    "checks": {"comparisons", "records"},
    "facts": {
        *("answers", "checks", "comparisons", "config", "environments", "gpu_summary", "machine", "records"),
        *("request", "tables", "turns", "verdicts"),
    },
    "findings": {"answers", "profile_view", "records", "sections", "tables", "verdicts"},
    "page": {
        *("answers", "checks", "drawing", "facts", "findings", "html", "profile_view", "records", "sections"),
        "tables",
    },
    "report": {
        *("answers", "checks", "comparisons", "config", "csv_text", "documents", "drawing", "facts", "files"),
        *("findings", "page", "plots", "profile_report", "profile_view", "records", "sections", "tables"),
    },
    "compare_report": {
        *("answers", "comparisons", "config", "csv_text", "documents", "drawing", "environments", "facts", "forest"),
        *("gates", "html", "machine", "records", "tables", "verdicts"),
    },
    "profile_report": {
        "profile_document",
        *("config", "csv_text", "documents", "files", "html", "machine", "profile", "profile_view", "records"),
        *("request", "shapes", "tables"),
    },
    "gpu_evidence": {"config", "gpu_conditions", "profile_document", "raw_files", "records"},
    "gpu_worker_claims": {"gpu_conditions", "gpu_evidence", "gpu_memory", "gpu_summary"},
    "gpu_trace_claims": {"command_buffers", "device_time", "gpu_evidence", "step_breakdown", "tensor_cores"},
    "gpu_run_claims": {
        *("comparisons", "config", "environments", "equal_work", "gpu_evidence", "gpu_summary", "records", "verdicts"),
    },
    "gpu_claims": {"gpu_evidence", "gpu_run_claims", "gpu_trace_claims", "gpu_worker_claims"},
    "gpu_check_report": {"files", "gpu_evidence", "tables"},
    "gpu_check": {
        *("children", "config", "files", "gpu_check_report", "gpu_claims", "gpu_conditions", "gpu_evidence"),
        *("gpu_memory", "machine", "nvml", "profile_document", "raw_files", "records", "request", "schedule", "sweep"),
        *("turns", "worker"),
    },
    "command_line": {"config", "gpu_chain", "machine", "request", "runner", "shapes"},
    "cli_bench": {"*"},
    "cli_compare": {"*"},
    "cli_gpu_check": {"*"},
    "cli_report": {"*"},
    "cli": {"*"},
}
"""The table of the README's architecture section, arrow by arrow."""

WITHOUT_TENSORFLOW = [
    "gnet_core",
    "gnet_core.cli",
    "gnet_core.cohort",
    "gnet_core.compare_report",
    "gnet_core.comparisons",
    "gnet_core.conditions",
    "gnet_core.config",
    "gnet_core.datasets",
    "gnet_core.environments",
    "gnet_core.equal_work",
    "gnet_core.facts",
    "gnet_core.findings",
    "gnet_core.frameworks",
    "gnet_core.installed",
    "gnet_core.machine",
    "gnet_core.map_sizes",
    "gnet_core.page",
    "gnet_core.profile",
    "gnet_core.profile_comparison",
    "gnet_core.profile_comparison_report",
    "gnet_core.profile_report",
    "gnet_core.protocol",
    "gnet_core.raw_files",
    "gnet_core.records",
    "gnet_core.report",
    "gnet_core.request",
    "gnet_core.resuming",
    "gnet_core.runner",
    "gnet_core.schedule",
    "gnet_core.session",
    "gnet_core.sources",
    "gnet_core.stats",
    "gnet_core.sweep",
    "gnet_core.timing",
    "gnet_core.turns",
    "gnet_core.verdicts",
    "gnet_core.worker",
]


def imported_from_here(file: Path) -> set[str]:
    """The modules of gnet_core that a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("gnet_core.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "gnet_core":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gnet_core."):
            found.add(str(node.module).partition(".")[2])
    return found


def test_the_table_names_every_module_and_no_other():
    assert set(ALLOWED) == {file.stem for file in (ROOT / "gnet_core").glob("*.py")}


@pytest.mark.parametrize("module", sorted(ALLOWED))
def test_a_module_imports_only_what_the_table_allows(module):
    found = imported_from_here(ROOT / "gnet_core" / f"{module}.py")
    assert "*" in ALLOWED[module] or found <= ALLOWED[module] | {"text", "json_documents"}
    assert "cli" not in found or module == "__main__"
    assert not {"cli_bench", "cli_compare", "cli_gpu_check"} & found or module == "cli"
    assert "cli_report" not in found or module in ("cli", "cli_bench", "cli_compare")


# overhead.py is no suite: it measures the runner and so starts one.
@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("[!o]*.py")), ids=lambda file: file.stem)
def test_a_benchmark_imports_only_what_declares_and_times_cases(file):
    assert imported_from_here(file) <= {
        *("config", "environments", "frameworks", "installed", "machine", "sweep", "timing", "protocol"),
    }


def test_nothing_imports_benchmarks_or_tests():
    for file in (ROOT / "gnet_core").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] in ("benchmarks", "tests")], file


def test_these_modules_do_not_import_tensorflow():
    imports = "; ".join(f"import {module}" for module in WITHOUT_TENSORFLOW)
    check = f"import sys; {imports}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_help_does_not_import_tensorflow():
    check = "import sys; sys.argv = ['gnet', '--help']\nfrom gnet_core.cli import main\n"
    check += "try: main()\nexcept SystemExit: print('tensorflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("Usage: gnet")
    assert answer.stdout.endswith("False\n")


def test_every_public_name_can_be_had_and_there_are_at_most_ten():
    import gnet_core

    assert len(gnet_core.__all__) <= 10
    for name in gnet_core.__all__:
        assert getattr(gnet_core, name).__name__ == name


def test_the_readme_tells_of_every_module_once():
    table = (ROOT / "README.md").read_text().partition("| module | its subject |")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    told = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    modules = [path.stem for path in (ROOT / "gnet_core").glob("[!_]*.py")]
    assert sorted(told) == sorted(modules)
