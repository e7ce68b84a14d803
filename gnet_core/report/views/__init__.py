"""How the suites of a run are told: their sentences, tables and plots.

Door: section (a suite of a run with its rows and comparisons).
"""
