"""Diagnostics: `bench` measures speed, `doctor` checks the data."""
