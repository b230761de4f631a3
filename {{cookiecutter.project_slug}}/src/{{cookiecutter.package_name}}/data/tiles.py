"""Cut large images into tiles of equal size that overlap."""

from collections.abc import Iterator
from typing import NamedTuple

OVERLAP = 0.25  # smallest overlap of neighbouring tiles, as a share of the tile's side


class Tile(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows of the image that the tile covers."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns of the image that the tile covers."""
        return slice(self.left, self.left + self.width)


def tiles_of(size: tuple[int, int], side: int) -> list[Tile]:
    """Return the tiles that cover an image, row by row.

    Args:
        size: the height and width of the image.
        side: the height and width of a tile; a tile is smaller only if the image is.
    """
    (height, width), (rows, columns) = size, (min(side, size[0]), min(side, size[1]))
    return [
        Tile(top, left, rows, columns)
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]


def _starts(length: int, side: int) -> Iterator[int]:
    """Yield the first pixel of each tile along a side of the image, evenly spaced."""
    last = max(length - side, 0)
    step = max(int(side * (1 - OVERLAP)), 1)
    gaps = -(-last // step)
    yield from (round(last * index / gaps) for index in range(gaps)) if gaps else ()
    yield last
