"""How the suites of a run are told."""
