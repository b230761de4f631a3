"""Pictures of what ``doctor`` has found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torchvision.transforms.functional import to_pil_image

from ..data.datamodule import Datasets
from ..data.images import Unreadable, UnreadableImageError, read_image
from ..task import draw_target
from ..training.callbacks.pictures import contact_sheet
from .data_checks import KINDS, Find, Findings, untouched

mpl.use("Agg")

MOST_OF_A_KIND = 8
SIDE = 256
LINES = 3
FONT_SIZE = 12


def draw_finds(finds: Sequence[Find], datasets: Datasets, path: Path) -> None:
    """Draw a sheet of the worst; nothing is written if there is nothing to see.

    Args:
        finds: the worst first.
        datasets: in which they are.
        path: the PNG file.
    """
    tiles = []
    for kind in KINDS:
        for find in [one for one in finds if one.kind == kind][:MOST_OF_A_KIND]:
            picture = _picture(find, datasets)
            if picture is not None:
                words = f"{kind}: {find.path}: {find.reason}"
                tiles.append(_tile(picture, words.replace(f"{Path(find.path).parents[2]}/", "")))
    if tiles:
        contact_sheet(tiles).save(path)


def _picture(find: Find, datasets: Datasets) -> Image.Image | None:
    split: Any = getattr(datasets, find.split)
    split.transform = untouched
    sample = split[find.position]
    if not isinstance(sample, Unreadable):
        return draw_target(sample.image, sample.target, datasets.classes)
    try:  # perhaps it is only its annotation that cannot be used
        picture: Image.Image = to_pil_image(read_image(find.path))
    except UnreadableImageError:
        return None
    return picture


def _tile(picture: Image.Image, words: str) -> Image.Image:
    picture = ImageOps.contain(picture, (SIDE, SIDE))
    font = ImageFont.load_default(FONT_SIZE)
    tile = Image.new("RGB", (SIDE, SIDE + LINES * (FONT_SIZE + 4) + 4), "#24292f")
    tile.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    pen = ImageDraw.Draw(tile)
    for row in range(LINES):
        line = ""
        while words and font.getlength(line + words[0]) < SIDE - 8:
            line, words = line + words[0], words[1:]
        pen.text((4, SIDE + 2 + row * (FONT_SIZE + 4)), line, "white", font)
    return tile


def draw_balance(findings: Findings, classes: Sequence[str], counted: str, path: Path) -> None:
    """Draw how many of each class every split has, as shares of the split.

    Args:
        findings: with the counts.
        classes: the names.
        counted: what the counts are of.
        path: the PNG file.
    """
    height = min(2.0 + 0.3 * len(classes), 24.0)
    figure, axes = plt.subplots(figsize=(7, height), layout="constrained")
    thickness = 0.8 / len(findings.counts)
    for place, (split, counts) in enumerate(findings.counts.items()):
        rows = np.arange(len(classes)) + place * thickness
        axes.barh(rows, counts / max(counts.sum(), 1), thickness, label=f"{split}, {counts.sum()}")
    axes.set_yticks(np.arange(len(classes)) + 0.4 - thickness / 2, classes)
    axes.set(xlabel=f"share of the {counted}")
    axes.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
