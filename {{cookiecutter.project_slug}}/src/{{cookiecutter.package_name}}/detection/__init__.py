"""Object detection: its data, model and pictures."""
