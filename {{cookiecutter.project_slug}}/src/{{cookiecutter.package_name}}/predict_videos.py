"""Predict the frames of videos with a checkpoint; write annotated copies."""

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
# ~ if cookiecutter.task == "classification"
from rich.progress import track

# ~ else
from rich.progress import track
from torch import Tensor

# ~ endif
from .data.videos import VIDEO_SUFFIXES, count_frames, frames_per_second, read_frames, write_video
from .errors import UsageError
from .settings.schema import PredictSettings
# ~ if cookiecutter.task == "classification"
from .task import UNLABELLED, TaskModule, describe, draw_prediction, model_input

Rows = list[dict[str, object]]


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

Rows = list[dict[str, object]]


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
def check_videos(paths: Iterable[Path], settings: PredictSettings) -> None:
    """Open each of the videos, so that a fault is reported before all files are predicted.

    Raises:
        UsageError: if a video cannot be read, or the model needs images of other channels.
    """
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            if settings.data.channels != 3:
                raise UsageError(
                    f"{path} has 3 channels, but data.channels={settings.data.channels}.\n"
                    "Leave it out of source."
                )
            count_frames(path, settings.data.max_pixels)


def predict_videos(
    names: Mapping[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    folder: Path,
) -> Rows:
    """Write ``predictions/<name>.mp4`` for each video; return an entry for each frame."""
    module.to(trainer.strategy.root_device).eval()
    rows: Rows = []
    for path, name in names.items():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            pictures = _annotated_frames(path, rows, module, trainer, settings)
            if settings.save == "tables":
                deque(pictures, maxlen=0)
                continue
            target = folder / "predictions" / f"{name}.mp4"
            write_video(target, pictures, rate=frames_per_second(path, settings.data.max_pixels))
    return rows


def _annotated_frames(
    path: Path, rows: Rows, module: TaskModule, trainer: Trainer, settings: PredictSettings
) -> Iterator[Image]:
    """Yield each frame with its prediction drawn, and append its entry to ``rows``."""
    limit = settings.data.max_pixels
    frames, total = enumerate(read_frames(path, limit)), count_frames(path, limit)
    progress = track(frames, description=path.name, total=total, transient=True)
    while batch := list(islice(progress, settings.loader.batch_size)):
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
