"""Predict the frames of videos, with the optional package ``av`` (PyAV); write annotated copies."""

import importlib
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.progress import track
from torch import Tensor

# ~ if cookiecutter.task == "classification"
from ..classification.dataset import UNLABELLED
from ..classification.draw import draw_prediction
# ~ endif
from ..data.files_to_predict import VIDEO_SUFFIXES
from ..data.images import Unreadable, UnreadableImageError
from ..data.reading_summary import number_of
from ..data.resize import model_input
# ~ if cookiecutter.task == "detection"
from ..detection.boxes import restored
from ..detection.dataset import UNLABELLED
from ..detection.draw import draw_prediction
# ~ endif
from ..errors import UsageError
from ..run.atomic_files import replacing
# ~ if cookiecutter.task == "segmentation"
from ..segmentation.draw import draw_frame
from ..segmentation.predicted_masks import restored
# ~ endif
from ..settings.schema import PredictSettings
from .predictor import Predictor

log = logging.getLogger(__name__)


def check_videos(paths: Iterable[Path], settings: PredictSettings) -> list[Unreadable]:
    """Open each of the videos, so that a fault is reported before any file is predicted.

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
            except UnreadableImageError as error:
                if not settings.data.skip_unreadable:
                    raise
                unreadable.append(error.unreadable)
    return unreadable


def predict_videos(predictor: Predictor, names: Mapping[Path, str]) -> None:
    """Write ``predictions/<name>.mp4`` for each video, and add each frame to the tables.

    Videos that ``predictor`` has as unreadable are left out; so are those without a readable frame.
    """
    unreadable = {file.path for file in predictor.unreadable}
    for path, name in names.items():
        if path.suffix.lower() not in VIDEO_SUFFIXES or str(path) in unreadable:
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
            predictor.unreadable.append(Unreadable(str(path), "none of its frames can be read"))


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


def count_and_rate(path: Path, max_pixels: int) -> tuple[int | None, Any]:
    """Return the number of frames of a video, if its header has it, and the frames per second."""
    with _open(path, max_pixels) as video:
        stream = video.streams.video[0]
        return int(stream.frames) or None, stream.average_rate or 25


def read_frames(path: Path, max_pixels: int) -> Iterator[Tensor]:
    """Yield each frame of a video as uint8 tensor [3, H, W], RGB, turned as the file says.

    Raises:
        UnreadableImageError: if the file is damaged, empty or not a video, or if a frame has more
            than ``max_pixels`` pixels.
    """
    frame = None
    with _open(path, max_pixels) as video:
        video.streams.video[0].thread_type = "AUTO"
        for frame in video.decode(video=0):
            pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield pixels.rot90(round(frame.rotation / 90), (1, 2)).contiguous()
    if frame is None:
        raise UnreadableImageError(str(path), "it has no frames")


def write_video(path: Path, pictures: Iterable[Image.Image], rate: Any) -> None:
    """Encode pictures of the same size as H.264 in an MP4 file; without any, no file is written.

    H.264 needs an even width and height, so an odd last row or column is cut off.
    """
    av = _import_av()
    remaining = iter(pictures)
    first = next(remaining, None)
    if first is None:
        return
    width, height = first.width // 2 * 2, first.height // 2 * 2
    with replacing(path) as hidden, av.open(str(hidden), "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in chain([first], remaining):
            even = picture.crop((0, 0, width, height))
            video.mux(stream.encode(av.VideoFrame.from_image(even)))
        video.mux(stream.encode())


@contextmanager
def _open(path: Path, max_pixels: int) -> Iterator[Any]:
    av = _import_av()
    limit = {"max_pixels": str(2 * max_pixels)}  # for FFmpeg, which also counts the padding
    try:
        with av.open(str(path), options=limit) as video:
            if not video.streams.video:
                raise UnreadableImageError(str(path), "it has no video stream")
            stream = video.streams.video[0]
            if not 0 < stream.width * stream.height <= max_pixels:
                reason = f"its frames are larger than data.max_pixels={max_pixels}"
                raise UnreadableImageError(str(path), reason)
            stream.codec_context.options = limit
            yield video
    except av.error.FFmpegError as error:
        raise UnreadableImageError(str(path), str(error)) from error


def _import_av() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise UsageError(
            "Videos need the package av, which is not installed.\nInstall it: uv sync --extra video"
        ) from error
