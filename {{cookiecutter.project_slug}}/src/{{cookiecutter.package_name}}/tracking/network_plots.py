"""Log what a network has learned: histograms of its weights, and embeddings of images."""

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

MAX_POINTS = 500  # no more batches are embedded then
NO_CLASS = (128, 128, 128)  # grey


class NetworkPlots(Callback):
    """Log histograms ``gradients/<name>`` and ``parameters/<name>``, and ``val/embeddings``.

    ``wandb.watch`` would log histograms within the backward pass, where an error of W&B ends the
    training.
    """

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, *_: Any
    ) -> None:
        """Log the gradients, which are clipped already, and the weights before the step."""
        tracking, step = self.logger.tracking, trainer.global_step + 1
        if tracking.watch is None or (step % tracking.watch_every_n_steps and step != 1):
            return
        with self.logger.guarded("logging histograms"):
            values = {}
            for name, weights in pl_module.named_parameters():
                for kind, tensor in (("parameters", weights), ("gradients", weights.grad)):
                    if tensor is not None and tracking.watch in {kind, "all"}:
                        numbers = tensor.detach().cpu().double()  # float32 can be too coarse
                        finite = numbers[numbers.isfinite()].numpy()
                        values[f"{kind}/{name}"] = self.logger.wandb.Histogram(finite)
            self.logger.log_metrics(values, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log validation images as a 3D point cloud, embedded with the newest weights."""
        if self.logger.tracking.media.images:
            with self.logger.guarded("sending embeddings"):
                points = _points(cast("Any", trainer).datamodule, cast("TaskModule", pl_module))
                cloud = self.logger.wandb.Object3D(points)
                values = {"val/embeddings": cloud, "epoch": trainer.current_epoch}
                self.logger.log_metrics(values, trainer.global_step)


def _points(datamodule: DataModule, module: TaskModule) -> np.ndarray:
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
            if len(vectors) >= MAX_POINTS:
                break
    points = first_three_components(torch.stack(vectors))
    return np.concatenate([points, np.array(colors, dtype=float)], axis=1)


def first_three_components(vectors: Tensor) -> np.ndarray:
    """Return the first three principal components [N, 3] of vectors [N, D], or 0, from -1 to 1."""
    centred = (vectors - vectors.mean(dim=0)).double()
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:3].T
    points = torch.nn.functional.pad(points, (0, 3 - points.shape[1]))
    return np.asarray(points / points.abs().max().clamp(min=1e-12))
