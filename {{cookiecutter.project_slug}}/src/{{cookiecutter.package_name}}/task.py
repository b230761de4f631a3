"""The task of this project: all that the rest of the code needs to know of it."""

# ~ if cookiecutter.task == "classification"
from .classification.dataset import UNLABELLED, build_datasets, collate, unlabelled_images
from .classification.draw import caption, describe, draw_prediction, draw_report
from .classification.module import METRICS, MONITOR
from .classification.module import ClassificationModule as TaskModule

# ~ elif cookiecutter.task == "segmentation"
from .segmentation.dataset import UNLABELLED, build_datasets, collate, unlabelled_images
from .segmentation.draw import caption, describe, draw_prediction, draw_report
from .segmentation.module import METRICS, MONITOR
from .segmentation.module import SegmentationModule as TaskModule

# ~ endif

__all__ = [
    "METRICS",
    "MONITOR",
    "UNLABELLED",
    "TaskModule",
    "build_datasets",
    "caption",
    "collate",
    "describe",
    "draw_prediction",
    "draw_report",
    "unlabelled_images",
]
