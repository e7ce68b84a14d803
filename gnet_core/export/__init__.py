"""A run's figures in the formats of other tools, at process level: what failed is absent or null, never zero.

`cases` prepares what is exported, and each format is a module with `to_text` or `write`. Nothing here judges a figure.
"""
