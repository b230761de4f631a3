"""Validation images as a cloud of points: near ones look alike to the network."""

import colorsys
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from ..data.datamodule import DataModule
from ..task import TaskModule
from ..training.sharding import is_split
from .logger import RunLogger
from .task import embed, main_class

GOLDEN = 0.618033988749895  # steps of the golden section: neighbours in index are far apart in hue


def first_three_components(vectors: Tensor) -> np.ndarray:
    """Project on the three directions of the greatest spread (PCA by SVD), scaled to -1 to 1.

    Args:
        vectors: float tensor [N, D].

    Returns:
        float array [N, 3]; zeros where there are fewer directions.
    """
    centred = (vectors - vectors.mean(dim=0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:3].T
    points = torch.nn.functional.pad(points, (0, 3 - points.shape[1]))
    return np.asarray(points / points.abs().max().clamp(min=1e-12))


def color(label: int) -> tuple[int, int, int]:
    """Red, green and blue of a class, 0 to 255; grey for none."""
    if label < 0:
        return (128, 128, 128)
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.8, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


class EmbeddingCloud(Callback):
    """After a training, show how validation images lie to each other."""

    def __init__(self, tracked: RunLogger) -> None:
        self.tracked = tracked

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Embed a bounded number of images with the newest weights."""
        most = self.tracked.tracking.media.embeddings
        if not most or is_split(pl_module):  # this process alone cannot put the weights together
            return
        with self.tracked.guarded("sending embeddings"):
            datamodule = cast("Any", trainer).datamodule
            points = self._points(datamodule, cast("TaskModule", pl_module), most)
            cloud = self.tracked.wandb.Object3D(points)
            self.tracked.log_metrics({"val/embeddings": cloud}, trainer.global_step)

    def _points(self, datamodule: DataModule, module: TaskModule, most: int) -> np.ndarray:
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
                    if len(vectors) >= most:
                        break
        finally:
            module.train(training)
        colors = [color(label) for label in labels[:most]]
        points = first_three_components(torch.stack(vectors[:most]))
        return np.concatenate([points, np.array(colors, dtype=float)], axis=1)
