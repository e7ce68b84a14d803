"""How the suites of a run are told: their sentences, tables and plots.

Doors: suites (a run's suites as sections), section (the base of the views). A suite declares its view, which owns what
differs between kinds of question: answers, picture, columns, and which of its sentences may stand first.
"""
