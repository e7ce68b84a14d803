"""What GNET promises of a GPU, each promise judged by what was seen on one: confirmed, wrong or still open.

Pure: what was seen comes in, claims go out.
"""

from __future__ import annotations

from gnet_core.gpu_check import run_claims, trace_claims, worker_claims
from gnet_core.gpu_check.evidence import Claim, Claims, Figure, Finding, Question, Seen


def judge(seen: Seen) -> list[Claim]:
    """Every claim with its verdict. On a CPU all are open: what was seen there says nothing of a GPU."""
    return [Claim(claim=text, findings=tuple(_findings(question, seen))) for text, question in _CLAIMS]


def _findings(question: Question, seen: Seen) -> list[Finding]:
    try:
        answer = question(seen)
        found = [answer] if isinstance(answer, Finding) else answer
    except Exception as error:  # what a GPU leaves was never seen before, and the other claims must not be lost for it
        found = [Finding("open", because=f"it could not be judged: {type(error).__name__}: {error!s:.200}")]
    if seen.device != "cpu":
        return found
    rehearsed = [each._replace(verdict="open") for each in found]
    return [Finding("open", because="rehearsed on a CPU"), *rehearsed]


def _devices_seen(seen: Seen) -> Finding:
    driver = [gpu.name for gpu in seen.environment.machine.gpus]
    tensorflow = [gpu.name for gpu in seen.environment.gpus("tensorflow")]
    told = f"NVML: {', '.join(driver) or 'none'}; TensorFlow: {', '.join(tensorflow) or 'none'}"
    visible = seen.environment.machine.environment_variables.get("CUDA_VISIBLE_DEVICES")
    if tensorflow and visible:
        return Finding("open", because=f"CUDA_VISIBLE_DEVICES={visible} chooses among them; {told}")
    return Finding("confirmed" if driver == tensorflow else "wrong", because=told)


def _libraries_found(seen: Seen) -> Finding:
    nvidia = seen.environment.machine.nvidia
    libraries = nvidia.libraries if nvidia else []
    missing = [f"{library.name}: {library.error}" for library in libraries if library.path is None]
    figures = (
        Figure("found", len(libraries) - len(missing), "libraries"),
        Figure("missing", len(missing), "libraries"),
    )
    if not libraries:
        return Finding("open", because="nothing was looked for")
    return Finding("wrong" if missing else "confirmed", figures, "; ".join(missing))


_CLAIMS: Claims = (
    ("TensorFlow sees the GPUs that NVML shows, in the same order", _devices_seen),
    ("Each of NVIDIA's libraries that TensorFlow opens is found", _libraries_found),
    *worker_claims.CLAIMS,
    *trace_claims.CLAIMS,
    *run_claims.CLAIMS,
)
