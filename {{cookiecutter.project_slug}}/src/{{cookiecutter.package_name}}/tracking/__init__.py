"""Weights & Biases; nothing outside this folder and its config knows of it."""
