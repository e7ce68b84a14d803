"""A run: workers that take turns, and the files that they leave.

Doors: runner (a whole run), cohort (the processes that are alive together), worker and timer (the ends of one socket),
sources (interpreters and revisions), resuming. What is to be measured comes from plan; what it means is for results.
"""
