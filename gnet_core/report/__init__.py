"""What people read: pages, Markdown, CSV and text of a run, a comparison, a profile.

Doors: run, comparison, profile, profile_comparison; views/ holds what depends on the question of a suite.
No figure is computed here that results does not have.
"""
