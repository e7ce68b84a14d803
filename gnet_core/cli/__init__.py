"""The commands. Everything may be imported here; nothing imports this."""
