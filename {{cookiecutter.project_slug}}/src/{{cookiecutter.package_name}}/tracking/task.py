"""The functions of the task that the other modules of this folder use."""

# ~ if cookiecutter.task == "classification"
from .classification import columns, embed, labels, main_class

# ~ elif cookiecutter.task == "detection"
from .detection import columns, embed, labels, main_class

# ~ elif cookiecutter.task == "segmentation"
from .segmentation import columns, embed, labels, main_class

# ~ endif
__all__ = ["columns", "embed", "labels", "main_class"]
