"""Statistics of ratios, as pure functions of samples.

Doors: ratio (confidence intervals and drift), verdicts (FASTER, SLOWER, SAME, UNRESOLVED), losses (whether two cases
did equal work).
No file, no case and no clock enters.
"""
