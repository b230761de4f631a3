"""A run: its id, its folder, and what is recorded about it."""
