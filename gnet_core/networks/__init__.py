"""The network, written once in the terms of a builder; which layer is in which part of it."""
