"""Draw coloured shapes on noisy ground: easy to see, and still to be learned."""

import math

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square", "star", "triangle")
_OVERSAMPLING = 4  # drawn large, then reduced: smooth edges


def draw_scene(rng: np.random.Generator, kind: str, size: int) -> Image.Image:
    """Draw one shape somewhere on a noisy ground.

    Args:
        rng: where all chance comes from.
        kind: one of ``CLASSES``.
        size: width and height of the image in pixels.

    Returns:
        An RGB image.
    """
    ground = rng.integers(0, 256, size=3)
    ink = _contrasting(rng, ground)
    radius = rng.uniform(0.22, 0.42) * size
    center = rng.uniform(radius, size - radius, size=2)
    noise = rng.normal(0.0, 14.0, size=(size, size, 3))
    canvas = Image.fromarray((ground + noise).clip(0, 255).astype(np.uint8))
    mask = Image.new("L", (size * _OVERSAMPLING, size * _OVERSAMPLING))
    points = outline(
        kind, center * _OVERSAMPLING, radius * _OVERSAMPLING, rng.uniform(0, 2 * math.pi)
    )
    ImageDraw.Draw(mask).polygon(points, fill=255)
    canvas.paste(
        tuple(int(value) for value in ink), mask=mask.resize((size, size), Image.Resampling.BOX)
    )
    return canvas


def outline(
    kind: str, center: np.ndarray, radius: float, angle: float
) -> list[tuple[float, float]]:
    """The corners of a shape, in pixels, as a closed polygon.

    Raises:
        KeyError: if ``kind`` is none of ``CLASSES``.
    """
    corners, inner = {
        "circle": (48, 1.0),
        "square": (4, 1.0),
        "triangle": (3, 1.0),
        "star": (5, 0.4),
        "cross": (4, 0.0),
    }[kind]
    if kind == "cross":
        arm = 0.3
        quarter = [(1.0, -arm), (1.0, arm), (arm, arm)]
        turns = [(math.cos(k * math.pi / 2), math.sin(k * math.pi / 2)) for k in range(4)]
        plane = [(x * c - y * s, x * s + y * c) for c, s in turns for x, y in quarter]
    else:
        count = corners if inner == 1.0 else 2 * corners
        reach = [1.0 if index % 2 == 0 else inner for index in range(count)]
        plane = [
            (r * math.cos(2 * math.pi * i / count), r * math.sin(2 * math.pi * i / count))
            for i, r in enumerate(reach)
        ]
    cos, sin = math.cos(angle), math.sin(angle)
    return [
        (center[0] + radius * (x * cos - y * sin), center[1] + radius * (x * sin + y * cos))
        for x, y in plane
    ]


def _contrasting(rng: np.random.Generator, ground: np.ndarray) -> np.ndarray:
    while True:
        ink = rng.integers(0, 256, size=3)
        if np.abs(ink - ground).sum() >= 240:
            return ink
