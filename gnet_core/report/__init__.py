"""What people read: pages, Markdown, CSV and text of a run, a comparison, a profile.

Doors: run, comparison, profile_report, profile_comparison; views/ holds what is said of a suite.
No figure is computed here that results does not have.
"""
