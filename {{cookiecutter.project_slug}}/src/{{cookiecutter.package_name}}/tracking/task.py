"""What the rest of this folder needs to know of the task."""

# ~ if cookiecutter.task == "classification"
from .classification import columns, embed, labels, main_class

# ~ elif cookiecutter.task == "detection"
from .detection import columns, embed, labels, main_class

# ~ elif cookiecutter.task == "segmentation"
from .segmentation import columns, embed, labels, main_class

# ~ endif
__all__ = ["columns", "embed", "labels", "main_class"]
