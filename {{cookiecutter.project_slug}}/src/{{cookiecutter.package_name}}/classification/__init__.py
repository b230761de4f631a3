"""Image classification: its data, model and pictures."""
