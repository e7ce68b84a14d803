"""What GNET promises of a GPU, each promise judged by what was seen on one: confirmed, wrong or still open."""

from __future__ import annotations

import msgspec

from gnet_core.gpu_check import run_claims, trace_claims, worker_claims
from gnet_core.gpu_check.evidence import VERDICTS, Claim, Claims, Figure, Finding, OpenError, Seen, attempt, judged

CLAIMS = Claims()


def judge(seen: Seen) -> list[Claim]:
    """Every claim with its verdict, the worst first; all are open on a CPU, where a rehearsal confirms nothing."""
    claims = []
    for promise, question in (*CLAIMS, *worker_claims.CLAIMS, *trace_claims.CLAIMS, *run_claims.CLAIMS):
        findings = attempt(question, seen)
        if seen.device == "cpu":
            rehearsed = [msgspec.structs.replace(finding, verdict="open") for finding in findings]
            findings = [Finding("open", because="rehearsed on a CPU"), *rehearsed]
        verdict = min((finding.verdict for finding in findings), key=VERDICTS.index)
        claims.append(Claim(claim=promise, verdict=verdict, findings=findings))
    return sorted(claims, key=lambda claim: VERDICTS.index(claim.verdict))


@CLAIMS.of_all("TensorFlow sees the GPUs that NVML shows, in the same order")
def _devices_seen(seen: Seen) -> Finding:
    driver = [gpu.name for gpu in seen.environment.machine.gpus]
    tensorflow = [gpu.name for gpu in seen.environment.gpus("tensorflow")]
    devices = f"NVML: {', '.join(driver) or 'none'}; TensorFlow: {', '.join(tensorflow) or 'none'}"
    visible = seen.environment.machine.environment_variables.get("CUDA_VISIBLE_DEVICES")
    if tensorflow and visible:
        raise OpenError(f"CUDA_VISIBLE_DEVICES={visible} chooses among them; {devices}")
    return judged(driver == tensorflow, because=devices)


@CLAIMS.of_all("Each of NVIDIA's libraries that TensorFlow opens is found")
def _libraries_found(seen: Seen) -> Finding:
    nvidia = seen.environment.machine.nvidia
    libraries = nvidia.libraries if nvidia else []
    missing = [f"{library.name}: {library.error}" for library in libraries if library.path is None]
    figures = Figure("found", len(libraries) - len(missing), "libraries"), Figure("missing", len(missing), "libraries")
    if not libraries:
        raise OpenError("nothing was looked for", *figures)
    return judged(not missing, *figures, because="; ".join(missing))
