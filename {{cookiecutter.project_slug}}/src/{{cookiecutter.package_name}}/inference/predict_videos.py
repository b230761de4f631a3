"""Predict the frames of videos with a checkpoint; write annotated copies."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import UNLABELLED, model_input
from ..classification.draw import draw_prediction
# ~ endif
from ..data.images import UnreadableImageError
from ..data.reading_summary import number_of
from ..data.videos import VIDEO_SUFFIXES, count_and_rate, read_frames, write_video
# ~ if cookiecutter.task == "detection"
from ..detection.boxes import restored
from ..detection.dataset import UNLABELLED, model_input
from ..detection.draw import draw_prediction
# ~ endif
from ..errors import UsageError
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.dataset import model_input
from ..segmentation.draw import draw_frame
from ..segmentation.predicted_masks import restored
# ~ endif
from ..settings.schema import PredictSettings
from .predictor import Predictor

log = logging.getLogger(__name__)


def check_videos(paths: Iterable[Path], settings: PredictSettings) -> list[str]:
    """Open each of the videos, so that a fault is reported before all files are predicted.

    With ``data.skip_unreadable``, videos that cannot be opened are returned.
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
                count_and_rate(path, settings.data.max_pixels)
            except UnreadableImageError:
                if not settings.data.skip_unreadable:
                    raise
                unreadable.append(str(path))
    return unreadable


def predict_videos(predictor: Predictor, names: Mapping[Path, str]) -> None:
    """Write ``predictions/<name>.mp4`` for each video, and add each frame to the tables.

    Videos that ``predictor`` has as unreadable are left out; so are those without a readable frame.
    """
    for path, name in names.items():
        if path.suffix.lower() not in VIDEO_SUFFIXES or str(path) in predictor.unreadable:
            continue
        before = len(predictor.rows)
        count, rate = count_and_rate(path, predictor.settings.data.max_pixels)
        predicted = _predicted_frames(predictor, path, count)
        if predictor.settings.save == "tables":
            deque(predicted, maxlen=0)
        else:
            classes = predictor.module.classes
            # ~ if cookiecutter.task == "segmentation"
            pictures = (draw_frame(*frame, classes) for frame in predicted)
            # ~ else
            pictures = (
                draw_prediction(frame, UNLABELLED, prediction, classes)
                for frame, prediction in predicted
            )
            # ~ endif
            write_video(predictor.folder / "predictions" / f"{name}.mp4", pictures, rate)
        if len(predictor.rows) == before:
            predictor.unreadable.append(str(path))


def _predicted_frames(
    predictor: Predictor, path: Path, count: int | None
) -> Iterator[tuple[Tensor, Any]]:
    """Yield each frame, uint8 [C, H, W], with its prediction, after it is added to the tables."""
    data = predictor.settings.data
    frames = enumerate(_readable_frames(path, predictor.settings, count))
    while batch := list(islice(frames, predictor.settings.loader.batch_size)):
        # ~ if cookiecutter.task == "classification"
        inputs = torch.stack([model_input(frame, data) for _, frame in batch])
        predictions = predictor.predict(inputs)
        # ~ else
        if predictor.settings.tiles is not None:
            predictions = [predictor.predict_tiles(frame) for _, frame in batch]
        else:
            inputs = torch.stack([model_input(frame, data) for _, frame in batch])
            predictions = [
                restored(prediction, (frame.shape[1], frame.shape[2]), data)
                for (_, frame), prediction in zip(batch, predictor.predict(inputs), strict=True)
            ]
        # ~ endif
        for (index, frame), prediction in zip(batch, predictions, strict=True):
            # ~ if cookiecutter.task == "detection"
            predictor.add(f"{path}#{index}", prediction, (frame.shape[1], frame.shape[2]))
            # ~ else
            predictor.add(f"{path}#{index}", prediction)
            # ~ endif
            yield frame, prediction


def _readable_frames(path: Path, settings: PredictSettings, total: int | None) -> Iterator[Tensor]:
    """Yield the frames of a video; with ``data.skip_unreadable``, those before its first fault."""
    count, reason = 0, f"the header of the file promises {total}"
    frames = read_frames(path, settings.data.max_pixels)
    try:
        for frame in track(frames, description=path.name, total=total, transient=True):
            count += 1
            yield frame
    except UnreadableImageError as error:
        if not settings.data.skip_unreadable:
            raise
        total, reason = count + 1, error.unreadable.reason
    if total is not None and count < total:
        log.warning("%s: only %s can be read: %s", path, number_of(count, "frames"), reason)
