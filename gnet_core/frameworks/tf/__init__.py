"""The train step in TensorFlow.

Doors: model (the network in Keras), step (the one home of @tf.function and jit_compile), input_pipeline, case (what a
timer asks for),
peaks (what the device can do at best), precision_proof (which precision really ran), trace (what the profiler records).
"""
