"""The machine: what it is, what its devices can do, and what it was like during a turn.

Start with environment, the types that describe a machine with its frameworks. This machine is described in description;
devices chooses a device; gpu_chain says why there is no GPU; conditions watches a turn. No framework is imported here:
how TensorFlow sees a device is in frameworks/tf/device.
"""
