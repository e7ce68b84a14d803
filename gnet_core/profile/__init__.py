"""A trace, read: operations, kernels and parts of the network with their time."""
