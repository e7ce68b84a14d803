"""The operating system under a run: processes, signals, locks, streams, environment variables, git.

Doors: children (start and end a process), claims (one writer a directory), cluster (processes that work together),
interrupts, listening, streams, settings and variables. Nothing here knows of cases, runs or frameworks.
"""
