"""Object detection: data, model, metrics and drawing."""
