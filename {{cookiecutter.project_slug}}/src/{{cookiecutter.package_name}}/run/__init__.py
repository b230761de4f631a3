"""A run: its id, its folder, its processes, and the record of its environment."""
