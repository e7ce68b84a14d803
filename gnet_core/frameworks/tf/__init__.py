"""The train step in TensorFlow.

Doors: model (the network in Keras), step (the one home of @tf.function and jit_compile), input_pipeline, decode_check
(what does not decode), pack (a data set into TFRecord files), case (what a timer needs), peaks (the device at its
best), precision_proof (the precision that really ran), trace (under a profiler).
"""
