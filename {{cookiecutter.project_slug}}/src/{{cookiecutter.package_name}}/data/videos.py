"""Read and write videos, by the optional package ``av`` (PyAV)."""

import importlib
from collections.abc import Iterable, Iterator
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
        UsageError: if the file is no video, or ``av`` is not installed.
    """
    av = _av()
    with _opened(av, path) as video:
        video.streams.video[0].thread_type = "AUTO"
        try:
            for frame in video.decode(video=0):
                pixels = frame.to_ndarray(format="rgb24")
                yield torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        except av.error.FFmpegError as error:
            raise UsageError(f"{path} cannot be decoded any further: {error}.") from error


def write_video(path: Path, pictures: Iterable[Image.Image], rate: Any) -> int:
    """Encode pictures of one size as H.264 in MP4; written beside, then renamed.

    Args:
        path: the file, ``.mp4``.
        pictures: one for each frame; an odd last row or column is cut off, H.264 has none.
        rate: frames per second.

    Returns:
        How many frames there were.
    """
    av = _av()
    beside = path.with_name(f".{path.name}")
    count = 0
    with av.open(str(beside), "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=rate, options={"crf": "20"})
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            if not count:
                stream.width, stream.height = picture.width // 2 * 2, picture.height // 2 * 2
            even = picture.crop((0, 0, stream.width, stream.height))
            video.mux(stream.encode(av.VideoFrame.from_image(even)))
            count += 1
        video.mux(stream.encode())
    beside.replace(path)
    return count


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
