"""Search: `tune`, and the comparison of many runs."""
