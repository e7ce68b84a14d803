"""The first minutes on a GPU: which promises of the GPU side hold there.

Doors: check (the steps, each a process with its share of the time), claims (every promise, judged), report (the list).
"""
