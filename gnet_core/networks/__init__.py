"""The network, written once in the terms of a builder.

Doors: googlenet (widths, blocks, classifiers), builder (what a framework has to provide), map_sizes (how large the
maps are).
No framework enters: each brings a builder of its own.
"""
