"""Data loading: image files, the generated data set, batches."""
