"""Data loading that the task builds on: image files, the embedded data set, batches."""
