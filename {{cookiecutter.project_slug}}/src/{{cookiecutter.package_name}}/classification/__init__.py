"""Image classification: data, model, metrics and drawing."""
