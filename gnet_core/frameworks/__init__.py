"""The train step in each framework; besides training the only package that imports one.

Doors: base (what a timer asks of a case in any framework), installed (which of them this interpreter has), lockstep
(how the workers of a case stay together). TensorFlow is in tf/, PyTorch in pytorch, Keras on JAX in keras_jax. Each
is imported only when one of its cases is measured.
"""
