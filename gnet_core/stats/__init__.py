"""Ratios with their confidence intervals, verdicts, and whether two cases did equal work. Pure functions."""
