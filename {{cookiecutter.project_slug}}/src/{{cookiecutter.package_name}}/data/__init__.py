"""Data loading for all tasks: image files, the generated data set, batches."""
