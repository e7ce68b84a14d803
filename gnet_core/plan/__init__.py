"""What a suite asks for, as cases, and in which order they take turns; nothing is started here."""
