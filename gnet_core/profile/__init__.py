"""A trace, read: operations, kernels and parts of the network with their time.

Doors: reading (an *.xplane.pb in, by way of xprof), document (profile.json as types), comparison (two profiles).
Taking the trace is for frameworks/tf/trace, wording it for report.
"""
