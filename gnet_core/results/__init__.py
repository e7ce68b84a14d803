"""A run directory, read: documents and raw files in, rows and comparisons out.

Doors: records (load_run), comparisons (which rows are compared with which), gates (what --fail-on fails on).
Nothing here measures, and nothing decides how a figure is worded.
"""
