"""Training: the trainer, its callbacks and loggers, the optimiser and checkpoints."""
