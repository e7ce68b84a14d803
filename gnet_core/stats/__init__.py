"""Statistics of ratios, as pure functions of samples.

Doors: ratio (confidence intervals), drift, verdicts (FASTER, SLOWER, SAME, UNRESOLVED), losses (equal work).
No file, no case and no clock enters.
"""
