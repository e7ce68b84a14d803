"""A run: from a request to workers that take turns, and to the files that they leave."""
