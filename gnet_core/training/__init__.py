"""The training session: epochs, checkpoints, and going on with them.

Doors: training (train), prediction (what a trained network says of images), recipe (how it trains, without TensorFlow),
session (the files that a session is resumed from) and document (what it leaves for its report).
"""
