"""The plan of a run, made before anything is started.

Doors: suites (a suite's declaration, presets, the cases that follow), request (a command's options, as words and back),
schedule (who is alive together, and whose turn it is). Nothing here starts a process or looks at a device.
"""
