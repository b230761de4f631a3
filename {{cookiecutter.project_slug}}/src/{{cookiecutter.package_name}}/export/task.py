"""The functions and constants of the task that ``export`` uses."""

# ~ if cookiecutter.task == "classification"
from ..classification import export as task_export

# ~ elif cookiecutter.task == "detection"
from ..detection import export as task_export

# ~ elif cookiecutter.task == "segmentation"
from ..segmentation import export as task_export

# ~ endif
__all__ = ["task_export"]
