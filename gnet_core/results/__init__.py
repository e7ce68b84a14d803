"""A run directory, read: documents and raw files in, rows and comparisons out."""
