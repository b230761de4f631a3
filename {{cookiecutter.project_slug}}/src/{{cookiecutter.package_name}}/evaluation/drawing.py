# ~ if cookiecutter.task != "classification" or (cookiecutter.use_wandb and cookiecutter.scope == "complete")
"""Convert images to pictures, arrange them in a grid, and assign a colour to each class."""

import colorsys
import math
from collections.abc import Sequence

from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

_GOLDEN_SECTION = 0.618033988749895  # hue step, by which successive classes differ clearly


def class_color(label: int) -> tuple[int, int, int]:
    """Return red, green and blue of a class, 0 to 255, dark enough for white text on it."""
    red, green, blue = colorsys.hsv_to_rgb(label * _GOLDEN_SECTION % 1, 0.85, 0.75)
    return round(red * 255), round(green * 255), round(blue * 255)


# ~ else
"""Convert images to pictures, and arrange them in a grid."""

import math
from collections.abc import Sequence

from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image


# ~ endif
def to_picture(image: Tensor) -> Image.Image:
    """Return a picture in RGB of an image, uint8 [C, H, W]: of its first three channels.

    With fewer than three channels, the picture is grey and shows the first one.
    """
    colors = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    picture: Image.Image = to_pil_image(colors)
    return picture


def contact_sheet(tiles: Sequence[Image.Image], gap: int = 8) -> Image.Image:
    """Arrange images in an approximately square grid on white, ``gap`` pixels apart."""
    columns = max(1, round(len(tiles) ** 0.5))
    rows = math.ceil(len(tiles) / columns)
    width, height = max(tile.width for tile in tiles), max(tile.height for tile in tiles)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet.paste(tile, (gap + column * (width + gap), gap + row * (height + gap)))
    return sheet
