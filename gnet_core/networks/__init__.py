"""The network, written once in the terms of a builder.

Doors: googlenet (widths, blocks, classifiers), builder (what a framework has to provide), map_sizes (sizes of maps).
No framework enters: each brings a builder of its own.
"""
