"""What happens beside the training: averaging, pictures, curves."""
