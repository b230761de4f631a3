"""Results of an evaluation: curves, confusion, thresholds and the report of a run."""
