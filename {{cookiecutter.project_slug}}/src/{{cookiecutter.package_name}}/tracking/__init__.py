"""Tracking with Weights & Biases; only this folder imports the package ``wandb``."""
