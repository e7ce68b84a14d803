"""Terms of the tables and their meanings, for the readers of a report."""

from __future__ import annotations

from gnet_core.report.document import Bullets, Sentence
from gnet_core.stats.ratio import POWER
from gnet_core.stats.sequential import FIRST_LOOK
from gnet_core.stats.verdicts import DEFAULT_MARGIN

_SPEEDS = {
    "images/s:": "The batch size over the mean step of all timed blocks. Its 95 % interval is where the mean of "
    "further processes like these would lie.",
    "± turns:": "The standard deviation of those blocks within a process, which says nothing about the next process.",
    "p50, p95:": "Of steps synchronised one by one; p95 only from 100 of them.",
    "compile, first step:": "Compile is the first call less a steady step, on a GPU with cuDNN's and XLA's timing of "
    "candidate kernels (autotuning); first step is from TensorFlow imported to the end of the first step.",
}
_RATIOS = {
    "×:": "A ratio of images/s, taken turn by turn between processes that were alive together, so it need not be the "
    "quotient of the two figures.",
    "SAME, FASTER, SLOWER, UNRESOLVED:": "SAME: the whole 95 % interval of the ratio is within "
    f"{100 * DEFAULT_MARGIN:g} % of 1. FASTER, SLOWER: the interval leaves out 1 and the estimate is more than "
    f"{100 * DEFAULT_MARGIN:g} % away, at a false discovery rate of 5 % over the table. UNRESOLVED: neither can be "
    "said, which does not mean the same.",
    "detectable effect:": "The minimum detectable effect: the smallest true difference that the comparison would have "
    f"detected {100 * POWER:g} % of the time.",
    "sequential:": "Of processes timed one after the other: the machine's drift between them is part of the ratio.",
}
_DEVICE = {
    "MFU:": "The arithmetic of the network's layers over time, as a share of the fastest operation that the same run "
    "measured in the same precision."
}

_JUDGED_ONCE = {
    "judged by:": "A t interval on logarithms over processes, once, when all were measured: paired where base and "
    "variant took turns, else Welch's; FASTER and SLOWER over a table by Benjamini and Hochberg's procedure.",
}
_JUDGED_REPEATEDLY = {
    "judged by:": "Repeated confidence intervals (Jennison and Turnbull 1984): paired t intervals on logarithms over "
    f"processes, looked at after each pair of processes from pair {FIRST_LOOK} on, and so much wider than a single one "
    "that identical code is called different in at most 5 % of runs all the same. N, the most pairs, followed from the "
    "budget before the first look; after n of them 5 % × (n ÷ N) to the power of 1.5 is spent. FASTER and SLOWER over "
    "a table by Benjamini and Hochberg's procedure on the smallest repeated p-value so far.",
    "repeated 95 % of ×:": "The repeated confidence interval. It holds whatever ended the run.",
    "early:": "Settled before its last look. The verdict holds, but the ratio leans its way: outward, away from 1, "
    "for FASTER and SLOWER, as a comparison stops the sooner the further chance has taken it. Quote the interval, or "
    "measure with --until fixed.",
}


def how_to_read(*, repeated: bool) -> Bullets:
    """The terms of a run's tables; `repeated` where it was looked at while it was measured."""
    judged = _JUDGED_REPEATEDLY if repeated else _JUDGED_ONCE
    return Bullets([Sentence(*term) for term in (_SPEEDS | _RATIOS | judged | _DEVICE).items()])


HOW_TO_READ_RATIOS = Bullets([Sentence(*term) for term in _RATIOS.items()])
