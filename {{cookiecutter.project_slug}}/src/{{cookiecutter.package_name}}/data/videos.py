"""Read and write videos, by the optional package ``av`` (PyAV)."""

import importlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


def count_frames(path: Path) -> int | None:
    """How many frames a video says it has; None if it does not say."""
    av = _av()
    with _opened(av, path) as video:
        return int(video.streams.video[0].frames) or None


def frames_per_second(path: Path) -> Any:
    """The mean rate of a video, as a fraction."""
    av = _av()
    with _opened(av, path) as video:
        return video.streams.video[0].average_rate or 25


def read_frames(path: Path) -> Iterator[Tensor]:
    """Decode a video frame by frame.

    Yields:
        uint8 tensor [3, H, W], RGB.

    Raises:
        UsageError: if the file is no video or a broken one, or ``av`` is not installed.
    """
    av = _av()
    frame = None
    with _opened(av, path) as video:
        video.streams.video[0].thread_type = "AUTO"
        try:
            for frame in video.decode(video=0):
                pixels = frame.to_ndarray(format="rgb24")
                yield torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        except av.error.FFmpegError as error:
            raise UsageError(f"{path} cannot be decoded any further: {error}.") from error
    if frame is None:
        raise UsageError(f"{path} has no frame in it.")


def write_video(path: Path, pictures: Iterable[Image.Image], rate: Any) -> None:
    """Encode pictures of one size as H.264 in MP4; written beside, then renamed.

    Args:
        path: the file, ``.mp4``.
        pictures: one for each frame, one at least; an odd last row or column is cut off, since
            H.264 has none.
        rate: frames per second.
    """
    av = _av()
    remaining = iter(pictures)
    first = next(remaining)
    width, height = first.width // 2 * 2, first.height // 2 * 2
    beside = path.with_name(f".{path.name}")
    try:
        with av.open(str(beside), "w", format="mp4") as video:
            stream = video.add_stream("libx264", rate=rate, options={"crf": "20"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in chain([first], remaining):
                even = picture.crop((0, 0, width, height))
                video.mux(stream.encode(av.VideoFrame.from_image(even)))
            video.mux(stream.encode())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _opened(av: Any, path: Path) -> Any:
    try:
        video = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise UsageError(f"{path} cannot be read as a video: {error}.") from error
    if not video.streams.video:
        video.close()
        raise UsageError(f"{path} has no pictures in it.")
    return video


def _av() -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise UsageError(
            "Videos need the package av, which is not installed.\nInstall it: uv sync --extra video"
        ) from error
