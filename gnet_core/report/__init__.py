"""What people read: pages, tables and plots of a run, a comparison, a profile."""
