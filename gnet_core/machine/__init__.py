"""What the machine and its GPUs are, can do, and do at the moment."""
