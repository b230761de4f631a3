"""Semantic segmentation: data, model, metrics and drawing."""
