"""Draw the generated data set: coloured shapes on a noisy background."""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.progress import Progress

from ..errors import UsageError
from ..run.lock import file_lock

CLASSES = ("circle", "cross", "square", "star", "triangle")
_OVERSAMPLING = 4  # shapes are drawn larger by this factor, then reduced, for smooth edges
_NOISE = 14.0  # standard deviation of the noise, for pixel values from 0 to 255
# ~ if cookiecutter.task != "classification"
# Colours that differ clearly, so that overlapping shapes can be distinguished.
_INKS = [(255, 150, 150), (150, 245, 160), (150, 180, 255), (255, 235, 140), (235, 235, 255)]
_TILT = 0.5  # largest rotation, in radians to either side
_EMPTY = 0.1  # share of images without any shape
_MAX_HIDDEN = 0.2  # largest share of a shape that later shapes may cover
# ~ endif
_SEEDS = {"train": 0, "val": 1, "test": 2}
Images = Iterable[tuple[str, int, np.random.Generator]]  # split, index, random numbers of each


def write_once(
    root: Path, counts: dict[str, int], recipe: object, write: Callable[[Path, Images], None]
) -> Path:
    """Draw a data set below ``root``, unless it exists already, and return its folder.

    The folder is named by a hash of ``counts``, the number of images by split, and ``recipe``, all
    other values that determine them. ``write`` writes all files into a temporary folder, which is
    renamed when it is complete.
    """
    fingerprint = hashlib.sha256(json.dumps([counts, recipe]).encode()).hexdigest()[:8]
    folder = root / fingerprint
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    foreign = [path for path in root.iterdir() if not re.fullmatch(r"\..*|[0-9a-f]{8}", path.name)]
    if foreign:
        raise UsageError(
            f"data=shapes draws images into {root}, but {foreign[0]} is not one of its folders.\n"
            "For your own images, name their format, such as data={{ {'classification': 'imagefolder', 'detection': 'coco', 'segmentation': 'maskfolder'}[cookiecutter.task] }};"
            " otherwise choose an empty data.root."
        )
    jobs = [(split, index) for split, count in counts.items() for index in range(count)]
    temporary = root / ".drawing-unfinished"
    with file_lock(root / ".drawing.lock"), Progress(transient=True) as progress:
        if folder.is_dir():  # another process was faster
            return folder
        shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
        temporary.mkdir()
        drawn = progress.track(jobs, description=f"Drawing shapes into {folder}")
        rng = np.random.default_rng
        images = ((split, index, rng([_SEEDS[split], index])) for split, index in drawn)
        try:
            write(temporary, images)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


# ~ if cookiecutter.task == "classification"
def draw_shape(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> Image.Image:
    """Draw a shape of ``CLASSES`` at a random position in an RGB image of this height and width."""
    background = rng.integers(0, 256, size=3)
    ink = _contrasting(rng, background)
    radius = rng.uniform(0.22, 0.42) * min(size)
    center = rng.uniform(radius, np.array(size[::-1]) - radius)
    canvas = _noisy(rng, background, size)
    cover = _cover(kind, center, radius, rng.uniform(0, 2 * math.pi), size)
    canvas.paste(tuple(ink.tolist()), mask=cover)
    return canvas


def _contrasting(rng: np.random.Generator, background: np.ndarray) -> np.ndarray:
    while True:
        ink = rng.integers(0, 256, size=3)
        if np.abs(ink - background).sum() >= 240:
            return ink


# ~ else
def draw_shapes(
    rng: np.random.Generator, size: tuple[int, int], max_shapes: int
) -> tuple[Image.Image, list[tuple[str, np.ndarray]]]:
    """Draw up to ``max_shapes`` bright shapes, which may overlap and cross the border.

    Returns:
        An RGB image of this height and width and, for each shape, its class and its visible pixels,
        a bool array [H, W].
    """
    canvas = _noisy(rng, rng.integers(0, 80, size=3), size)
    drawn: list[tuple[str, np.ndarray]] = []
    inks = rng.permutation(_INKS)
    for _ in range(0 if rng.random() < _EMPTY else rng.integers(1, max_shapes + 1)):
        kind = CLASSES[rng.integers(len(CLASSES))]
        radius = rng.uniform(0.18, 0.36) * min(size)
        center = rng.uniform(0.7 * radius, np.array(size[::-1]) - 0.7 * radius)
        cover = _cover(kind, center, radius, rng.uniform(-_TILT, _TILT), size)
        pixels = np.asarray(cover) >= 128
        if any((below & pixels).sum() > _MAX_HIDDEN * below.sum() for _, below in drawn):
            continue  # a shape below it would no longer be recognisable
        ink = inks[len(drawn)] + rng.integers(-20, 21, size=3)
        canvas.paste(tuple(ink.clip(0, 255).tolist()), mask=cover)
        drawn = [(name, below & ~pixels) for name, below in drawn] + [(kind, pixels)]
    return canvas, drawn


# ~ endif
def _noisy(rng: np.random.Generator, background: np.ndarray, size: tuple[int, int]) -> Image.Image:
    noise = rng.normal(0.0, _NOISE, size=(*size, 3))
    return Image.fromarray((background + noise).clip(0, 255).astype(np.uint8))


def _cover(
    kind: str, center: np.ndarray, radius: float, angle: float, size: tuple[int, int]
) -> Image.Image:
    """Return a greyscale image of how much of each pixel a shape covers, from 0 to 255."""
    height, width = size
    large = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    points = _outline(kind, center * _OVERSAMPLING, radius * _OVERSAMPLING, angle)
    ImageDraw.Draw(large).polygon(points, fill=255)
    return large.resize((width, height), Image.Resampling.BOX)


def _outline(
    kind: str, center: np.ndarray, radius: float, angle: float
) -> list[tuple[float, float]]:
    """Return the vertices ``(x, y)`` of a shape in pixels; with ``angle=0`` it is upright."""
    count, inner, upright = {  # vertices, distance of every second one, direction of the first
        "circle": (48, 1.0, 0.0),
        "square": (4, 1.0, math.pi / 4),
        "triangle": (3, 1.0, -math.pi / 2),
        "star": (10, 0.4, -math.pi / 2),
        "cross": (4, 1.0, 0.0),
    }[kind]
    points = np.exp(2j * math.pi * np.arange(count) / count)  # complex numbers x + y * 1j
    points[1::2] *= inner
    if kind == "cross":  # three corners of each arm
        points = np.outer(points, [1 - 0.3j, 1 + 0.3j, 0.3 + 0.3j]).ravel()
    points = complex(*center) + radius * np.exp(1j * (angle + upright)) * points
    return [(point.real, point.imag) for point in points.tolist()]
