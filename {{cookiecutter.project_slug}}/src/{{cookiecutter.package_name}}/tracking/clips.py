"""Log the animation of the validation images, and the images and clips of ``predict``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .images import shrunk
from .logger import RunLogger

MAX_FRAMES = 60
FRAME_MILLISECONDS = 400
CLIPS = {".mp4", ".gif", ".webm"}


def log_animation(logger: RunLogger, step: int) -> None:
    """Log the sheets ``predictions/epoch_*.png`` as an animation, one frame for each sheet."""
    media, folder = logger.tracking.media, logger.run.folder / "predictions"
    sheets = sorted(folder.glob("epoch_*.png"))
    if not media.video or len(sheets) < 2:
        return
    with logger.guarded("sending the animation"):
        path = folder / "epochs.gif"
        write_animation(sheets, path, 2 * media.pixels)
        logger.log_metrics({"val/epochs": logger.wandb.Video(str(path), format="gif")}, step)


def write_animation(sheets: Sequence[Path], path: Path, pixels: int) -> None:
    """Write image files as a GIF with at most ``MAX_FRAMES`` frames, spread evenly.

    The longer side of the GIF has at most ``pixels`` pixels.
    """
    chosen = np.linspace(0, len(sheets) - 1, min(len(sheets), MAX_FRAMES)).round().astype(int)
    frames = [_read(sheets[index], pixels) for index in chosen]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0
    )


def log_drawn_predictions(logger: RunLogger) -> None:
    """Log the first annotated images and clips that ``predict`` has written."""
    wandb, media = logger.wandb, logger.tracking.media
    drawn = sorted((logger.run.folder / "predictions").iterdir())
    images = [path for path in drawn if path.suffix == ".jpg"][: media.clips]
    clips = [path for path in drawn if path.suffix in CLIPS][: media.clips]
    with logger.guarded("sending predictions"):
        values: dict[str, Any] = {}
        if images:
            values["predict/images"] = [
                wandb.Image(_read(path, media.pixels), caption=path.stem, file_type="jpg")
                for path in images
            ]
        if clips:
            values["predict/clips"] = [
                wandb.Video(str(path), caption=path.stem, format=path.suffix[1:]) for path in clips
            ]
        if values:
            logger.log_metrics(values, 0)


def _read(path: Path, pixels: int) -> Image.Image:
    with Image.open(path) as image:
        return shrunk(image, pixels)
