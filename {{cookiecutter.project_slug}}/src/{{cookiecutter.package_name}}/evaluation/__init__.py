"""The results of a test: curves, confusion matrix, thresholds and the report."""
