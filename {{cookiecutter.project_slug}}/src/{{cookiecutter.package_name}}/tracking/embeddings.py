"""Embeddings of validation images as a 3D point cloud, ``val/embeddings``."""

from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

# ~ if cookiecutter.task == "classification"
from ..classification.module import ClassificationModule as TaskModule
# ~ endif
from ..data.datamodule import DataModule
# ~ if cookiecutter.task == "detection"
from ..detection.module import DetectionModule as TaskModule
# ~ endif
from ..evaluation.drawing import class_color
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.module import SegmentationModule as TaskModule
# ~ endif
from .logger import RunLogger
from .task import embed, target_classes

NO_CLASS = (128, 128, 128)  # grey


class EmbeddingCloud(Callback):
    """Log the embeddings of validation images at the end of a training run."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log at most ``tracking.media.embeddings`` images, embedded with the newest weights."""
        limit = self.logger.tracking.media.embeddings
        if not limit:
            return
        with self.logger.guarded("sending embeddings"):
            datamodule = cast("Any", trainer).datamodule
            points = _points(datamodule, cast("TaskModule", pl_module), limit)
            cloud = self.logger.wandb.Object3D(points)
            self.logger.log_metrics({"val/embeddings": cloud}, trainer.global_step)


def _points(datamodule: DataModule, module: TaskModule, limit: int) -> np.ndarray:
    """Return an array [N, 6]: coordinates from -1 to 1, then RGB from 0 to 255."""
    vectors: list[Tensor] = []
    colors: list[tuple[int, int, int]] = []
    module.eval()
    with torch.inference_mode():
        for batch in datamodule.loader(datamodule.datasets.val):
            if len(batch.images):
                vectors += embed(module, batch.images.to(module.device)).float().cpu()
                for target in batch.targets:  # the colour is that of the first class
                    labels = target_classes(target)
                    colors.append(class_color(labels[0]) if labels else NO_CLASS)
            if len(vectors) >= limit:
                break
    points = first_three_components(torch.stack(vectors[:limit]))
    return np.concatenate([points, np.array(colors[:limit], dtype=float)], axis=1)


def first_three_components(vectors: Tensor) -> np.ndarray:
    """Return the first three principal components [N, 3] of vectors [N, D], from -1 to 1.

    Missing components are zeros.
    """
    centred = (vectors - vectors.mean(dim=0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:3].T
    points = torch.nn.functional.pad(points, (0, 3 - points.shape[1]))
    return np.asarray(points / points.abs().max().clamp(min=1e-12))
