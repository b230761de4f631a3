"""Semantic segmentation: its data, model and pictures."""
