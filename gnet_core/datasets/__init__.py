"""Data sets, opened and checked without a framework.

Doors: catalog (a name or a path in, a data set out), data_set (what that is), overview (what there is to tell of it),
recorded_split (its images beside a session); synthetic makes the batch of noise that every framework is fed. Decoding
for a step is for frameworks/tf/input_pipeline.
"""
