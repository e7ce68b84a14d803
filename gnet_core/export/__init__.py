"""A run's figures in the formats of other tools, at process level: what failed is absent or null, never zero.

Doors: cases (what is exported), and a module a format with `to_text` or `write`. Nothing here judges a figure.
"""
