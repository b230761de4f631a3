"""What the rest of this folder needs to know of the task."""

# ~ if cookiecutter.task == "classification"
from .classification import columns, confusion, embed, judge, labels, main_class

# ~ elif cookiecutter.task == "detection"
from .detection import columns, confusion, embed, judge, labels, main_class

# ~ elif cookiecutter.task == "segmentation"
from .segmentation import columns, confusion, embed, judge, labels, main_class

# ~ endif
__all__ = ["columns", "confusion", "embed", "judge", "labels", "main_class"]
