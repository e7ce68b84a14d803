"""The one package that imports a framework: the train step in TensorFlow, PyTorch and Keras on JAX."""
