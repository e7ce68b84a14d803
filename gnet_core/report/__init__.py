"""Pages, Markdown, CSV and text that people read of a run, a comparison or a profile.

Doors: run, comparison, profile, profile_comparison; views/ holds what depends on the question of a suite.
No figure is computed here that results does not have.
"""
