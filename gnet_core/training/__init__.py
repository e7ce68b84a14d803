"""The training session: epochs, checkpoints, and going on with them.

Doors: training (train), session (the files that a session is resumed from).
"""
