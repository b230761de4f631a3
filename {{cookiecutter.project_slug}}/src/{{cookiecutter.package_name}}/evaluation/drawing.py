# ~ if cookiecutter.task != "classification" or (cookiecutter.use_wandb and cookiecutter.scope == "complete")
"""Convert images to pictures, arrange them in a grid, and assign a colour to each class."""

import colorsys
# ~ else
"""Convert images to pictures, and arrange them in a grid."""

# ~ endif
import math
import textwrap
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
LINE_GAP = 1  # pixels between the lines of a text
# ~ if cookiecutter.task != "classification"
MAX_LINES = 3  # of the name of a class
GAP = 6  # pixels between pictures of the prediction and of the target
# ~ endif
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


def fit_text(
    text: str, size: float, width: float, lines: int = 1
) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a text and a font in which it is at most ``width`` pixels wide.

    The font has ``size`` pixels if the text fits, otherwise fewer, but at least ``MIN_FONT``. A
    text that is still too long is broken into lines, and shortened in its middle if it needs more
    than ``lines``.
    """
    font: Any = ImageFont.load_default(size)
    if not text.isascii():
        font = ImageFont.truetype(WIDER_FONT, size)
    length = font.getlength(text)
    if length > width:
        font = font.font_variant(size=max(0.95 * size * width / length, MIN_FONT))
    kept, shown = len(text), _broken(text, font, width)
    while shown.count("\n") >= lines and kept > 1:
        kept -= 1
        left = (kept + 1) // 2
        shown = _broken(f"{text[:left]}…{text[len(text) - kept + left :]}", font, width)
    return shown, font


def _broken(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Break a text into lines of at most ``width`` pixels, between words where possible."""
    lines = [text]
    while wide := [line for line in lines if font.getlength(line) > width and len(line) > 1]:
        longest = max(wide, key=len)
        fitting = int(len(longest) * width / font.getlength(longest)) + 1
        lines = textwrap.wrap(text, min(fitting, len(longest) - 1))
    return "\n".join(lines)


# ~ if cookiecutter.task != "classification"
def with_legend(
    picture: Image.Image, entries: Sequence[tuple[str, tuple[int, ...] | str | None]]
) -> Image.Image:
    """Add texts below a picture, each after a square of its colour if it has one."""
    size = max(NAME_SIZE, picture.width // 32)
    gap = size // 2
    places, left, top, bottom = [], float(gap), picture.height + gap // 2, 0
    for text, color in entries:
        mark = 0 if color is None else size
        shown, font = fit_text(text, size, picture.width - 2 * gap - mark, MAX_LINES)
        lines = shown.split("\n")
        end = left + mark + max(map(font.getlength, lines))
        if end > picture.width - gap and left > gap:
            left, end = float(gap), gap + end - left
            top = bottom + gap // 2
        bottom = max(bottom, top + len(lines) * size)
        places.append((shown, color, font, (left, top), mark))
        left = end + 2 * gap
    tile = Image.new("RGB", (picture.width, bottom + gap), "#24292f")
    tile.paste(picture, (0, 0))
    pen = ImageDraw.Draw(tile)
    for text, color, font, (x, y), mark in places:
        if color is not None:
            end, margin = x + mark - round(0.3 * size), size // 6
            pen.rectangle((x, y + margin, end, y + size - margin), color, outline="white")
        pen.text((x + mark, y), text, "white", font, spacing=LINE_GAP)
    return tile


def side_by_side(tiles: Sequence[Image.Image]) -> Image.Image:
    """Join pictures of the same width."""
    step = tiles[0].width + GAP
    size = (len(tiles) * step - GAP, max(tile.height for tile in tiles))
    joined = Image.new("RGB", size, "white")
    for index, tile in enumerate(tiles):
        joined.paste(tile, (index * step, 0))
    return joined


# ~ endif
def contact_sheet(tiles: Sequence[Image.Image], names: Sequence[str] = ()) -> Image.Image:
    """Arrange images in an approximately square grid on white, with names below them."""
    gap = 20  # pixels between the images, more than between the pictures of an image
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
