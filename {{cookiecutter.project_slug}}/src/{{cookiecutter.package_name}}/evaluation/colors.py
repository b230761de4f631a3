"""Assign a colour to each class."""

import colorsys

_GOLDEN_SECTION = 0.618033988749895  # hue step, by which successive classes differ clearly


def class_color(label: int) -> tuple[int, int, int]:
    """Return red, green and blue of a class, 0 to 255, dark enough for white text on it."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN_SECTION % 1, 0.85, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)
