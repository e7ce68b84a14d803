"""Data sets, opened and checked without a framework.

Door: catalog (a name or a path in, a data set out); synthetic makes the batch of noise that every framework is fed.
Decoding for a step is for frameworks/tf/input_pipeline.
"""
