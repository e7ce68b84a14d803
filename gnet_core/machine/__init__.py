"""The machine: what it is, what its devices can do, and what it was like during a turn.

Doors: environment, capabilities, conditions, nvml, cuda_libraries (loaded before TensorFlow looks for them), gpu_chain
(why there is no GPU).
No framework enters: what TensorFlow says of a device is in frameworks/tf/device.
"""
