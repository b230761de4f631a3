"""Predict videos; write annotated copies, and return a table row for each frame."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from PIL.Image import Image
from rich.progress import track

from .data.videos import VIDEO_SUFFIXES, count_frames, frames_per_second, read_frames, write_video
from .run.folder import Run
from .settings.tree import PredictSettings
from .task import UNLABELLED, TaskModule, describe, draw_prediction, model_input


def predict_videos(
    names: Mapping[Path, str],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
    run: Run,
) -> list[dict[str, object]]:
    """Predict the videos in ``names``, and write ``predictions/<name>.mp4`` for each video.

    Args:
        names: paths of videos and images, and the names of their output files.
        module: the module, which predicts batches of ``loader.batch_size`` frames.
        trainer: its device and precision are used.
        settings: the settings of ``predict``.
        run: the run, whose folder is written to.

    Returns:
        A table row for each frame, whose ``image`` is ``<path>#<index of the frame>``.
    """
    module.to(trainer.strategy.root_device).eval()
    rows: list[dict[str, object]] = []
    for path, name in names.items():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            pictures = _annotated_frames(path, rows, module, trainer, settings)
            target = run.folder / "predictions" / f"{name}.mp4"
            write_video(target, pictures, rate=frames_per_second(path, settings.data.max_pixels))
    return rows


def _annotated_frames(
    path: Path,
    rows: list[dict[str, object]],
    module: TaskModule,
    trainer: Trainer,
    settings: PredictSettings,
) -> Iterator[Image]:
    """Yield each frame with its prediction drawn, and append its table row to ``rows``."""
    limit = settings.data.max_pixels
    frames, total = enumerate(read_frames(path, limit)), count_frames(path, limit)
    progress = track(frames, description=path.name, total=total, transient=True)
    while batch := list(islice(progress, settings.loader.batch_size)):
        images = torch.stack([model_input(frame, settings.data) for _, frame in batch])
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            predictions = module.predict_images(images.to(module.device))
        for (index, frame), prediction in zip(batch, predictions, strict=True):
            rows.append({"image": f"{path}#{index}", **describe(prediction, module.classes)})
            yield draw_prediction(frame, UNLABELLED, prediction, module.classes)
