"""The command ``tune``, and the comparison of the runs of ``tune`` and ``train -m``."""
