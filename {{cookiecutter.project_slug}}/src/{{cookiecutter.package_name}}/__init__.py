"""Train, evaluate and run the model; start reading at ``cli.py`` and ``train.py``."""
