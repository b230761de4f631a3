"""Log validation images with their targets and predictions."""

from collections.abc import Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from ..settings.tree import MONITOR
from ..task import caption
from ..training.callbacks.pictures import PredictedSample, PredictionPictures
# ~ if cookiecutter.task == "classification"
from .logger import RunLogger

# ~ else
from .logger import RunLogger
from .overlay import overlay

# ~ endif
KEY = "val/predictions"


class ValidationImages(Callback):
    """Log the samples that ``PredictionPictures`` draws as W&B images with captions."""

    def __init__(self, logger: RunLogger) -> None:
        self.logger = logger

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Register ``send`` with ``PredictionPictures``, which then calls it with its samples."""
        self.classes: list[str] = cast("Any", pl_module).classes
        for callback in cast("Any", trainer).callbacks:
            if isinstance(callback, PredictionPictures):
                callback.sinks.append(self.send)

    def send(self, trainer: Trainer, samples: Sequence[PredictedSample]) -> None:
        """Log the samples of every ``tracking.media.every_n_validations``-th validation."""
        media = self.logger.tracking.media
        if (trainer.current_epoch + 1) % media.every_n_validations or not media.images:
            return
        if (trainer.global_step - 1, MONITOR) in self.logger.logged:  # of a repeated epoch
            return
        with self.logger.guarded("sending images"):
            images = [
                picture(
                    self.logger,
                    sample.image,
                    self.classes,
                    target=sample.target,
                    prediction=sample.prediction,
                )
                for sample in samples[: media.images]
            ]
            self.logger.log_metrics({KEY: images}, trainer.global_step)


def shrunk(image: Image.Image, pixels: int) -> Image.Image:
    """Return a copy of the image in RGB whose longer side has at most ``pixels`` pixels."""
    small = image.convert("RGB")
    small.thumbnail((pixels, pixels))
    return small


def picture(
    logger: RunLogger,
    image: Tensor,
    classes: Sequence[str],
    *,
    target: Any = None,
    prediction: Any = None,
    text: str | None = None,
) -> Any:
    """Return a ``wandb.Image`` of a sample.

    Args:
        logger: the logger of the run.
        image: uint8 tensor [3, H, W].
        classes: the names of the classes.
        target: the annotation of the sample, or None.
        prediction: the prediction for the sample, or None.
        text: the caption; by default, a line that compares target and prediction.
    """
    shown = shrunk(to_pil_image(image.cpu()), logger.tracking.media.pixels)
    if text is None and prediction is not None:
        text = caption(target, prediction, classes)
    # ~ if cookiecutter.task == "classification"
    return logger.wandb.Image(shown, caption=text, file_type="jpg")
    # ~ else
    over = overlay(target, prediction, classes, shown)
    return logger.wandb.Image(shown, caption=text, file_type="jpg", **over)
    # ~ endif
