"""Training: the trainer, its callbacks, the optimiser and checkpoints."""
