"""Read and write videos with the optional package ``av`` (PyAV)."""

import importlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..run.atomic_files import replacing
from .images import UnreadableImageError

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


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
