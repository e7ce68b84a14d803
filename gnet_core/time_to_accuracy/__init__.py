"""Time to accuracy: training sessions of several configurations and seeds in turns, and what each second bought."""
