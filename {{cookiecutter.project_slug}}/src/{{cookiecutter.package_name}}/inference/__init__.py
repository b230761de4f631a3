"""Trained models: load them from checkpoints, and predict images and videos."""
