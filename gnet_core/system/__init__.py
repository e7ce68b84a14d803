"""The operating system under a run: child processes and their ends, signals, locks, environment variables, git."""
