"""Embeddings of validation images as a 3D point cloud, ``val/embeddings``."""

from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..data.datamodule import DataModule
from ..evaluation.drawing import class_color
from ..task import TaskModule
from .logger import RunLogger
from .task import embed, main_class

NO_CLASS = (128, 128, 128)  # grey


def first_three_components(vectors: Tensor) -> np.ndarray:
    """Project vectors on their first three principal components, scaled to -1 to 1.

    Args:
        vectors: float tensor [N, D].

    Returns:
        Float array [N, 3], with zeros for missing components.
    """
    centred = (vectors - vectors.mean(dim=0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:3].T
    points = torch.nn.functional.pad(points, (0, 3 - points.shape[1]))
    return np.asarray(points / points.abs().max().clamp(min=1e-12))


class EmbeddingCloud(Callback):
    """Log the embeddings of validation images at the end of a training."""

    def __init__(self, tracked: RunLogger) -> None:
        self.tracked = tracked

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log at most ``tracking.media.embeddings`` images, embedded with the newest weights."""
        limit = self.tracked.tracking.media.embeddings
        if not limit:
            return
        with self.tracked.guarded("sending embeddings"):
            datamodule = cast("Any", trainer).datamodule
            points = self._points(datamodule, cast("TaskModule", pl_module), limit)
            cloud = self.tracked.wandb.Object3D(points)
            self.tracked.log_metrics({"val/embeddings": cloud}, trainer.global_step)

    def _points(self, datamodule: DataModule, module: TaskModule, limit: int) -> np.ndarray:
        """Return an array [N, 6]: coordinates from -1 to 1, then RGB from 0 to 255."""
        vectors: list[Tensor] = []
        labels: list[int] = []
        training = module.training
        module.eval()
        try:
            with torch.inference_mode():
                for batch in datamodule.loader(datamodule.datasets.val):
                    if len(batch.images):
                        vectors += embed(module, batch.images.to(module.device)).float().cpu()
                        labels += [main_class(target) for target in batch.targets]
                    if len(vectors) >= limit:
                        break
        finally:
            module.train(training)
        colors = [class_color(label) if label >= 0 else NO_CLASS for label in labels[:limit]]
        points = first_three_components(torch.stack(vectors[:limit]))
        return np.concatenate([points, np.array(colors, dtype=float)], axis=1)
