# ~ if cookiecutter.task != "classification" or (cookiecutter.use_wandb and cookiecutter.scope == "complete")
"""Convert images to pictures, arrange them in a grid, and assign a colour to each class."""

import colorsys
# ~ else
"""Convert images to pictures, and arrange them in a grid."""

# ~ endif
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

# ~ if cookiecutter.task != "classification" or (cookiecutter.use_wandb and cookiecutter.scope == "complete")
_GOLDEN_SECTION = 0.618033988749895  # hue step, by which successive classes differ clearly
# ~ endif
# Pillow's own font, which is narrower, has only the letters of ASCII.
WIDER_FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
NAME_SIZE, MIN_FONT = 13, 9  # usual and smallest size of a text in pixels
CAPTION = NAME_SIZE + 5  # pixels for a name below an image
MAX_SIDE = 60_000  # pixels of a picture; JPEG allows 65,500, with a legend


# ~ if cookiecutter.task != "classification" or (cookiecutter.use_wandb and cookiecutter.scope == "complete")
def class_color(label: int) -> tuple[int, int, int]:
    """Return red, green and blue of a class, 0 to 255, dark enough for white text on it."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN_SECTION % 1, 0.85, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)


# ~ endif
def to_picture(image: Tensor, min_width: int = 0) -> Image.Image:
    """Return a picture in RGB of the first three channels, or the first, of uint8 [C, H, W].

    It is enlarged by a whole factor to ``min_width`` pixels or more; no side exceeds ``MAX_SIDE``.
    """
    colors = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    picture: Image.Image = to_pil_image(colors)
    factor = min(math.ceil(min_width / picture.width), MAX_SIDE // picture.height)
    if factor > 1:
        size = (picture.width * factor, picture.height * factor)
        return picture.resize(size, Image.Resampling.NEAREST)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return picture


def fit_text(text: str, size: float, width: float) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a text and a font in which it is at most ``width`` pixels wide.

    The font has ``size`` pixels if the text fits, otherwise fewer, but at least ``MIN_FONT``. A
    text that is still too long is shortened in its middle.
    """
    font: Any = ImageFont.load_default(size)
    if not text.isascii():
        font = ImageFont.truetype(WIDER_FONT, size)
    length = font.getlength(text)
    if length > width:
        font = font.font_variant(size=max(0.95 * size * width / length, MIN_FONT))
    removed, shown = 0, text
    while font.getlength(shown) > width and removed < len(text):
        removed += 1
        left = (len(text) - removed + 1) // 2
        shown = f"{text[:left]}…{text[left + removed :]}"
    return shown, font


# ~ if cookiecutter.task != "classification"
def with_legend(
    picture: Image.Image, entries: Sequence[tuple[str, tuple[int, ...] | str | None]]
) -> Image.Image:
    """Add texts below a picture, each after a square of its colour if it has one."""
    gap, size = 6, max(NAME_SIZE, picture.width // 32)
    places, left, top = [], float(gap), picture.height + gap // 2
    for text, color in entries:
        mark = 0 if color is None else size
        shown, font = fit_text(text, size, picture.width - 2 * gap - mark)
        end = left + mark + font.getlength(shown)
        if end > picture.width - gap and left > gap:
            left, end = float(gap), gap + end - left
            top += size + gap // 2
        places.append((shown, color, font, (left, top), mark))
        left = end + 2 * gap
    tile = Image.new("RGB", (picture.width, top + size + gap), "#24292f")
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for text, color, font, (x, y), mark in places:
        if color is not None:
            pen.rectangle((x, y + 2, x + mark - 4, y + size - 2), color, outline="white")
        pen.text((x + mark, y), text, "white", font)
    return tile


# ~ endif
def contact_sheet(tiles: Sequence[Image.Image], names: Sequence[str] = ()) -> Image.Image:
    """Arrange images in an approximately square grid on white, with names below them."""
    gap = 8  # pixels between the images
    columns = max(1, round(len(tiles) ** 0.5))
    rows = math.ceil(len(tiles) / columns)
    width = max(tile.width for tile in tiles) + gap
    height = max(tile.height for tile in tiles) + gap + (CAPTION if names else 0)
    sheet = Image.new("RGB", (columns * width + gap, rows * height + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left, top = gap + column * width, gap + row * height
        sheet.paste(tile, (left, top))
        if names:
            text, font = fit_text(names[index], NAME_SIZE, width - gap)
            pen.text((left, top + tile.height + 2), text, "black", font)
    return sheet
