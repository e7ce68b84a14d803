"""Data sets opened and checked without TensorFlow, and the synthetic batch."""
