"""The task of this project: all that the rest of the code needs to know of it."""

# ~ if cookiecutter.task == "classification"
from .classification.dataset import (
    UNLABELLED,
    as_seen,
    build_datasets,
    collate,
    unlabelled_images,
)
from .classification.draw import caption, describe, draw_prediction, draw_target
from .classification.module import ClassificationModule as TaskModule
# ~ elif cookiecutter.task == "detection"
from .detection.dataset import UNLABELLED, as_seen, build_datasets, collate, unlabelled_images
from .detection.draw import caption, describe, draw_prediction, draw_target
from .detection.module import DetectionModule as TaskModule
from .detection.results import save_results
# ~ elif cookiecutter.task == "segmentation"
from .segmentation.dataset import UNLABELLED, as_seen, build_datasets, collate, unlabelled_images
from .segmentation.draw import caption, describe, draw_prediction, draw_target
from .segmentation.module import SegmentationModule as TaskModule
from .segmentation.results import save_results
# ~ endif
from .settings.tree import METRICS, MONITOR

__all__ = [
    "METRICS",
    "MONITOR",
    "UNLABELLED",
    "TaskModule",
    "as_seen",
    "build_datasets",
    "caption",
    "collate",
    "describe",
    "draw_prediction",
    "draw_target",
    # ~ if cookiecutter.task != "classification"
    "save_results",
    # ~ endif
    "unlabelled_images",
]
