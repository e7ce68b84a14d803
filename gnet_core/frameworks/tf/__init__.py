"""The train step in TensorFlow, its input, its measured peaks, its proof of precision and its trace."""
