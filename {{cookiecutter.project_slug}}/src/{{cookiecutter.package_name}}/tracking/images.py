# ~ if cookiecutter.scope == "complete"
"""Log images: validation samples with their predictions, and what ``predict`` has drawn."""

# ~ else
"""Log validation images with their targets and predictions."""

# ~ endif
from collections.abc import Sequence
# ~ if cookiecutter.scope == "complete"
from pathlib import Path
# ~ endif
from textwrap import shorten
from typing import Any, cast

# ~ if cookiecutter.scope == "complete"
import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image, ImageOps

# ~ else
from lightning.pytorch import Callback, LightningModule, Trainer

# ~ endif
# ~ if cookiecutter.task != "segmentation"
from ..{{ cookiecutter.task }}.draw import caption
# ~ endif
from ..evaluation.drawing import to_picture
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.draw import caption
# ~ endif
from ..training.callbacks.pictures import PredictedSample, PredictionPictures
# ~ if cookiecutter.scope == "complete" and cookiecutter.task == "classification"
from .logger import RunLogger

# ~ elif cookiecutter.scope == "complete"
from .logger import RunLogger
from .task import overlay

# ~ elif cookiecutter.task == "classification"
from .logger import RunLogger


# ~ else
from .logger import RunLogger
from .task import overlay


# ~ endif
# ~ if cookiecutter.scope == "complete"
MAX_FRAMES = 30  # most of the time is spent on decoding the sheets
FRAME_MILLISECONDS = 400


# ~ endif
class ValidationImages(Callback):
    """Log the samples that ``PredictionPictures`` draws as W&B images with captions."""

    def __init__(self, logger: RunLogger) -> None:
        # ~ if cookiecutter.scope == "complete"
        self.step = 0  # at which images were logged last
        # ~ endif
        self.logger = logger

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Register ``send`` with ``PredictionPictures``, which then calls it with its samples."""
        for callback in cast("Any", trainer).callbacks:
            if isinstance(callback, PredictionPictures):
                # ~ if cookiecutter.scope == "complete"
                self.pictures = callback
                # ~ endif
                callback.sinks.append(self.send)

    # ~ if cookiecutter.scope == "complete"
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log the samples every ``tracking.media.every_n_steps`` steps."""
        every, step = self.logger.tracking.media.every_n_steps, trainer.global_step
        if every is None or step % every or step == self.step:  # several batches may be a step
            return
        self.step = step
        training = [part for part in pl_module.modules() if part.training]
        pl_module.eval()
        samples = self.pictures.predict(trainer, pl_module)
        for part in training:
            part.training = True
        self.send(trainer, samples)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the sheets ``predictions/epoch_*.png`` as an animation, a frame for each sheet."""
        media, folder = self.logger.tracking.media, self.logger.run.folder / "predictions"
        sheets = sorted(folder.glob("epoch_*.png"), key=lambda sheet: (len(sheet.name), sheet.name))
        if not media.images or len(sheets) < 2:
            return
        with self.logger.guarded("sending the animation"):
            path = folder / "epochs.webp"
            write_animation(sheets, path, 3 * media.pixels // 2)
            film = self.logger.wandb.Image(str(path))
            values = {"val/epochs": film, "epoch": trainer.current_epoch}
            self.logger.log_metrics(values, trainer.global_step)

    # ~ endif
    def send(self, trainer: Trainer, samples: Sequence[PredictedSample]) -> None:
        """Log the samples of a validation."""
        shown = samples[: self.logger.tracking.media.images]
        classes = cast("Any", trainer).lightning_module.classes
        with self.logger.guarded("sending images"):
            if images := [picture(self.logger, sample, classes) for sample in shown]:
                values = {"val/predictions": images, "epoch": trainer.current_epoch}
                self.logger.log_metrics(values, trainer.global_step)


# ~ if cookiecutter.scope == "complete"
def write_animation(sheets: Sequence[Path], path: Path, pixels: int) -> None:
    """Write at most ``MAX_FRAMES`` image files, spread evenly, as an animated WebP.

    It is at most ``pixels`` wide. Smaller sheets, whose legends have fewer lines, get a margin.
    """
    frames = []
    for index in np.linspace(0, len(sheets) - 1, min(len(sheets), MAX_FRAMES)).round().astype(int):
        with Image.open(sheets[index]) as sheet:
            # Half the time of the default filter, at the same sharpness.
            sheet.thumbnail((pixels, sheet.height), Image.Resampling.HAMMING, reducing_gap=1.5)
            frames.append(sheet.convert("RGB"))
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    frames = [ImageOps.pad(frame, size, color="white", centering=(0, 0)) for frame in frames]
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=FRAME_MILLISECONDS,
        loop=0,
        method=0,  # the fastest
        kmax=0,  # no key frames: each frame would be encoded twice
    )


def log_drawn_predictions(logger: RunLogger, folder: Path) -> None:
    """Log the first annotated images and clips that ``predict`` has written into a folder."""
    wandb, media = logger.wandb, logger.tracking.media
    drawn = sorted((folder / "predictions").glob("*"))  # none with save=tables
    with logger.guarded("sending predictions"):
        images = []
        for path in [path for path in drawn if path.suffix == ".jpg"][: media.images]:
            with Image.open(path) as image:
                image.thumbnail((media.pixels, media.pixels))
                images.append(wandb.Image(image, caption=path.stem, file_type="jpg"))
        clips = [
            wandb.Video(str(path), caption=path.stem, format=path.suffix[1:])
            for path in [path for path in drawn if path.suffix == ".mp4"][: media.images]
        ]
        values = {"predict/images": images, "predict/clips": clips}
        if logged := {name: shown for name, shown in values.items() if shown}:
            logger.log_metrics(logged)


# ~ endif
def picture(logger: RunLogger, sample: Any, classes: Sequence[str]) -> Any:
    """Return a ``wandb.Image`` of a sample with its target, its prediction and a short caption."""
    shown = to_picture(sample.image.cpu())
    shown.thumbnail((logger.tracking.media.pixels,) * 2)
    # ~ if cookiecutter.scope == "complete"
    text = caption(sample.target, sample.prediction, classes) if sample.prediction else ""
    # ~ else
    text = caption(sample.target, sample.prediction, classes)
    # ~ endif
    text = shorten(text, 60, placeholder=" …")  # W&B shows one line below the image
    # ~ if cookiecutter.task == "classification"
    return logger.wandb.Image(shown, caption=text, file_type="jpg")
    # ~ else
    over = overlay(sample, classes, shown)
    return logger.wandb.Image(shown, caption=text, file_type="jpg", **over)
    # ~ endif
