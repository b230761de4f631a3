"""Predict the frames of videos with a checkpoint; write annotated copies."""

import logging
from collections import deque
# ~ if cookiecutter.task == "classification"
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

# ~ else
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

# ~ endif
import torch
from lightning.pytorch import Trainer
from PIL.Image import Image
from rich.progress import track
from torch import Tensor

from .data.images import UnreadableImageError
from .data.videos import VIDEO_SUFFIXES, count_frames, frames_per_second, read_frames, write_video
from .errors import UsageError
from .settings.schema import PredictSettings
# ~ if cookiecutter.task == "classification"
from .task import UNLABELLED, TaskModule, describe, draw_prediction, model_input

# ~ else
from .task import (
    # ~ if cookiecutter.task == "detection"
    UNLABELLED,
    # ~ endif
    TaskModule,
    describe,
    # ~ if cookiecutter.task == "segmentation"
    draw_frame,
    # ~ else
    draw_prediction,
    # ~ endif
    model_input,
    predict_tiles,
    restored,
)

# ~ endif
log = logging.getLogger(__name__)

Rows = list[dict[str, object]]


# ~ if cookiecutter.task != "classification"
def _predict_frames(
    frames: Sequence[Tensor], module: TaskModule, settings: PredictSettings
) -> list[Any]:
    """Return the predictions of frames, uint8 [C, H, W] each, in the size of the frames."""
    if settings.tiles is not None:
        return [predict_tiles(module, frame, settings) for frame in frames]
    images = torch.stack([model_input(frame, settings.data) for frame in frames])
    predictions = module.predict_images(images.to(module.device))
    return [
        restored(prediction, (frame.shape[1], frame.shape[2]), settings.data)
        for frame, prediction in zip(frames, predictions, strict=True)
    ]


# ~ endif
def check_videos(paths: Iterable[Path], settings: PredictSettings) -> list[str]:
    """Open each of the videos, so that a fault is reported before all files are predicted.

    Raises:
        UsageError: if the model needs images of other channels, or if a video cannot be opened;
            with ``data.skip_unreadable``, such videos are returned.
    """
    unreadable = []
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            if settings.data.channels != 3:
                raise UsageError(
                    f"{path} has 3 channels, but data.channels={settings.data.channels}.\n"
                    "Leave it out of source."
                )
            try:
                count_frames(path, settings.data.max_pixels)
            except UnreadableImageError:
                if not settings.data.skip_unreadable:
                    raise
                unreadable.append(str(path))
    return unreadable


def predict_videos(
    names: Mapping[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    folder: Path,
    rows: Rows,
    unreadable: list[str],
) -> None:
    """Write ``predictions/<name>.mp4`` for each video, and append an entry of each frame to rows.

    Videos in ``unreadable`` are left out; it gets those without a readable frame.
    """
    module.to(trainer.strategy.root_device).eval()
    for path, name in names.items():
        if path.suffix.lower() not in VIDEO_SUFFIXES or str(path) in unreadable:
            continue
        before = len(rows)
        pictures = _annotated_frames(path, rows, module, trainer, settings)
        if settings.save == "tables":
            deque(pictures, maxlen=0)
        else:
            target = folder / "predictions" / f"{name}.mp4"
            write_video(target, pictures, rate=frames_per_second(path, settings.data.max_pixels))
        if len(rows) == before:
            unreadable.append(str(path))


def _frames(path: Path, settings: PredictSettings) -> Iterator[Tensor]:
    """Yield the frames of a video; with ``data.skip_unreadable``, those before its first fault."""
    limit, count = settings.data.max_pixels, 0
    total = count_frames(path, limit)
    reason = f"its header says {total}"
    frames = read_frames(path, limit)
    try:
        for frame in track(frames, description=path.name, total=total, transient=True):
            count += 1
            yield frame
    except UnreadableImageError as error:
        if not settings.data.skip_unreadable:
            raise
        total, reason = count + 1, error.unreadable.reason
    if total is not None and count < total:
        log.warning("%s: only %d frames can be read: %s", path, count, reason)


def _annotated_frames(
    path: Path, rows: Rows, module: TaskModule, trainer: Trainer, settings: PredictSettings
) -> Iterator[Image]:
    """Yield each frame with its prediction drawn, and append its entry to ``rows``."""
    frames = enumerate(_frames(path, settings))
    while batch := list(islice(frames, settings.loader.batch_size)):
        # ~ if cookiecutter.task == "classification"
        images = torch.stack([model_input(frame, settings.data) for _, frame in batch])
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = module.predict_images(images.to(module.device))
        # ~ else
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = _predict_frames([frame for _, frame in batch], module, settings)
        # ~ endif
        for (index, frame), prediction in zip(batch, predictions, strict=True):
            # ~ if cookiecutter.task == "detection"
            entry = describe(prediction, module.classes, (frame.shape[1], frame.shape[2]))
            # ~ else
            entry = describe(prediction, module.classes)
            # ~ endif
            rows.append({"image": f"{path}#{index}", **entry})
            # ~ if cookiecutter.task == "segmentation"
            yield draw_frame(frame, prediction, module.classes)
            # ~ else
            yield draw_prediction(frame, UNLABELLED, prediction, module.classes)
            # ~ endif
