"""Trained models: load them from checkpoints, and predict with them."""
